/* SPDX-License-Identifier: Apache-2.0 */
/* pieces.c - see the header. */
#include "api/pieces.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/blob/blob.h"
#include "common/buf.h"

#define AHEAD_BYTES (2 << 20) /* asked of the disk beyond what is read, so that the loop seldom waits for it */

struct file {
    int64_t  piece;
    int      fd;
    uint64_t size;
    uint64_t last;  /* the reading that used it last */
    uint64_t end;   /* of that reading: a file read in order is asked for ahead */
    uint64_t ahead; /* asked for up to here */
};

struct pieces {
    struct result_face face;
    struct blob_store *blobs;
    int               *extra;
    uint64_t           readings;
    int                open_count;
    struct file        files[PIECES_OPEN_MAX];
    char              *layout; /* owned; "" for one piece */
    enum err           err;    /* of the last blob that was opened */
    struct fault       why;
    char               name[BLOB_NAME_BYTES]; /* of the blob, or the id of the group's parent */
    int64_t            fences[];
};

/* ---- descriptors ------------------------------------------------------------------- */

static void close_file(struct pieces *p, struct file *file)
{
    close(file->fd);
    *file = p->files[--p->open_count];
    if (p->open_count)
        --*p->extra;
}

static struct file *find_file(struct pieces *p, int64_t piece)
{
    for (int i = 0; i < p->open_count; i++)
        if (p->files[i].piece == piece)
            return &p->files[i];
    return NULL;
}

/* Makes room for one more, at the cost of the one that was read longest ago. */
static void make_room(struct pieces *p)
{
    struct file *oldest = p->files;

    if (!p->open_count || (p->open_count < PIECES_OPEN_MAX && *p->extra < PIECES_EXTRA_MAX))
        return;
    for (int i = 1; i < p->open_count; i++)
        if (p->files[i].last < oldest->last)
            oldest = &p->files[i];
    close_file(p, oldest);
}

/* NULL when the blob cannot be had. */
static struct file *open_file(struct pieces *p, int64_t piece)
{
    struct file     *file = find_file(p, piece);
    char             name[BLOB_NAME_BYTES];
    struct blob_info info;
    int              fd;

    if (file)
        return file;
    if (*p->layout)
        blob_name_result(name, p->name, piece, p->fences[piece]);
    else
        memcpy(name, p->name, sizeof name);
    make_room(p);
    p->err = blob_open(p->blobs, name, &fd, &info, &p->why);
    if (p->err)
        return NULL;
    if (p->open_count)
        ++*p->extra;
    file = &p->files[p->open_count++];
    *file = (struct file){.piece = piece, .fd = fd, .size = (uint64_t)info.size, .last = ++p->readings};
    return file;
}

/* ---- the face ------------------------------------------------------------------------- */

static uint64_t piece_size(void *ctx, int64_t piece)
{
    const struct file *file = open_file(ctx, piece);

    return file ? file->size : 0;
}

/* Tells the disk what comes next where a file is read in order. */
static void ask_ahead(struct file *file, uint64_t offset, uint64_t end)
{
    if (offset == file->end && end + AHEAD_BYTES / 2 > file->ahead && file->ahead < file->size) {
        file->ahead = file->ahead > end ? file->ahead : end;
        posix_fadvise(file->fd, (off_t)file->ahead, AHEAD_BYTES, POSIX_FADV_WILLNEED);
        file->ahead += AHEAD_BYTES;
    } else if (offset != file->end) {
        file->ahead = 0;
    }
    file->end = end;
}

static bool read_piece(void *ctx, int64_t piece, uint64_t offset, void *out, size_t len)
{
    struct pieces *p = ctx;
    struct file   *file = open_file(p, piece);
    char          *to = out;

    if (!file || offset > file->size || len > file->size - offset)
        return false;
    file->last = ++p->readings;
    ask_ahead(file, offset, offset + len);
    while (len) {
        ssize_t got = pread(file->fd, to, len, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        offset += (uint64_t)got;
        len -= (size_t)got;
    }
    return true;
}

const struct result_face *pieces_face(const struct pieces *p) { return &p->face; }

enum err pieces_fault(const struct pieces *p, struct fault *why)
{
    if (p->err)
        *why = p->why;
    return p->err;
}

int pieces_detach(struct pieces *p, uint64_t *size)
{
    const struct file *file = open_file(p, 0);

    if (!file)
        return -1;
    p->open_count = 0;
    *size = file->size;
    return file->fd;
}

/* ---- life ----------------------------------------------------------------------------- */

static struct pieces *pieces_new(struct blob_store *blobs, int *extra, const char *name, const char *layout,
                                 size_t count)
{
    struct pieces *p = xcalloc(1, sizeof *p + count * sizeof *p->fences);

    p->layout = xstrdup(layout);
    p->face = (struct result_face){p, p->layout, (int64_t)count, piece_size, read_piece};
    p->blobs = blobs;
    p->extra = extra;
    snprintf(p->name, sizeof p->name, "%s", name);
    return p;
}

struct pieces *pieces_new_single(struct blob_store *blobs, int *extra, const char *blob)
{
    return pieces_new(blobs, extra, blob, "", 1);
}

struct pieces *pieces_new_group(struct blob_store *blobs, int *extra, const char *parent, const char *layout,
                                const int64_t *fences, size_t count)
{
    struct pieces *p = pieces_new(blobs, extra, parent, layout, count);

    memcpy(p->fences, fences, count * sizeof *fences);
    return p;
}

void pieces_free(struct pieces *p)
{
    if (!p)
        return;
    while (p->open_count)
        close_file(p, p->files);
    free(p->layout);
    free(p);
}
