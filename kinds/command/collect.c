/* SPDX-License-Identifier: Apache-2.0 */
/* collect.c - see the header. */
#include "kinds/command/collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "kinds/command/fill.h"
#include "kinds/command/tar.h"

#define DEPTH_MAX 32
#define FILES_MAX 100000
#define NAMES_MAX (16 << 20) /* bytes of all their names */
#define CHUNK_BYTES (256 * 1024)
#define TYPE_TAR "application/x-tar"
#define SHOWN_MAX 120 /* bytes of a name that a sentence repeats */

void collect_open(struct collect *c, struct task *task)
{
    *c = (struct collect){.type = NULL};
    outlet_open(&c->outlet, task);
}

enum err collect_write(struct collect *c, const void *bytes, size_t len)
{
    uint64_t at = c->outlet.len;

    if (at < sizeof c->head && len)
        memcpy(c->head + at, bytes, len < sizeof c->head - at ? len : sizeof c->head - at);
    return outlet_write(&c->outlet, bytes, len);
}

void collect_close(struct collect *c, const char *type)
{
    size_t      known = c->outlet.len < sizeof c->head ? (size_t)c->outlet.len : sizeof c->head;
    const char *found = c->type ? c->type : media_of_bytes(c->head, known);

    outlet_close(&c->outlet, *type ? type : found ? found : "");
}

void collect_drop(struct collect *c) { outlet_drop(&c->outlet); }

/* ---- what is there ------------------------------------------------------------------ */

struct names {
    char        **list; /* owned: relative paths of files, NULL behind the last */
    size_t        count, bytes;
    struct fault *why;
};

static enum err refuse_file(const struct names *n, const char *path, const char *what)
{
    return fault_set(n->why, ERR_COMMAND, "the output folder: %.*s %s", SHOWN_MAX, path, what);
}

static enum err add_name(struct names *n, const char *path)
{
    if (n->count == FILES_MAX)
        return fault_set(n->why, ERR_COMMAND, "the output folder has more than %d files", FILES_MAX);
    n->bytes += strlen(path);
    if (n->bytes > NAMES_MAX)
        return fault_set(n->why, ERR_COMMAND, "the names in the output folder have more than %d bytes", NAMES_MAX);
    if ((n->count & (n->count + 1)) == 0) /* room doubles */
        n->list = xrealloc(n->list, 2 * (n->count + 1) * sizeof *n->list);
    n->list[n->count++] = xstrdup(path);
    n->list[n->count] = NULL;
    return ERR_OK;
}

static enum err list_folder(struct names *n, int folder, const char *prefix, int depth);

static enum err list_entry(struct names *n, int folder, const char *name, const char *path, int depth)
{
    struct stat s;
    enum err    e;
    int         inner;

    if (fstatat(folder, name, &s, AT_SYMLINK_NOFOLLOW))
        return refuse_file(n, path, strerror(errno));
    if (S_ISREG(s.st_mode))
        return add_name(n, path);
    if (!S_ISDIR(s.st_mode))
        return refuse_file(n, path, "is neither a file nor a folder");
    if (depth == DEPTH_MAX)
        return refuse_file(n, path, "lies too deep");
    inner = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0)
        return refuse_file(n, path, "cannot be read");
    e = list_folder(n, inner, path, depth + 1);
    close(inner);
    return e;
}

static enum err list_folder(struct names *n, int folder, const char *prefix, int depth)
{
    int            own = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR           *stream = own < 0 ? NULL : fdopendir(own);
    struct dirent *entry;
    enum err       e = ERR_OK;

    if (!stream && own >= 0)
        close(own);
    if (!stream)
        return refuse_file(n, prefix, "cannot be read");
    while (!e && (entry = readdir(stream))) {
        char *path;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (asprintf(&path, "%s%s%s", prefix, *prefix ? "/" : "", entry->d_name) < 0)
            abort();
        e = list_entry(n, folder, entry->d_name, path, depth);
        free(path);
    }
    closedir(stream);
    return e;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* ---- its bytes --------------------------------------------------------------------- */

static enum err open_file(const struct names *n, int folder, const char *path, int *fd, uint64_t *size)
{
    struct stat s;

    *fd = openat(folder, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &s) || !S_ISREG(s.st_mode)) {
        if (*fd >= 0)
            close(*fd);
        return refuse_file(n, path, "cannot be read");
    }
    *size = (uint64_t)s.st_size;
    return ERR_OK;
}

/* Gives all of the file to put, piece by piece. */
static enum err read_file(const struct names *n, int fd, const char *path, uint64_t size, void *ctx,
                          enum err (*put)(void *ctx, const void *bytes, size_t len))
{
    char    *chunk = xmalloc(CHUNK_BYTES);
    enum err e = ERR_OK;

    while (!e && size) {
        ssize_t got = read(fd, chunk, CHUNK_BYTES);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 || (uint64_t)got > size)
            e = fault_set(n->why, ERR_IO, "reading %.*s of the output folder: %s", SHOWN_MAX, path,
                          got < 0 ? strerror(errno) : "it has changed");
        else
            e = put(ctx, chunk, (size_t)got);
        size -= got > 0 ? (uint64_t)got : 0;
    }
    free(chunk);
    return e;
}

static enum err put_plain(void *ctx, const void *bytes, size_t len) { return collect_write(ctx, bytes, len); }

static enum err take_one(struct collect *c, int folder, const struct names *n)
{
    uint64_t size;
    int      fd;
    enum err e = open_file(n, folder, n->list[0], &fd, &size);

    if (e)
        return e;
    c->type = media_of_name(n->list[0]);
    e = read_file(n, fd, n->list[0], size, c, put_plain);
    close(fd);
    return e;
}

/* ---- an archive ---------------------------------------------------------------------- */

static enum err archive_file(struct collect *c, int folder, const struct names *n, const char *path)
{
    uint64_t size;
    int      fd;
    enum err e = open_file(n, folder, path, &fd, &size);

    if (e)
        return e;
    e = tar_begin_file(path, size, put_plain, c);
    if (!e)
        e = read_file(n, fd, path, size, c, put_plain);
    if (!e)
        e = tar_end_file(size, put_plain, c);
    close(fd);
    return e;
}

static enum err take_all(struct collect *c, int folder, const struct names *n)
{
    enum err e = ERR_OK;

    c->type = TYPE_TAR;
    for (size_t i = 0; i < n->count && !e; i++)
        e = archive_file(c, folder, n, n->list[i]);
    return e ? e : tar_end(put_plain, c);
}

enum err collect_folder(struct collect *c, int folder)
{
    struct names n = {.why = &c->outlet.task->why};
    enum err     e = list_folder(&n, folder, "", 0);

    if (n.count)
        qsort(n.list, n.count, sizeof *n.list, by_name);
    if (!e && !n.count)
        e = fault_set(n.why, ERR_COMMAND, "the program left no file in its output folder");
    if (!e)
        e = n.count == 1 ? take_one(c, folder, &n) : take_all(c, folder, &n);
    strings_free(n.list);
    return e;
}
