/* SPDX-License-Identifier: Apache-2.0 */
/* fill.c - see the header. */
#include "kinds/command/fill.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "kinds/command/rows.h"

#define SHOWN_MAX 60 /* bytes of a refused value that the detail repeats */
#define INPUT_NAME "input"

int piece_next(const char **at, struct piece *out)
{
    const char *text = *at;
    size_t      len = strcspn(text, "{}");

    if (!*text)
        return 0;
    if (len) {
        *out = (struct piece){text, len, false};
        *at = text + len;
    } else if (text[1] == text[0]) {
        *out = (struct piece){text, 1, false};
        *at = text + 2;
    } else {
        len = strcspn(text + 1, "{}");
        if (text[0] != '{' || text[1 + len] != '}')
            return -1;
        *out = (struct piece){text + 1, len, true};
        *at = text + len + 2;
    }
    return 1;
}

/* ---- choosing --------------------------------------------------------------- */

static enum err check_value(const struct command *c, const struct command_param *p, const char *value,
                            struct fault *why)
{
    if (command_param_takes(p, value))
        return ERR_OK;
    return fault_set(why, ERR_PARAM, "%s of the command %s must match %.80s, not '%.*s'", p->name, c->name, p->text,
                     SHOWN_MAX, value);
}

static enum err check_params(const struct command *c, const struct args *args, struct fault *why)
{
    const struct command_param *p;
    const char                 *name, *value;
    enum err                    e = ERR_OK;

    for (size_t at = 0; !e && args_next_rest(args, &at, &name, &value);) {
        p = command_param_find(c, name);
        e = p ? check_value(c, p, value, why)
              : fault_set(why, ERR_PARAM, "the command %s has no parameter '%.*s'", c->name, SHOWN_MAX, name);
    }
    for (p = c->params; !e && p < c->params + c->param_count; p++)
        if (!p->fallback && !args_rest(args, p->name))
            e = fault_set(why, ERR_PARAM, "%s is missing: the command %s takes one that matches %.80s", p->name,
                          c->name, p->text);
    return e;
}

/* A program may look into its folder and pass on what it finds: nothing that leads elsewhere, or looks like an option.
 */
static enum err check_file_name(const char *name, struct fault *why)
{
    if (*name != '-' && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
        return ERR_OK;
    return fault_set(why, ERR_PARAM,
                     "name must be that of a file, without a slash and not beginning with a dash, "
                     "not '%.*s'",
                     SHOWN_MAX, name);
}

enum err command_choose(const struct commands *list, const struct args *args, const struct command **out,
                        struct fault *why)
{
    const char           *name = args_text(args, ROW_COMMAND);
    const struct command *c;
    enum err              e;

    if (!list)
        return fault_set(why, ERR_PARAM, "no commands are listed here: MILLRACE_COMMANDS_FILE is not set");
    c = commands_find(list, name);
    if (!c)
        return fault_set(why, ERR_PARAM, "there is no command '%.*s'", SHOWN_MAX, name);
    e = check_file_name(command_input_name(args), why);
    if (!e)
        e = check_params(c, args, why);
    if (!e)
        *out = c;
    return e;
}

const char *command_input_name(const struct args *args)
{
    const char *name = args_text(args, ROW_NAME);

    return name ? name : INPUT_NAME;
}

/* ---- filling ---------------------------------------------------------------- */

static bool is_called(const struct piece *p, const char *name)
{
    return p->is_name && strlen(name) == p->len && memcmp(name, p->start, p->len) == 0;
}

/* The value for a placeholder; the list was checked, so there is one. */
static const char *value_of(const struct command *c, const struct args *args, const struct piece *piece)
{
    const struct command_param *p = c->params;
    const char                 *given;

    while (!is_called(piece, p->name))
        p++;
    given = args_rest(args, p->name);
    return given ? given : p->fallback;
}

static char *fill(const struct command *c, const struct args *args, const char *text, const char *in, const char *out)
{
    struct buf   filled = {0};
    struct piece piece;

    while (piece_next(&text, &piece) > 0) {
        if (!piece.is_name)
            buf_append(&filled, piece.start, piece.len);
        else if (is_called(&piece, PLACEHOLDER_IN))
            buf_text(&filled, in);
        else if (is_called(&piece, PLACEHOLDER_OUT))
            buf_text(&filled, out);
        else
            buf_text(&filled, value_of(c, args, &piece));
    }
    return buf_detach(&filled);
}

char **command_argv(const struct command *c, const struct args *args, const char *in, const char *out)
{
    size_t count = 0;
    char **argv;

    while (c->argv[count])
        count++;
    argv = xcalloc(count + 1, sizeof *argv);
    for (size_t i = 0; i < count; i++)
        argv[i] = fill(c, args, c->argv[i], in, out);
    return argv;
}

void strings_free(char **list)
{
    for (char **s = list; s && *s; s++)
        free(*s);
    free(list);
}
