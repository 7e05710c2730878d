/* SPDX-License-Identifier: Apache-2.0 */
/* dir.c - sealed blobs of a directory: found, listed, removed. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/blob/blob_impl.h"

#define SUM_BYTES_MAX 512              /* of NAME.sum; it has some 150 */
#define SMALL_BYTES (16 * 1024 * 1024) /* removed within a few milliseconds */

enum err io_fault(struct fault *why, int code, const char *what, const char *name)
{
    bool is_full = code == ENOSPC || code == EDQUOT || code == EFBIG;

    return fault_set(why, is_full ? ERR_DISK_FULL : ERR_IO, "%s of blob %s: %s", what, name, strerror(code));
}

/* ---- the directory itself ------------------------------------------------------- */

static enum err make_folder(int fd, const char *name, struct fault *why)
{
    if (mkdirat(fd, name, 0770) && errno != EEXIST)
        return fault_set(why, ERR_CONFIG, "the directory for blobs cannot be made (%s): %s", name, strerror(errno));
    return ERR_OK;
}

static void read_boot(char out[40])
{
    int     fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, out, 36);

    if (fd >= 0)
        close(fd);
    out[got == 36 ? 36 : 0] = '\0';
    if (!job_id_is_valid(out))
        out[0] = '\0';
}

/* All of the folders at once, durable: a seal then has but one of them to sync. */
static enum err fill(const struct dir *d, struct fault *why)
{
    struct draft probe;
    enum err     e = make_folder(d->fd, "tmp", why);
    char         name[4];

    for (int i = 0; i < DIR_COUNT && !e; i++) {
        snprintf(name, sizeof name, "%02x", (unsigned)i);
        e = make_folder(d->fd, name, why);
    }
    if (e)
        return e;
    if (fsync(d->fd) && errno != EINVAL) /* EINVAL: a file system that has nothing to sync */
        return fault_set(why, ERR_CONFIG, "the directory for blobs cannot be synced: %s", strerror(errno));
    e = draft_open(d, "probe", &probe, why);
    if (e)
        return fault_set(why, ERR_CONFIG, "the directory for blobs cannot be written to");
    draft_drop(d, &probe);
    return ERR_OK;
}

enum err dir_open(const char *path, struct dir *out, struct fault *why)
{
    struct dir d = {.fd = -1};
    enum err   e;

    if (mkdir(path, 0770) && errno != EEXIST)
        return fault_set(why, ERR_CONFIG, "the directory for blobs, %s, cannot be made: %s", path, strerror(errno));
    d.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d.fd < 0)
        return fault_set(why, ERR_CONFIG, "the directory for blobs, %s, cannot be opened: %s", path, strerror(errno));
    read_boot(d.boot);
    e = fill(&d, why);
    if (e)
        dir_close(&d);
    else
        *out = d;
    return e;
}

void dir_close(struct dir *d)
{
    if (d->fd >= 0)
        close(d->fd);
    d->fd = -1;
}

void dir_path(char out[PATH_BYTES], const char *name, const char *suffix)
{
    int len = snprintf(out, PATH_BYTES, "%.2s/%s%s", name + JOB_ID_BYTES - 3, name, suffix);

    assert(len > 0 && len < PATH_BYTES);
    (void)len;
}

/* ---- one blob -------------------------------------------------------------------- */

static enum err read_sum(const struct dir *d, const char *name, struct sum *out, struct fault *why)
{
    char    path[PATH_BYTES], text[SUM_BYTES_MAX];
    ssize_t got;
    int     fd, code;

    dir_path(path, name, ".sum");
    fd = openat(d->fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return io_fault(why, errno, "the checksum", name);
    got = read(fd, text, sizeof text);
    code = errno;
    close(fd);
    if (got < 0)
        return io_fault(why, code, "the checksum", name);
    return sum_read(text, (size_t)got, out, why);
}

/* What the open file and its sum say of each other. */
static enum err describe(const struct dir *d, const char *name, int fd, struct blob_info *info, struct fault *why)
{
    struct stat st;
    struct sum  s = {0};
    enum err    e = read_sum(d, name, &s, why);

