/* SPDX-License-Identifier: Apache-2.0 */
/* sweep.c - one walk through the whole directory: how much there is, what is
 * old, and what crashes have left behind; and what a cache does without when
 * its disk is full. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/blob/blob_impl.h"
#include "common/clock.h"

#define KEPT_FREE_MAX (UINT64_C(4) << 30) /* for results, and for others; of a smaller disk a tenth */

static int64_t modified_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

static DIR *open_folder(const struct dir *d, const char *folder)
{
    int  fd = openat(d->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd < 0 ? NULL : fdopendir(fd);

    if (!entries && fd >= 0)
        close(fd);
    return entries;
}

/* A sealed blob: counted, and named or removed when it is old. Whether the limit allowed that. */
static bool visit_blob(const struct dir *d, struct walk *w, const char *name, const struct stat *st)
{
    bool    is_old = modified_ms(st) < w->older_than_ms, has_place = w->names.count < w->limit;
    int64_t size;

    if (is_old && w->is_removing && dir_remove(d, name, &size, NULL) == ERR_OK)
        return true;
    w->bytes += st->st_size;
    w->count++;
    if (is_old && !w->is_removing && has_place)
        names_add(&w->names, name);
    return !is_old || w->is_removing || has_place;
}

/* NAME.sum of a blob that is not there: it went, or never came, in a crash. */
static void visit_sum(int folder, const char *file, const struct stat *st, int64_t now)
{
    size_t      len = strlen(file) - strlen(".sum");
    char        name[BLOB_NAME_BYTES];
    struct stat blob;

    if (len >= sizeof name || now - modified_ms(st) < STALE_MS)
        return;
    memcpy(name, file, len);
    name[len] = '\0';
    if (fstatat(folder, name, &blob, AT_SYMLINK_NOFOLLOW) && errno == ENOENT)
        (void)unlinkat(folder, file, 0);
}

/* Whether all that was old in it found its place within the limit. */
static enum err visit_folder(const struct dir *d, struct walk *w, const char *folder, int64_t now, bool *is_done)
{
    DIR           *entries = open_folder(d, folder);
    struct dirent *entry;
    struct stat    st;
    int            code;

    *is_done = true;
    if (!entries)
        return ERR_IO;
    while ((errno = 0, entry = readdir(entries))) {
        const char *dot = strrchr(entry->d_name, '.');

        if (fstatat(dirfd(entries), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        if (blob_name_is_valid(entry->d_name))
            *is_done &= visit_blob(d, w, entry->d_name, &st);
        else if (dot && !strcmp(dot, ".sum"))
            visit_sum(dirfd(entries), entry->d_name, &st, now);
    }
    code = errno;
    closedir(entries);
    return code ? ERR_IO : ERR_OK;
}

static enum err visit_drafts(const struct dir *d, int64_t now)
{
    DIR           *entries = open_folder(d, "tmp");
    struct dirent *entry;
    struct stat    st;

    if (!entries)
        return ERR_IO;
    while ((entry = readdir(entries)))
        if (!fstatat(dirfd(entries), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) &&
            now - modified_ms(&st) > STALE_MS)
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
    return ERR_OK;
}

enum err dir_walk(const struct dir *d, struct walk *w, const atomic_bool *is_closing)
{
    int64_t  now = wall_ms();
    enum err e = visit_drafts(d, now);
    int      next = w->from;
    bool     has_met_limit = false;

    for (int i = 0; i < DIR_COUNT && !atomic_load(is_closing); i++) {
        int  number = (w->from + i) % DIR_COUNT;
        char folder[4];
        bool is_done;

        snprintf(folder, sizeof folder, "%02x", (unsigned)number);
        if (visit_folder(d, w, folder, now, &is_done))
            e = ERR_IO;
        if (!is_done && !has_met_limit) {
            has_met_limit = true;
            next = (number + 1) % DIR_COUNT; /* what stays is not the same each time, even if the caller keeps all */
        }
    }
    w->from = next;
    return atomic_load(is_closing) ? ERR_IO : e;
}

/* ---- caches ------------------------------------------------------------------- */

bool cache_give_up(const struct dir *d, int64_t *idle_ms, const atomic_bool *is_closing)
{
    struct walk w = {.is_removing = true};

    if (*idle_ms == 0 || atomic_load(is_closing))
        return false;
    *idle_ms = *idle_ms < 2000 ? 0 : *idle_ms / 2;
    w.older_than_ms = *idle_ms ? wall_ms() - *idle_ms : INT64_MAX;
    if (dir_walk(d, &w, is_closing) && atomic_load(is_closing))
        return false;
    return true; /* what could not be read could not be removed */
}

static bool is_tight(const struct dir *d)
{
    struct statvfs st;
    uint64_t       wanted;

    if (fstatvfs(d->fd, &st))
        return false;
    wanted = (uint64_t)st.f_blocks * st.f_frsize / 10;
    if (wanted > KEPT_FREE_MAX)
        wanted = KEPT_FREE_MAX;
    return (uint64_t)st.f_bavail * st.f_frsize < wanted;
}

void cache_leave_room(const struct dir *d, const atomic_bool *is_closing)
{
    int64_t idle_ms = CACHE_IDLE_MS;

    while (is_tight(d) && cache_give_up(d, &idle_ms, is_closing))
        ;
}
