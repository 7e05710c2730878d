/* SPDX-License-Identifier: Apache-2.0 */
/* entry.c - the fields of a command are rows of a table; what they say together is checked behind them. */
#include "kinds/command/entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "kinds/command/fill.h"

#define SHOWN_MAX 60 /* bytes of a name or value that a sentence repeats */
#define NAME_MAX_BYTES 64
#define TIMEOUT_MAX_S 518400
#define MEMORY_MIN_MIB 16
#define MEMORY_MAX_MIB (1 << 20)
#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* What is being read, for the sentence when it is refused. */
struct reader {
    const char     *path;
    const char     *field;
    struct command *command;
    struct fault   *why;
};

static enum err refuse(const struct reader *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

static enum err refuse(const struct reader *r, const char *fmt, ...)
{
    char    what[200];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return fault_set(r->why, ERR_CONFIG, "%.160s: command '%.*s'%s%.*s: %s", r->path, SHOWN_MAX, r->command->name,
                     *r->field ? ", " : "", SHOWN_MAX, r->field, what);
}

/* A string without NULs, or NULL. */
static const char *text_of(const json_t *value)
{
    const char *text = json_string_value(value);

    return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static bool is_made_of(const char *text, const char *bytes) { return *text && !text[strspn(text, bytes)]; }

/* ---- the program, and what it is given ------------------------------------------- */

static enum err read_argv(const struct reader *r, const json_t *value)
{
    size_t count = json_array_size(value);

    if (!count)
        return refuse(r, "it must be a list of strings: the program and its arguments");
    r->command->argv = xcalloc(count + 1, sizeof *r->command->argv);
    for (size_t i = 0; i < count; i++) {
        const char *text = text_of(json_array_get(value, i));

        if (!text)
            return refuse(r, "argument %zu is no string, or has a NUL in it", i);
        r->command->argv[i] = xstrdup(text);
    }
    if (r->command->argv[0][0] != '/' || strpbrk(r->command->argv[0], "{}"))
        return refuse(r, "the program must be an absolute path without placeholders, not '%.*s'", SHOWN_MAX,
                      r->command->argv[0]);
    return ERR_OK;
}

/* The index of the value in "a|b|c", or -1. */
static int word_index(const char *words, const json_t *value)
{
    const char *text = text_of(value);
    size_t      len = text ? strlen(text) : 0;

    for (int index = 0;; index++) {
        size_t n = strcspn(words, "|");

        if (text && n == len && memcmp(words, text, n) == 0)
            return index;
        words += n;
        if (!*words++)
            return -1;
    }
}

static enum err read_input(const struct reader *r, const json_t *value)
{
    static const char words[] = "stdin|file|directory|none"; /* as enum command_input has them */
    int               index = word_index(words, value);

    r->command->input = (enum command_input)index;
    return index < 0 ? refuse(r, "it must be one of %s", words) : ERR_OK;
}

static enum err read_output(const struct reader *r, const json_t *value)
{
    static const char words[] = "stdout|file|directory"; /* as enum command_output has them */
    int               index = word_index(words, value);

    r->command->output = (enum command_output)index;
    return index < 0 ? refuse(r, "it must be one of %s", words) : ERR_OK;
}

/* Names that are ours to set, or that would tell a program about the fleet. */
static bool is_reserved(const char *name)
{
    return strcmp(name, "HOME") == 0 || strcmp(name, "TMPDIR") == 0 || strncmp(name, "MILLRACE_", 9) == 0;
}

static enum err read_environment(const struct reader *r, const json_t *value)
{
    const char *name;
    json_t     *entry;
    size_t      count = 0;

    if (!json_is_object(value))
        return refuse(r, "it must be an object: names and their values");
    r->command->environment = xcalloc(json_object_size(value) + 1, sizeof *r->command->environment);
    json_object_foreach((json_t *)value, name, entry)
    {
        if (!is_made_of(name, UPPER LOWER DIGITS "_") || strspn(name, DIGITS))
            return refuse(r, "'%.*s' is no name of a variable", SHOWN_MAX, name);
        if (is_reserved(name))
            return refuse(r, "%.*s cannot be set here", SHOWN_MAX, name);
        if (!text_of(entry))
            return refuse(r, "the value of %.*s must be a string without NULs", SHOWN_MAX, name);
        if (asprintf(&r->command->environment[count++], "%s=%s", name, text_of(entry)) < 0)
            abort();
    }
    return ERR_OK;
}

/* ---- parameters -------------------------------------------------------------------- */

static enum err compile(const struct reader *r, const char *text, struct command_param *out)
{
    char message[100];
    int  error = regcomp(&out->pattern, text, REG_EXTENDED);

    if (error) {
        regerror(error, &out->pattern, message, sizeof message);
        return refuse(r, "the pattern of %s: %s", out->name, message);
    }
    out->text = xstrdup(text); /* says that there is a pattern to be freed */
    return ERR_OK;
}

static enum err read_param(const struct reader *r, const json_t *entry, struct command_param *out)
{
    const json_t *pattern = json_object_get(entry, "pattern"), *fallback = json_object_get(entry, "default");
    size_t        known = (pattern != NULL) + (fallback != NULL);
    enum err      e;

    if (!text_of(pattern) || json_object_size(entry) != known)
        return refuse(r, "%s must be an object: a \"pattern\", and a \"default\" if it has one", out->name);
    if (fallback && !text_of(fallback))
        return refuse(r, "the default of %s must be a string", out->name);
    e = compile(r, text_of(pattern), out);
    if (e || !fallback)
        return e;
    if (!command_param_takes(out, text_of(fallback)))
        return refuse(r, "the default of %s does not match its pattern", out->name);
    out->fallback = xstrdup(text_of(fallback));
    return ERR_OK;
}

/* Whether clients can give a value to a parameter of this name. */
static bool is_free_name(const char *name)
{
    return is_made_of(name, LOWER DIGITS "_") && strlen(name) <= NAME_MAX_BYTES &&
           kind_param_find(&command_spec, name) < 0 && strcmp(name, "group") != 0 &&
           strcmp(name, PLACEHOLDER_IN) != 0 && strcmp(name, PLACEHOLDER_OUT) != 0;
}

static enum err read_params(const struct reader *r, const json_t *value)
{
    const char *name;
    json_t     *entry;
    enum err    e = ERR_OK;

    if (!json_is_object(value))
        return refuse(r, "it must be an object: names and what is declared of them");
    r->command->params = xcalloc(json_object_size(value) + 1, sizeof *r->command->params);
    json_object_foreach((json_t *)value, name, entry)
    {
        struct command_param *p = &r->command->params[r->command->param_count];

        if (!is_free_name(name))
            return refuse(r,
                          "'%.*s' cannot be the name of a parameter: up to %d of a-z, 0-9 and _, and none that has "
                          "a meaning already",
                          SHOWN_MAX, name, NAME_MAX_BYTES);
        p->name = xstrdup(name);
        r->command->param_count++;
        e = read_param(r, entry, p);
        if (e)
            return e;
    }
    return ERR_OK;
}

/* ---- limits and the end ------------------------------------------------------------- */

static enum err read_whole(const struct reader *r, const json_t *value, int64_t min, int64_t max, const char *unit,
                           int64_t *out)
{
    *out = json_integer_value(value);
    if (json_is_integer(value) && *out >= min && *out <= max)
        return ERR_OK;
    return refuse(r, "it must be a whole number of %s from %lld to %lld", unit, (long long)min, (long long)max);
}

static enum err read_timeout(const struct reader *r, const json_t *value)
{
    return read_whole(r, value, 1, TIMEOUT_MAX_S, "seconds", &r->command->timeout_s);
}

static enum err read_memory(const struct reader *r, const json_t *value)
{
    int64_t  mib;
    enum err e = read_whole(r, value, MEMORY_MIN_MIB, MEMORY_MAX_MIB, "MiB", &mib);

    r->command->memory_max = (uint64_t)mib << 20;
    return e;
}

static enum err read_retry(const struct reader *r, const json_t *value)
{
    if (!json_is_array(value))
        return refuse(r, "it must be a list of exit codes");
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *code = json_array_get(value, i);
        json_int_t    number = json_integer_value(code);

        if (!json_is_integer(code) || number < 1 || number >= EXIT_CODES)
            return refuse(r, "exit codes are whole numbers from 1 to %d, 128 + N where signal N ended the program",
                          EXIT_CODES - 1);
        r->command->is_retry[number] = true;
    }
    return ERR_OK;
}

/* "auto", or a media type that a header can carry. */
static enum err read_type(const struct reader *r, const json_t *value)
{
    const char *text = text_of(value), *slash = text ? strchr(text, '/') : NULL;
    bool        is_plain = text && strlen(text) < RESULT_TYPE_BYTES;

    if (text && strcmp(text, "auto") == 0)
        return ERR_OK;
    for (const char *c = text; is_plain && *c; c++)
        is_plain = *c >= ' ' && *c <= '~';
    if (!is_plain || !slash || slash == text || !slash[1])
        return refuse(r, "it must be a media type, such as image/png, or \"auto\"");
    strcpy(r->command->type, text);
    return ERR_OK;
}

static enum err read_network(const struct reader *r, const json_t *value)
{
    r->command->has_network = json_is_true(value);
    return json_is_boolean(value) ? ERR_OK : refuse(r, "it must be true or false");
}

/* ---- the whole ------------------------------------------------------------------------ */

static const struct field {
    const char *name;
    enum err (*read)(const struct reader *r, const json_t *value);
} fields[] = {
    {"argv", read_argv},         {"input", read_input},       {"output", read_output},
    {"parameters", read_params}, {"type", read_type},         {"environment", read_environment},
    {"timeout_s", read_timeout}, {"memory_mib", read_memory}, {"retry", read_retry},
    {"network", read_network},
};
#define FIELD_COUNT (sizeof fields / sizeof *fields)

static enum err check_names(struct reader *r, const json_t *entry)
{
    const char *name;
    json_t     *value;

    json_object_foreach((json_t *)entry, name, value)
    {
        size_t i = 0;

        while (i < FIELD_COUNT && strcmp(fields[i].name, name) != 0)
            i++;
        r->field = name;
        if (i == FIELD_COUNT)
            return refuse(r, "there is no such field");
    }
    r->field = "argv";
    return json_object_get(entry, "argv") ? ERR_OK : refuse(r, "it is missing");
}

/* Each placeholder has something to stand in for it, and each thing to stand in has its place. */
static enum err check_placeholders(struct reader *r)
{
    const struct command *c = r->command;
    bool                  has_in = c->input == INPUT_FILE || c->input == INPUT_DIRECTORY, finds_in = false;
    bool                  has_out = c->output != OUTPUT_STDOUT, finds_out = false;
    struct piece          piece;
    char                  name[NAME_MAX_BYTES + 1];
    int                   found;

    r->field = "argv";
    for (char **arg = c->argv; *arg; arg++) {
        const char *at = *arg;

        while ((found = piece_next(&at, &piece)) > 0) {
            if (!piece.is_name)
                continue;
            snprintf(name, sizeof name, "%.*s", (int)piece.len, piece.start);
            if (strcmp(name, PLACEHOLDER_IN) == 0)
                finds_in = true;
            else if (strcmp(name, PLACEHOLDER_OUT) == 0)
                finds_out = true;
            else if (piece.len >= sizeof name || !command_param_find(c, name))
                return refuse(r, "{%s} stands for no parameter that is declared; braces are written {{ and }}", name);
        }
        if (found < 0)
            return refuse(r, "'%.*s' has a brace that belongs to no placeholder; braces are written {{ and }}",
                          SHOWN_MAX, *arg);
    }
    if (finds_in != has_in)
        return refuse(r, "{in} is there if and only if input is \"file\" or \"directory\"");
    if (finds_out != has_out)
        return refuse(r, "{out} is there if and only if output is \"file\" or \"directory\"");
    return ERR_OK;
}

enum err entry_read(const char *path, const char *name, const json_t *entry, struct command *out, struct fault *why)
{
    struct reader r = {.path = path, .field = "", .command = out, .why = why};
    enum err      e;

    out->name = xstrdup(name);
    if (!is_made_of(name, LOWER UPPER DIGITS "_-.") || strlen(name) > NAME_MAX_BYTES)
        return refuse(&r, "a name has up to %d letters, digits, and _-.", NAME_MAX_BYTES);
    if (!json_is_object(entry))
        return refuse(&r, "it must be an object");
    e = check_names(&r, entry);
    for (size_t i = 0; i < FIELD_COUNT && !e; i++) {
        const json_t *value = json_object_get(entry, fields[i].name);

        r.field = fields[i].name;
        e = value ? fields[i].read(&r, value) : ERR_OK;
    }
    return e ? e : check_placeholders(&r);
}

void entry_free(struct command *c)
{
    for (struct command_param *p = c->params; p && p < c->params + c->param_count; p++) {
        if (p->text)
            regfree(&p->pattern);
        free(p->name);
        free(p->text);
        free(p->fallback);
    }
    free(c->params);
    strings_free(c->argv);
    strings_free(c->environment);
    free(c->name);
}