    if (fstat(fd, &st))
        return io_fault(why, errno, "the size", name);
    if (st.st_nlink == 0) /* removed between the two opens */
        return fault_set(why, ERR_NO_BLOB, "there is no blob %s", name);
    if (e)
        return e;
    if (s.boot[0] && strcmp(s.boot, d->boot) != 0) { /* a copy that may have lost bytes when the kernel went */
        e = dir_remove(d, name, &(int64_t){0}, why);
        return e ? e : fault_set(why, ERR_NO_BLOB, "there is no blob %s", name);
    }
    if (st.st_size != s.size)
        return fault_set(why, ERR_IO, "blob %s has %lld bytes, not the %lld that it was sealed with", name,
                         (long long)st.st_size, (long long)s.size);
    *info = (struct blob_info){
        .size = s.size, .sealed_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000, .head = s.head};
    strcpy(info->sum, s.xxh3);
    return ERR_OK;
}

enum err dir_find(const struct dir *d, const char *name, int *fd, struct blob_info *info, struct fault *why)
{
    char             path[PATH_BYTES];
    struct blob_info found;
    enum err         e;
    int              opened;

    if (!blob_name_is_valid(name))
        return fault_set(why, ERR_NO_BLOB, "there is no blob of such a name");
    dir_path(path, name, "");
    opened = openat(d->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0 && errno == ENOENT)
        return fault_set(why, ERR_NO_BLOB, "there is no blob %s", name);
    if (opened < 0)
        return io_fault(why, errno, "opening", name);
    e = describe(d, name, opened, &found, why);
    if (e) {
        close(opened);
        return e;
    }
    *fd = opened;
    *info = found;
    return ERR_OK;
}

/* to: where a large one goes, "" for nowhere. It becomes "" where the file was unlinked instead: a small one, or any
 * one when there is no room for another name. */
static enum err take(const struct dir *d, const char *name, int64_t *size, char to[PATH_BYTES], struct fault *why)
{
    char        path[PATH_BYTES];
    struct stat st;
    bool        is_gone;

    dir_path(path, name, "");
    if (fstatat(d->fd, path, &st, AT_SYMLINK_NOFOLLOW))
        return errno == ENOENT ? fault_set(why, ERR_NO_BLOB, "there is no blob %s", name)
                               : io_fault(why, errno, "removing", name);
    is_gone = to[0] && st.st_size > SMALL_BYTES && !renameat(d->fd, path, d->fd, to);
    if (!is_gone)
        to[0] = '\0';
    if (!is_gone && unlinkat(d->fd, path, 0))
        return errno == ENOENT ? fault_set(why, ERR_NO_BLOB, "there is no blob %s", name)
                               : io_fault(why, errno, "removing", name);
    *size = st.st_size;
    dir_path(path, name, ".sum");
    (void)unlinkat(d->fd, path, 0); /* alone it counts for nothing; a walk removes it */
    return ERR_OK;
}

enum err dir_remove(const struct dir *d, const char *name, int64_t *size, struct fault *why)
{
    char nowhere[PATH_BYTES] = "";

    if (!blob_name_is_valid(name))
        return fault_set(why, ERR_NO_BLOB, "there is no blob of such a name");
    return take(d, name, size, nowhere, why);
}

enum err dir_take_away(const struct dir *d, const char *name, int64_t *size, struct draft *out, struct fault *why)
{
    enum err e;

    *out = (struct draft){.fd = -1};
    if (!blob_name_is_valid(name))
        return fault_set(why, ERR_NO_BLOB, "there is no blob of such a name");
    e = draft_name(name, out->path, why);
    return e ? e : take(d, name, size, out->path, why);
}

/* ---- names ------------------------------------------------------------------------ */

void names_add(struct names *n, const char *name)
{
    if (n->count == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 16;
        n->name = xrealloc(n->name, n->cap * sizeof *n->name);
    }
    n->name[n->count++] = xstrdup(name);
}

void names_free(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->name[i]);
    free(n->name);
    *n = (struct names){0};
}

enum err dir_list(const struct dir *d, const char *prefix, struct names *out, struct fault *why)
{
    char           folder[3] = {prefix[JOB_ID_BYTES - 3], prefix[JOB_ID_BYTES - 2], '\0'};
    size_t         len = strlen(prefix);
    int            fd = openat(d->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR           *entries = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int            code;

    if (!entries) {
        code = errno;
        if (fd >= 0)
            close(fd);
        return fault_set(why, ERR_IO, "blobs cannot be listed: %s", strerror(code));
    }
    while ((errno = 0, entry = readdir(entries)))
        if (!strncmp(entry->d_name, prefix, len) && blob_name_is_valid(entry->d_name))
            names_add(out, entry->d_name);
    code = errno;
    closedir(entries);
    return code ? fault_set(why, ERR_IO, "blobs cannot be listed: %s", strerror(code)) : ERR_OK;
}
