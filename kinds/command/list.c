/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - see the header. */
#include "kinds/command/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "kinds/command/entry.h"

struct commands {
    char           *path; /* of the file, for sentences */
    struct command *items;
    size_t          count;
};

static enum err load(const char *path, json_t **doc, struct fault *why)
{
    json_error_t error;

    *doc = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!*doc && error.line < 0) /* the file, not what is in it; jansson names it again */
        return fault_set(why, ERR_CONFIG, "%.160s: %s", path, strerror(errno));
    if (!*doc)
        return fault_set(why, ERR_CONFIG, "%.160s, line %d: %s", path, error.line, error.text);
    if (json_is_object(*doc) && json_object_size(*doc))
        return ERR_OK;
    return fault_set(why, ERR_CONFIG, "%.160s: it must be a JSON object with a command at least", path);
}

enum err commands_read(const char *path, struct commands **out, struct fault *why)
{
    struct commands *list = xcalloc(1, sizeof *list);
    json_t          *doc = NULL, *entry;
    const char      *name;
    enum err         e;

    list->path = xstrdup(path);
    e = load(path, &doc, why);
    if (e)
        goto out;
    list->items = xcalloc(json_object_size(doc), sizeof *list->items);
    json_object_foreach(doc, name, entry)
    {
        e = entry_read(path, name, entry, &list->items[list->count++], why);
        if (e)
            goto out;
    }
    *out = list;
    list = NULL;
out:
    json_decref(doc);
    commands_free(list);
    return e;
}

enum err commands_check_programs(const struct commands *list, struct fault *why)
{
    for (const struct command *c = list->items; c < list->items + list->count; c++) {
        struct stat s;
        bool        is_there = stat(c->argv[0], &s) == 0;

        if (is_there && S_ISREG(s.st_mode) && access(c->argv[0], X_OK) == 0)
            continue;
        return fault_set(why, ERR_CONFIG, "%.160s: command '%.60s', argv: the program %.160s %s", list->path, c->name,
                         c->argv[0], is_there ? "cannot be run by this user" : "is not there");
    }
    return ERR_OK;
}

const struct command *commands_find(const struct commands *list, const char *name)
{
    for (const struct command *c = list->items; c < list->items + list->count; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

const struct command_param *command_param_find(const struct command *c, const char *name)
{
    for (const struct command_param *p = c->params; p < c->params + c->param_count; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

void commands_free(struct commands *list)
{
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++)
        entry_free(&list->items[i]);
    free(list->items);
    free(list->path);
    free(list);
}
