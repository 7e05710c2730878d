/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - see the header. */
#include "kinds/command/list.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "kinds/command/entry.h"

#define LIST_MAX (16 << 20) /* bytes */

struct commands {
    char           *path; /* of the file, for sentences */
    struct command *items;
    size_t          count;
};

/* ---- the file ---------------------------------------------------------------------- */

static enum err refuse(const char *path, const char *what, struct fault *why)
{
    return fault_set(why, ERR_CONFIG, "%.160s: %s", path, what);
}

/* All of one file behind the other; false: errno says why not. */
static bool append_file(int from, int to)
{
    char    chunk[16384];
    off_t   at = 0;
    ssize_t got;

    while ((got = read(from, chunk, sizeof chunk)) > 0) {
        if (at + got > LIST_MAX) {
            errno = EFBIG;
            return false;
        }
        if (pwrite(to, chunk, (size_t)got, at) != got)
            return false;
        at += got;
    }
    return got == 0;
}

enum err commands_copy(const char *path, int *fd, struct fault *why)
{
    int  file = open(path, O_RDONLY | O_CLOEXEC);
    int  copy = file < 0 ? -1 : memfd_create("millrace-commands", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool is_whole = copy >= 0 && append_file(file, copy) &&
                    fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
    enum err e = is_whole ? ERR_OK : refuse(path, strerror(errno), why);

    if (file >= 0)
        close(file);
    if (!e)
        *fd = copy;
    else if (copy >= 0)
        close(copy);
    return e;
}

/* ---- what it says ------------------------------------------------------------------- */

struct place {
    int   fd;
    off_t at; /* not the descriptor's own, which others have too */
};

static size_t read_on(void *buffer, size_t len, void *ctx)
{
    struct place *p = ctx;
    ssize_t       got = pread(p->fd, buffer, len, p->at);

    p->at += got > 0 ? got : 0;
    return (size_t)got; /* -1: as the reader of JSON has it */
}

static enum err load(int fd, const char *path, json_t **doc, struct fault *why)
{
    struct place place = {.fd = fd};
    json_error_t error;

    *doc = json_load_callback(read_on, &place, JSON_REJECT_DUPLICATES, &error);
    if (!*doc)
        return fault_set(why, ERR_CONFIG, "%.160s, line %d: %s", path, error.line, error.text);
    if (json_is_object(*doc) && json_object_size(*doc))
        return ERR_OK;
    return refuse(path, "it must be a JSON object with a command at least", why);
}

enum err commands_read_copy(int fd, const char *path, struct commands **out, struct fault *why)
{
    struct commands *list = xcalloc(1, sizeof *list);
    json_t          *doc = NULL, *entry;
    const char      *name;
    enum err         e;

    list->path = xstrdup(path);
    e = load(fd, path, &doc, why);
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

enum err commands_read(const char *path, struct commands **out, struct fault *why)
{
    int      fd = -1;
    enum err e = commands_copy(path, &fd, why);

    if (e)
        return e;
    e = commands_read_copy(fd, path, out, why);
    close(fd);
    return e;
}

/* ---- using it --------------------------------------------------------------------------- */

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

/* The longest of the leftmost matches is all of it, or none is. The pattern itself stays as it was written: with
 * something put around it, one like "a)|b" would say something else. */
bool command_param_takes(const struct command_param *p, const char *value)
{
    regmatch_t found;

    return regexec(&p->pattern, value, 1, &found, 0) == 0 && found.rm_so == 0 && !value[found.rm_eo];
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
