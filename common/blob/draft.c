/* SPDX-License-Identifier: Apache-2.0 */
/* draft.c - files on their way to become blobs: made, filled, sealed.
 *
 * A seal costs three syncs: of the bytes, of the sum, and of the folder that
 * holds both names. The last comes behind both names: a crash in front of it
 * may keep either, but nobody has been told of the blob then. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/blob/blob_impl.h"
#include "common/clock.h"

#define READ_BYTES (256 * 1024)
#define ORPHAN_MS (60 * 1000) /* a seal has long put the blob beside its sum */

enum err draft_name(const char *name, char out[PATH_BYTES], struct fault *why)
{
    uint64_t dice;

    if (getrandom(&dice, sizeof dice, 0) != sizeof dice)
        return io_fault(why, errno, "a temporary name", name);
    snprintf(out, PATH_BYTES, "tmp/%s.%016llx", name, (unsigned long long)dice);
    return ERR_OK;
}

enum err draft_open(const struct dir *d, const char *name, struct draft *out, struct fault *why)
{
    struct draft f = {.fd = -1};
    enum err     e = draft_name(name, f.path, why);

    if (e)
        return e;
    f.fd = openat(d->fd, f.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    if (f.fd < 0)
        return io_fault(why, errno, "making the file", name);
    *out = f;
    return ERR_OK;
}

/* For file systems that cannot set room aside: there must at least be some now. */
static enum err check_room(const struct draft *f, int64_t size, struct fault *why)
{
    struct statvfs st;

    if (!fstatvfs(f->fd, &st) && st.f_blocks > 0 && st.f_bavail < (uint64_t)size / st.f_frsize)
        return fault_set(why, ERR_DISK_FULL, "the disk for blobs has %llu bytes left, not the %lld that are needed",
                         (unsigned long long)(st.f_bavail * st.f_frsize), (long long)size);
    if (ftruncate(f->fd, size))
        return io_fault(why, errno, "setting the size", f->path + 4);
    return ERR_OK;
}

enum err draft_room(const struct draft *f, int64_t size, struct fault *why)
{
    int rc;

    if (size == 0)
        return ERR_OK;
    do
        rc = fallocate(f->fd, 0, 0, size);
    while (rc && errno == EINTR);
    if (!rc)
        return ERR_OK;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return check_room(f, size, why);
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return fault_set(why, ERR_DISK_FULL, "the disk for blobs has no room for %lld bytes: %s", (long long)size,
                         strerror(errno));
    return io_fault(why, errno, "taking room", f->path + 4);
}

enum err draft_write(const struct draft *f, const void *bytes, size_t len, int64_t offset, struct fault *why)
{
    const char *at = bytes;

    while (len) {
        ssize_t put = pwrite(f->fd, at, len, (off_t)offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return io_fault(why, put ? errno : EIO, "writing", f->path + 4);
        at += put;
        len -= (size_t)put;
        offset += put;
    }
    return ERR_OK;
}

enum err draft_sha256(const struct draft *f, int64_t size, const atomic_bool *is_closing, char out[SHA256_BYTES],
                      struct fault *why)
{
    EVP_MD_CTX   *digest = EVP_MD_CTX_new();
    char         *bytes = xmalloc(READ_BYTES);
    unsigned char raw[32];
    enum err      e = ERR_OK;
    int64_t       at = 0;

