/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - settings.def read five ways: checked, listed, logged, printed. */
#include "common/config.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/log.h"

extern char **environ;

enum setting_type { TEXT, INT, BYTES, BOOL, CHOICE };
enum { API = PROGRAM_API, WORKER = PROGRAM_WORKER, BOTH = PROGRAM_BOTH, CLIENT = PROGRAM_CLIENT };

struct row {
    int               who;
    enum setting_type type;
    const char       *name;
    int64_t           min, max;
    const char       *fallback, *unit, *sentence;
    size_t            offset;
};

static const struct row rows[] = {
#define SETTING(who, field, type, name, min, max, def, unit, sentence)                                                 \
    {who, type, name, min, max, def, unit, sentence, offsetof(struct settings, field)},
#include "common/settings.def"
#undef SETTING
};
#define ROW_COUNT (sizeof rows / sizeof *rows)

/* Index of text in "a|b|c", or -1. */
static int choice_index(const char *words, const char *text)
{
    size_t len = strlen(text);
    int    index = 0;

    for (const char *w = words;; w++, index++) {
        size_t n = strcspn(w, "|");

        if (n == len && !memcmp(w, text, n))
            return index;
        w += n;
        if (!*w)
            return -1;
    }
}

/* Reads a plain decimal, with a suffix K, M or G where bytes are meant. */
static bool read_integer(const char *text, bool has_suffix, int64_t *out)
{
    static const char suffixes[] = "KMG";
    char             *end;
    const char       *suffix;
    long long         value;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    value = strtoll(text, &end, 10);
    if (errno)
        return false;
    if (has_suffix && *end && (suffix = strchr(suffixes, *end)) && !end[1]) {
        int shift = 10 * (int)(suffix - suffixes + 1);

        if (value > INT64_MAX >> shift)
            return false;
        value <<= shift;
        end++;
    }
    *out = value;
    return !*end;
}

static enum err refuse(const struct row *row, const char *text, struct fault *why)
{
    switch (row->type) {
    case TEXT:
        return fault_set(why, ERR_CONFIG, "%s takes %lld to %lld characters, not %zu", row->name, (long long)row->min,
                         (long long)row->max, strlen(text));
    case CHOICE:
        return fault_set(why, ERR_CONFIG, "%s is '%.40s'; it takes one of %s", row->name, text, row->unit);
    case BOOL:
        return fault_set(why, ERR_CONFIG, "%s is '%.40s'; it takes 0 or 1", row->name, text);
    default:
        return fault_set(why, ERR_CONFIG, "%s is '%.40s'; it takes a whole number of %s from %lld to %lld", row->name,
                         text, row->unit, (long long)row->min, (long long)row->max);
    }
}

static enum err set(const struct row *row, const char *text, struct settings *out, struct fault *why)
{
    char   *field = (char *)out + row->offset;
    size_t  len = strlen(text);
    int64_t value = 0;

    switch (row->type) {
    case TEXT:
        if ((int64_t)len < row->min || (int64_t)len > row->max)
            return refuse(row, text, why);
        *(setting_TEXT *)field = text;
        return ERR_OK;
    case CHOICE:
        value = choice_index(row->unit, text);
        if (value < 0)
            return refuse(row, text, why);
        *(setting_CHOICE *)field = (int)value;
        return ERR_OK;
    default:
        if (!read_integer(text, row->type == BYTES, &value) || value < row->min || value > row->max)
            return refuse(row, text, why);
        if (row->type == BOOL)
            *(setting_BOOL *)field = value;
        else
            *(int64_t *)field = value;
        return ERR_OK;
    }
}

/* A name with our prefix that no row has is a typing mistake. */
static enum err check_names(struct fault *why)
{
    for (char **entry = environ; entry && *entry; entry++) { /* NULL behind clearenv */
        size_t len = strcspn(*entry, "="), i = 0;

        if (strncmp(*entry, "MILLRACE_", 9) != 0)
            continue;
        while (i < ROW_COUNT && (strlen(rows[i].name) != len || memcmp(rows[i].name, *entry, len) != 0))
            i++;
        if (i == ROW_COUNT)
            return fault_set(why, ERR_CONFIG, "%.*s is no setting; --help lists those that are",
                             len < 80 ? (int)len : 80, *entry);
    }
    return ERR_OK;
}

