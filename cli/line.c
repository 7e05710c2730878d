/* SPDX-License-Identifier: Apache-2.0 */
/* line.c - the command line, read by the tables of the verbs.
 *
 * Common options stand anywhere, a verb's own behind it; "--name VALUE",
 * "--name=VALUE", "-n VALUE", "-nVALUE"; behind "--" all are operands. Of an
 * option that is given twice the last counts, unless the verb walks them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "common/buf.h"

const struct option common_options[] = {
    [OPTION_URL -
     COMMON] = {"url", 0, OPTION_TEXT, "URL",
                "the gateway, or several with commas between; else MILLRACE_URL, else http://127.0.0.1:8080", 0, 0,
                NULL},
    [OPTION_KEY - COMMON] = {"key", 0, OPTION_TEXT, "KEY",
                             "the gateway's bearer key, or @FILE that holds it; else MILLRACE_API_KEY", 0, 0, NULL},
    [OPTION_JSON -
        COMMON] = {"json", 0, OPTION_FLAG, NULL, "print the gateway's JSON, a line for each answer", 0, 0, NULL},
    [OPTION_PATIENCE - COMMON] = {"patience", 0, OPTION_COUNT, "SECONDS",
                                  "how long to go on trying while the gateway is away or busy (10)", 0, 86400, NULL},
    [OPTION_HELP - COMMON] = {"help", 'h', OPTION_FLAG, NULL, "what the verb does and takes", 0, 0, NULL},
    [OPTION_VERSION - COMMON] = {"version", 0, OPTION_FLAG, NULL, "the version of this program", 0, 0, NULL},
    {0},
};

struct parser {
    int          argc, at;
    char       **argv;
    struct line *line;
    bool         are_operands; /* behind "--" */
};

/* ---- looking up ------------------------------------------------------------- */

static int find_in(const struct option *table, const char *name, size_t len, char letter)
{
    for (int i = 0; table && table[i].name; i++)
        if (letter ? table[i].letter == letter : strlen(table[i].name) == len && !memcmp(table[i].name, name, len))
            return i;
    return -1;
}

/* The option that is called so, or -1. letter 0: by its name. */
static int find_option(const struct line *line, const char *name, size_t len, char letter)
{
    int own = line->verb ? find_in(line->verb->options, name, len, letter) : -1;
    int common = own < 0 ? find_in(common_options, name, len, letter) : -1;

    return own >= 0 ? own : common >= 0 ? COMMON + common : -1;
}

static const struct option *option_row(const struct line *line, int option)
{
    return option >= COMMON ? &common_options[option - COMMON] : &line->verb->options[option];
}

/* ---- one word ----------------------------------------------------------------- */

