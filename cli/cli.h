/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - what the verbs of the client share: their rows, the command line, how they end.
 *
 * A verb is a line in verbs.def and a struct verb in a file of its own. Its
 * rows feed the parser, the help, the man page and the shells' completion.
 */
#ifndef MILLRACE_CLI_H
#define MILLRACE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"

struct http;
struct cli;

/* How a verb ends: the exit status of the program. */
enum outcome {
#define EXIT(name, status, sentence) EXIT_##name = status,
#include "cli/exits.def"
#undef EXIT
};

enum option_type {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_FILE,  /* a text that the shell completes to a file's name */
    OPTION_COUNT, /* a whole number from min to max */
    OPTION_REAL,  /* a decimal number from min to max */
};

struct option {
    const char      *name;   /* without its dashes; NULL ends a table */
    char             letter; /* 0: it has no short form */
    enum option_type type;
    const char      *value; /* what the help calls the value; NULL for a flag */
    const char      *help;  /* one sentence, in lower case and without a full stop */
    double           min, max;
    const char      *words; /* "png jpeg": what the shell offers; NULL */
};

enum operand_kind { OPERAND_NONE, OPERAND_FILE, OPERAND_JOB, OPERAND_WORD, OPERAND_VERB };

struct verb {
    const char          *name;
    const char          *operands;                   /* as the help shows them: "ID..." ; "" for none */
    const char          *summary;                    /* one line */
    const char          *text;                       /* paragraphs for the man page, each ends with \n */
    const struct option *options;                    /* NULL: none of its own */
    int                  operands_min, operands_max; /* -1: any number */
    enum operand_kind    completes;                  /* what the shell offers for an operand */
    const char          *words;                      /* OPERAND_WORD: the choices for the first one */
    bool                 is_offline;                 /* needs no gateway: cli_http is NULL */
    bool                 is_hidden;
    enum outcome (*run)(struct cli *cli);
};

#define VERB(name) extern const struct verb verb_##name;
#include "cli/verbs.def"
#undef VERB

extern const struct verb *const verbs[];          /* ends with NULL */
extern const struct option      common_options[]; /* taken before the verb, too */

const struct verb *verb_find(const char *name); /* NULL: there is none */

/* ---- the command line ------------------------------------------------------ */

/* Options are named by their row in the verb's table; the common ones by these. */
enum { COMMON = 1000, OPTION_URL = COMMON, OPTION_KEY, OPTION_JSON, OPTION_PATIENCE, OPTION_HELP, OPTION_VERSION };

struct given {
    int         option;
    const char *value; /* "" for a flag; borrowed from argv */
};

struct line {
    const struct verb *verb; /* NULL: none was given */
    const char       **operands;
    int                operand_count;
    struct given      *given; /* in the order of the command line */
    int                given_count;
};

/* Reads argv into out, which line_free ends. False: why says what is wrong with it. */
bool line_parse(int argc, char **argv, struct line *out, struct fault *why) MUST_CHECK;
void line_free(struct line *line);

bool        line_has(const struct line *line, int option);
const char *line_text(const struct line *line, int option, const char *fallback); /* the last one given */
int64_t     line_count(const struct line *line, int option, int64_t fallback);
double      line_real(const struct line *line, int option, double fallback);

/* Walks an option that may be given several times: *at is 0 to begin with; NULL behind the last. */
const char *line_next(const struct line *line, int option, int *at);

/* ---- what a verb gets --------------------------------------------------------- */

struct cli {
    struct line  line;
    struct http *http; /* NULL for verbs that are offline */
    bool         is_json;
};

/* Writes "millrace: ..." and a newline to stderr. Control characters become '?'. */
void complain(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* complain and return how, so that a verb ends in `return give_up(EXIT_LOCAL, ...)`. */
enum outcome give_up(enum outcome how, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* help.c */
void help_print(FILE *to, const struct verb *verb); /* NULL: of the whole program */

#endif
