/* SPDX-License-Identifier: Apache-2.0 */
/* folder.c - see the header. */
#include "kinds/command/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "millrace-run-"
#define OPEN_FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static const char *base(void)
{
    const char *folder = getenv("TMPDIR");

    return folder && *folder ? folder : "/tmp";
}

/* ---- removing ------------------------------------------------------------------ */

/* A stream over the folder that fd is; fd stays open. NULL when it cannot be read. */
static DIR *open_stream(int fd)
{
    int  own = openat(fd, ".", OPEN_FOLDER);
    DIR *stream = own < 0 ? NULL : fdopendir(own);

    if (!stream && own >= 0)
        close(own);
    return stream;
}

static const char *next_name(DIR *stream)
{
    struct dirent *entry;

    do
        entry = readdir(stream);
    while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
    return entry ? entry->d_name : NULL;
}

/* Opens the folder, also one that its maker shut. */
static int open_shut(int at, const char *name)
{
    struct stat s;

    if (fstatat(at, name, &s, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(s.st_mode))
        return -1;
    if ((s.st_mode & S_IRWXU) != S_IRWXU)
        (void)fchmodat(at, name, S_IRWXU, 0);
    return openat(at, name, OPEN_FOLDER);
}

/* Removes the folder `name` of top. The folders in it become folders of top, to be removed in their turn: however deep
 * they lie, two descriptors are enough. */
static bool remove_folder(int top, const char *name, unsigned *serial)
{
    int         fd = open_shut(top, name);
    DIR        *stream = fd < 0 ? NULL : open_stream(fd);
    const char *inner;
    char        moved[32];

    while (stream && (inner = next_name(stream))) {
        int shut;

        if (unlinkat(fd, inner, 0) == 0)
            continue;
        shut = open_shut(fd, inner); /* a folder can only be moved by who may write to it */
        if (shut >= 0)
            close(shut);
        do
            snprintf(moved, sizeof moved, "+%u", (*serial)++);
        while (renameat2(fd, inner, top, moved, RENAME_NOREPLACE) && errno == EEXIST);
    }
    if (stream)
        closedir(stream);
    if (fd >= 0)
        close(fd);
    return unlinkat(top, name, AT_REMOVEDIR) == 0;
}

/* Until nothing is left, or nothing more can be removed. */
static void empty(int top)
{
    unsigned serial = 0;
    bool     is_any = true;

    (void)fchmod(top, S_IRWXU);
    while (is_any) {
        DIR        *stream = open_stream(top);
        const char *name;

        is_any = false;
        while (stream && (name = next_name(stream)))
            is_any |= unlinkat(top, name, 0) == 0 || remove_folder(top, name, &serial);
        if (stream)
            closedir(stream);
    }
}

void folder_leave(struct folder *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

void folder_remove(struct folder *f)
{
    if (f->fd < 0)
        return;
    empty(f->fd);
    (void)rmdir(f->path);
    folder_leave(f);
}

/* ---- making --------------------------------------------------------------------- */

static enum err refuse(struct fault *why, const char *what, const char *path)
{
    enum err e = errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;

    return fault_set(why, e, "%s the private folder %s: %s", what, path, strerror(errno));
}

/* Opens the folder and locks it. False: it is locked already, or went away meanwhile. */
static bool take(struct folder *f)
{
    struct stat ours, there;

    f->fd = open(f->path, OPEN_FOLDER);
    if (f->fd < 0)
        return false;
    if (flock(f->fd, LOCK_EX | LOCK_NB) == 0 && fstat(f->fd, &ours) == 0 && lstat(f->path, &there) == 0 &&
        ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
        return true;
    folder_leave(f);
    return false;
}

enum err folder_make(struct folder *f, struct fault *why)
{
    static const char *const names[] = {FOLDER_IN, FOLDER_OUT, FOLDER_TMP};

    f->fd = -1;
    if (*base() != '/') /* the program will be elsewhere */
        return fault_set(why, ERR_IO, "TMPDIR is no absolute path: %.200s", base());
    if (strlen(base()) + sizeof PREFIX + 8 > sizeof f->path)
        return fault_set(why, ERR_IO, "TMPDIR is too long a path for private folders");
    do { /* a sweep may remove it before it is locked */
        snprintf(f->path, sizeof f->path, "%s/" PREFIX "XXXXXX", base());
        if (!mkdtemp(f->path))
            return refuse(why, "making", f->path);
    } while (!take(f));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (mkdirat(f->fd, names[i], S_IRWXU)) {
            refuse(why, "making", f->path);
            folder_remove(f);
            return why->err;
        }
    return ERR_OK;
}

void folder_sweep(void)
{
    DIR           *stream = opendir(base());
    struct dirent *entry;

    while (stream && (entry = readdir(stream))) {
        struct folder left = {.fd = -1};
        struct stat   s;

        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0 ||
            snprintf(left.path, sizeof left.path, "%s/%s", base(), entry->d_name) >= (int)sizeof left.path)
            continue;
        if (lstat(left.path, &s) == 0 && S_ISDIR(s.st_mode) && s.st_uid == geteuid() && take(&left))
            folder_remove(&left);
    }
    if (stream)
        closedir(stream);
}