enum err config_load(struct settings *out, struct fault *why)
{
    enum err e = check_names(why);

    for (size_t i = 0; !e && i < ROW_COUNT; i++) {
        const char *text = getenv(rows[i].name);

        e = set(&rows[i], text ? text : rows[i].fallback, out, why);
    }
    if (!e && out->timeout_s > out->timeout_max_s)
        e = fault_set(why, ERR_CONFIG, "MILLRACE_TIMEOUT_SECONDS is %lld, above MILLRACE_TIMEOUT_MAX_SECONDS, %lld",
                      (long long)out->timeout_s, (long long)out->timeout_max_s);
    return e;
}

static void print_help(const char *program, enum program who, const char *purpose, const char *const *extra)
{
    printf("%s - %s\n\n", program, purpose);
    for (const char *const *x = extra; x && *x; x += 2)
        printf("  %-12s %s\n", x[0], x[1]);
    printf("  %-12s %s\n  %-12s %s\n\nSettings, from the environment:\n", "--help", "this text", "--version",
           "the version");
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i].who & (int)who)
            printf("  %s (%s, default %s)\n      %s\n", rows[i].name, rows[i].unit,
                   *rows[i].fallback ? rows[i].fallback : "none", rows[i].sentence);
}

int config_arguments(int argc, char **argv, enum program who, const char *purpose, const char *const *extra,
                     unsigned *found)
{
    const char *program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];

    if (found)
        *found = 0;
    for (int i = 1; i < argc; i++) {
        int known = -1;

        if (!strcmp(argv[i], "--help")) {
            print_help(program, who, purpose, extra);
            return 0;
        }
        if (!strcmp(argv[i], "--version")) {
            printf("%s %s\n", program, MILLRACE_VERSION);
            return 0;
        }
        for (int k = 0; extra && extra[2 * k]; k++)
            if (!strcmp(argv[i], extra[2 * k]))
                known = k;
        if (known < 0) {
            fprintf(stderr, "%s: %s is no argument; see %s --help\n", program, argv[i], program);
            return 2;
        }
        if (found)
            *found |= 1u << known;
    }
    return -1;
}

/* Appends text, with whatever stands between "://" and the last "@" hidden. */
static void append_hidden(struct buf *out, const char *text)
{
    const char *start = strstr(text, "://"), *at = start ? strrchr(start, '@') : NULL;

    if (at)
        buf_printf(out, "%.*s***%s", (int)(start + 3 - text), text, at);
    else
        buf_text(out, text);
}

void config_log(const struct settings *s, enum program who)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *field = (const char *)s + rows[i].offset;
        struct buf  value = {0};
        char       *text;

        if (!(rows[i].who & (int)who))
            continue;
        switch (rows[i].type) {
        case TEXT:
            append_hidden(&value, *(const setting_TEXT *)field);
            break;
        case CHOICE:
            buf_printf(&value, "%d of %s", *(const setting_CHOICE *)field, rows[i].unit);
            break;
        case BOOL:
            buf_printf(&value, "%d", *(const setting_BOOL *)field);
            break;
        default:
            buf_printf(&value, "%lld", (long long)*(const int64_t *)field);
        }
        text = buf_detach(&value);
        log_event(EVENT_SETTING, LOG_TEXT("name", rows[i].name), LOG_TEXT("value", text));
        free(text);
    }
}

void config_print_markdown(void)
{
    static const char *const readers[] = {"", "api", "worker", "both", "client"};

    puts("| name | read by | default | unit | bounds | meaning |\n|---|---|---|---|---|---|");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const struct row *r = &rows[i];
        struct buf        unit = {0};
        char             *text;

        for (const char *c = r->unit; *c; c++)
            buf_printf(&unit, *c == '|' ? " or " : "%c", *c);
        text = buf_detach(&unit);
        printf("| `%s` | %s | %s%s%s | %s | ", r->name, readers[r->who], *r->fallback ? "`" : "",
               *r->fallback ? r->fallback : "none", *r->fallback ? "`" : "", text);
        if (r->type == INT || r->type == BYTES)
            printf("%lld to %lld", (long long)r->min, (long long)r->max);
        printf(" | %s |\n", r->sentence);
        free(text);
    }
}