    if (!digest || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1)
        abort(); /* out of memory */
    while (!e && at < size) {
        size_t  want = size - at < READ_BYTES ? (size_t)(size - at) : READ_BYTES;
        ssize_t got = pread(f->fd, bytes, want, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (atomic_load(is_closing))
            e = closing_fault(why);
        else if (got <= 0)
            e = io_fault(why, got ? errno : EIO, "reading back", f->path + 4);
        else if (EVP_DigestUpdate(digest, bytes, (size_t)got) != 1)
            e = fault_set(why, ERR_INTERNAL, "SHA-256 cannot be computed");
        at += got;
    }
    if (!e && EVP_DigestFinal_ex(digest, raw, NULL) != 1)
        e = fault_set(why, ERR_INTERNAL, "SHA-256 cannot be computed");
    for (size_t i = 0; i < sizeof raw && !e; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
    EVP_MD_CTX_free(digest);
    free(bytes);
    return e;
}

/* ---- sealing --------------------------------------------------------------------- */

/* Gives a file a name that nothing has yet: 0, or errno, EEXIST where something has it. */
static int rename_new(const struct dir *d, const char *from, const char *to)
{
    if (!renameat2(d->fd, from, d->fd, to, RENAME_NOREPLACE))
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return errno;
    if (linkat(d->fd, from, d->fd, to, 0)) /* file systems over a network often have only this */
        return errno;
    (void)unlinkat(d->fd, from, 0); /* a second name in tmp harms nobody; a walk removes it */
    return 0;
}

/* Removes a sum that a crash has left without its blob; whether there was one. */
static bool remove_orphan(const struct dir *d, const char *name, const char *sum_path)
{
    char        path[PATH_BYTES];
    struct stat st;

    dir_path(path, name, "");
    if (!fstatat(d->fd, path, &st, AT_SYMLINK_NOFOLLOW) || errno != ENOENT)
        return false;
    if (fstatat(d->fd, sum_path, &st, AT_SYMLINK_NOFOLLOW) || wall_ms() - (int64_t)st.st_mtim.tv_sec * 1000 < ORPHAN_MS)
        return false;
    return !unlinkat(d->fd, sum_path, 0);
}

/* Puts NAME.sum there: from then on the name is ours. */
static enum err place_sum(const struct dir *d, const struct draft *f, const char *name, const struct sum *s,
                          struct fault *why)
{
    struct draft file = {.fd = -1};
    struct buf   text = {0};
    char         path[PATH_BYTES];
    int          code = 0;
    enum err     e;

    snprintf(file.path, sizeof file.path, "%.*s.sum", (int)sizeof file.path - 5, f->path);
    file.fd = openat(d->fd, file.path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0660);
    if (file.fd < 0)
        return io_fault(why, errno, "the checksum", name);
    sum_write(s, &text);
    dir_path(path, name, ".sum");
    e = draft_write(&file, text.data, text.len, 0, why);
    if (!e && !s->boot[0] && fsync(file.fd))
        e = io_fault(why, errno, "the checksum", name);
    if (!e && (code = rename_new(d, file.path, path)) == EEXIST && remove_orphan(d, name, path))
        code = rename_new(d, file.path, path);
    if (!e && code)
        e = code == EEXIST ? fault_set(why, ERR_WRONG_STATE, "there is a blob %s already", name)
                           : io_fault(why, code, "the checksum", name);
    if (e)
        (void)unlinkat(d->fd, file.path, 0);
    close(file.fd);
    buf_free(&text);
    return e;
}

static int sync_folder(const struct dir *d, const char *path)
{
    char folder[3] = {path[0], path[1], '\0'};
    int  fd = openat(d->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int  rc, code;

    if (fd < 0)
        return -1;
    rc = fsync(fd);
    code = errno;
    close(fd);
    errno = code;
    return rc && code != EINVAL ? -1 : 0;
}

static enum err place_blob(const struct dir *d, const struct draft *f, const char *name, bool is_copy,
                           struct fault *why)
{
    char     path[PATH_BYTES];
    enum err e = ERR_OK;
    int      code;

    dir_path(path, name, "");
    code = rename_new(d, f->path, path);
    if (code)
        return code == EEXIST ? fault_set(why, ERR_WRONG_STATE, "there is a blob %s already", name)
                              : io_fault(why, code, "naming", name);
    if (!is_copy && sync_folder(d, path)) {
        e = io_fault(why, errno, "naming", name);
        (void)unlinkat(d->fd, path, 0);
    }
    return e;
}

enum err draft_seal(const struct dir *d, const struct draft *f, const char *name, const struct sum *s,
                    struct blob_info *info, struct fault *why)
{
    bool     is_copy = s->boot[0];
    int64_t  now = wall_ms();
    char     path[PATH_BYTES];
    enum err e;

    (void)futimens(f->fd, NULL); /* the age counts from here */
    if (!is_copy && fsync(f->fd))
        return io_fault(why, errno, "writing", name);
    e = place_sum(d, f, name, s, why);
    if (e)
        return e;
    e = place_blob(d, f, name, is_copy, why);
    if (e) {
        dir_path(path, name, ".sum");
        (void)unlinkat(d->fd, path, 0);
        return e;
    }
    *info = (struct blob_info){.size = s->size, .sealed_ms = now, .head = s->head};
    strcpy(info->sum, s->xxh3);
    return ERR_OK;
}

void draft_unname(const struct dir *d, struct draft *f)
{
    if (f->path[0])
        (void)unlinkat(d->fd, f->path, 0); /* not there any more once it is sealed */
    f->path[0] = '\0';
}

void draft_drop(const struct dir *d, struct draft *f)
{
    draft_unname(d, f);
    if (f->fd >= 0)
        close(f->fd);
    *f = (struct draft){.fd = -1};
}