static bool is_number(const struct option *row, const char *text)
{
    char  *end;
    double value;

    errno = 0;
    value = row->type == OPTION_REAL ? strtod(text, &end) : (double)strtoll(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && value >= row->min && value <= row->max;
}

static bool keep(struct line *line, int option, const char *value, struct fault *why)
{
    const struct option *row = option_row(line, option);

    if ((row->type == OPTION_COUNT || row->type == OPTION_REAL) && !is_number(row, value))
        return fault_set(why, ERR_PARAM, "--%s is '%.40s'; it takes a %snumber from %.15g to %.15g", row->name, value,
                         row->type == OPTION_COUNT ? "whole " : "", row->min, row->max) == ERR_OK;
    line->given = xrealloc(line->given, (size_t)(line->given_count + 1) * sizeof *line->given);
    line->given[line->given_count++] = (struct given){option, value};
    return true;
}

/* value: what was joined to the option, NULL without. */
static bool take_option(struct parser *p, int option, const char *value, struct fault *why)
{
    const struct option *row = option_row(p->line, option);

    if (row->type == OPTION_FLAG) {
        if (value)
            return fault_set(why, ERR_PARAM, "--%s takes no value", row->name) == ERR_OK;
        return keep(p->line, option, "", why);
    }
    if (!value && p->at < p->argc)
        value = p->argv[p->at++];
    if (!value)
        return fault_set(why, ERR_PARAM, "--%s needs a value: %s", row->name, row->value) == ERR_OK;
    return keep(p->line, option, value, why);
}

static bool refuse_option(const struct line *line, const char *word, struct fault *why)
{
    if (line->verb)
        fault_set(why, ERR_PARAM, "'%.40s' is no option of '%s'; see millrace help %s", word, line->verb->name,
                  line->verb->name);
    else
        fault_set(why, ERR_PARAM, "'%.40s' is no option of millrace; those of a verb come behind it", word);
    return false;
}

static bool take_dashes(struct parser *p, const char *word, struct fault *why)
{
    size_t      len = strcspn(word + 2, "=");
    const char *value = word[2 + len] ? word + 3 + len : NULL;
    int         option;

    if (!word[2]) {
        p->are_operands = true;
        return true;
    }
    option = find_option(p->line, word + 2, len, 0);
    return option < 0 ? refuse_option(p->line, word, why) : take_option(p, option, value, why);
}

static bool take_letter(struct parser *p, const char *word, struct fault *why)
{
    int option = find_option(p->line, "", 0, word[1]);

    return option < 0 ? refuse_option(p->line, word, why) : take_option(p, option, word[2] ? word + 2 : NULL, why);
}

static bool take_operand(struct parser *p, const char *word, struct fault *why)
{
    struct line *line = p->line;

    if (line->verb) {
        line->operands[line->operand_count++] = word;
        return true;
    }
    line->verb = verb_find(word);
    if (!line->verb)
        fault_set(why, ERR_PARAM, "'%.40s' is no verb; see millrace help", word);
    return line->verb;
}

/* ---- the line -------------------------------------------------------------------- */

static bool check_operands(const struct line *line, struct fault *why)
{
    const struct verb *verb = line->verb;

    if (!verb || line_has(line, OPTION_HELP) || line_has(line, OPTION_VERSION))
        return true;
    if (line->operand_count >= verb->operands_min &&
        (verb->operands_max < 0 || line->operand_count <= verb->operands_max))
        return true;
    fault_set(why, ERR_PARAM, "'%s' takes %s, not %d operand%s; see millrace help %s", verb->name,
              *verb->operands ? verb->operands : "no operand", line->operand_count, line->operand_count == 1 ? "" : "s",
              verb->name);
    return false;
}

bool line_parse(int argc, char **argv, struct line *out, struct fault *why)
{
    struct parser p = {argc, 1, argv, out, false};
    bool          is_fine = true;

    *out = (struct line){.operands = xcalloc((size_t)argc + 1, sizeof *out->operands)};
    while (is_fine && p.at < argc) {
        const char *word = argv[p.at++];

        if (p.are_operands || word[0] != '-' || !word[1])
            is_fine = take_operand(&p, word, why);
        else
            is_fine = word[1] == '-' ? take_dashes(&p, word, why) : take_letter(&p, word, why);
    }
    return is_fine && check_operands(out, why);
}

void line_free(struct line *line)
{
    free(line->operands);
    free(line->given);
    *line = (struct line){0};
}

/* ---- asking it --------------------------------------------------------------------- */

const char *line_text(const struct line *line, int option, const char *fallback)
{
    for (int i = line->given_count; i-- > 0;)
        if (line->given[i].option == option)
            return line->given[i].value;
    return fallback;
}

bool line_has(const struct line *line, int option) { return line_text(line, option, NULL); }

int64_t line_count(const struct line *line, int option, int64_t fallback)
{
    const char *text = line_text(line, option, NULL);

    return text ? strtoll(text, NULL, 10) : fallback;
}

double line_real(const struct line *line, int option, double fallback)
{
    const char *text = line_text(line, option, NULL);

    return text ? strtod(text, NULL) : fallback;
}

const char *line_next(const struct line *line, int option, int *at)
{
    while (*at < line->given_count)
        if (line->given[(*at)++].option == option)
            return line->given[*at - 1].value;
    return NULL;
}
