/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - one blob while it is written.
 *
 * Appends gather in a buffer; a full one is written on the pool while the next
 * one fills, and handed to the disk while more is coming, so that the sync of
 * the seal finds little left to do. Where the disk is slower than what comes,
 * the loop writes itself: that holds the sender back. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/blob/blob_impl.h"
#include "common/clock.h"

#define BUFFER_BYTES (256 * 1024)
#define PIECES_MAX 4                       /* buffers of one writer that may be under way */
#define WRITE_BACK_BYTES (4 * 1024 * 1024) /* handed to the disk at one time */

struct blob_writer {
    struct blob_store  *store;
    struct blob_writer *next, *prev;
    struct draft        draft;
    char                name[BLOB_NAME_BYTES];
    int64_t             head, size; /* size: head and all that was appended */
    int64_t             taken;      /* of the quota */
    bool                has_room;   /* the file was made as long as create said */
    struct checksum    *sum;
    char               *buffer; /* NULL until something is appended, and while all of it is under way */
    size_t              buffered;
    int                 pieces; /* under way on the pool: they use draft, and what ends the writer waits for them */
    enum err            failed; /* of the first piece that could not be written, and why */
    struct fault        why;
    struct seal        *seal; /* to begin behind the last piece */
    bool                is_aborted;
    int64_t             handed_over; /* bytes in front that the disk was given */
    struct write_back  *write_back;  /* under way, or NULL */
};

/* ---- write-back --------------------------------------------------------------- */

struct write_back {
    struct pool_job     job;
    struct blob_writer *writer; /* NULL: it has ended meanwhile */
    int                 fd;     /* own: the writer's may be closed first */
    int64_t             from, len;
};

static void write_back_run(struct pool_job *job)
{
    struct write_back *wb = (struct write_back *)job;

    /* A wish: what goes wrong with the bytes is told by the sync of the seal. */
    (void)sync_file_range(wb->fd, wb->from, wb->len, SYNC_FILE_RANGE_WRITE);
    close(wb->fd); /* here: it may be the last of a large file that was dropped */
}

static void write_back_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    struct write_back *wb = (struct write_back *)job;

    (void)is_closing;
    if (wb->writer)
        wb->writer->write_back = NULL;
    if (!has_begun)
        close(wb->fd);
}

/* On the pool, for it waits where the disk's queue is full. One at a time: a slow disk gets longer ranges.
 * len 0: up to the end. */
static void write_back_start(struct blob_writer *w, int64_t from, int64_t len)
{
    int                fd = fcntl(w->draft.fd, F_DUPFD_CLOEXEC, 0);
    struct write_back *wb;

    if (fd < 0)
        return;
    wb = xcalloc(1, sizeof *wb);
    wb->writer = w;
    wb->fd = fd;
    wb->from = from;
    wb->len = len;
    w->write_back = wb;
    pool_start(w->store, &wb->job, write_back_run, write_back_end);
}

static void hand_over(struct blob_writer *w)
{
    int64_t written = w->size - (int64_t)w->buffered - (int64_t)w->pieces * BUFFER_BYTES;

    if (w->write_back || written - w->handed_over < WRITE_BACK_BYTES)
        return;
    write_back_start(w, w->handed_over, written - w->handed_over);
    w->handed_over = written;
}

/* ---- create, append ------------------------------------------------------------- */

static void link_writer(struct blob_writer *w)
{
    w->next = w->store->writers;
    if (w->next)
        w->next->prev = w;
    w->store->writers = w;
}

/* From here on the writer is no longer the caller's. */
static void unlink_writer(struct blob_writer *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        w->store->writers = w->next;
    if (w->next)
        w->next->prev = w->prev;
    if (w->write_back)
        w->write_back->writer = NULL;
    w->next = w->prev = NULL;
    w->write_back = NULL;
}

static void writer_free(struct blob_writer *w)
{
    w->store->writing_bytes -= w->taken;
    discard(w->store, &w->draft);
    checksum_free(w->sum);
    free(w->buffer);
    free(w);
}

/* Results lie beside the copies of a cache until they are at the gateway. The walks are the loop's: a host whose disk
 * is full has little else to do. */
static enum err take_room(struct blob_store *b, const struct draft *f, int64_t size, struct fault *why)
{
    int64_t  idle_ms = CACHE_IDLE_MS;
    enum err e = draft_room(f, size, why);

    while (e == ERR_DISK_FULL && b->remote && cache_give_up(&b->dir, &idle_ms, &b->is_closing))
        e = draft_room(f, size, why);
    return e;
}

enum err blob_create(struct blob_store *b, const char *name, int64_t size, size_t head, struct blob_writer **out,
                     struct fault *why)
{
    int64_t             wanted = size > (int64_t)head ? size : (int64_t)head;
    struct blob_writer *w;
    struct draft        draft;
    enum err            e;

    if (!blob_name_is_valid(name))
        return fault_set(why, ERR_PARAM, "a blob is named by a UUID, and a result by its job, member and fence");
    e = quota_check(b, wanted, why);
    if (e)
        return e;
    e = draft_open(&b->dir, name, &draft, why);
    if (e)
        return e;
    if (size > 0)
        e = take_room(b, &draft, wanted, why);
    if (e) {
        discard(b, &draft);
        return e;
    }
    w = xcalloc(1, sizeof *w);
    w->store = b;
    w->draft = draft;
    strcpy(w->name, name);
    w->head = w->size = (int64_t)head;
    w->handed_over = (int64_t)head;
    w->taken = wanted;
    w->has_room = size > 0;
    w->sum = checksum_new();
    b->writing_bytes += wanted;
    link_writer(w);
    tender_wake(b);
    *out = w;
    return ERR_OK;
}

/* ---- full buffers -------------------------------------------------------------- */

struct piece {
    struct pool_job     job;
    struct blob_writer *writer;
    char               *bytes; /* owned, BUFFER_BYTES of them */
    int64_t             offset;
    struct fault        why;
    enum err            e;
};

static void seal_start(struct blob_writer *w);

static void piece_run(struct pool_job *job)
{
    struct piece *p = (struct piece *)job;

    p->e = draft_write(&p->writer->draft, p->bytes, BUFFER_BYTES, p->offset, &p->why);
}

/* One that a closing store has cancelled is missing in a file that nobody will seal. */
static void piece_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    struct piece       *p = (struct piece *)job;
    struct blob_writer *w = p->writer;

    (void)is_closing, (void)has_begun;
    if (p->e && !w->failed) {
        w->failed = p->e;
        w->why = p->why;
    }
    if (w->buffer)
        free(p->bytes);
    else
        w->buffer = p->bytes;
    if (--w->pieces)
        return;
    if (w->is_aborted)
        writer_free(w);
    else if (w->seal)
        seal_start(w);
}

/* What has gathered goes to the file: by the pool, or by us where that has enough to do. */
static enum err write_buffer(struct blob_writer *w, struct fault *why)
{
    int64_t       at = w->size - (int64_t)w->buffered;
    struct piece *p;
    enum err      e;

    if (w->buffered < BUFFER_BYTES || w->pieces == PIECES_MAX) {
        e = draft_write(&w->draft, w->buffer, w->buffered, at, why);
        w->buffered = 0;
        return e;
    }
    p = xcalloc(1, sizeof *p);
    p->writer = w;
    p->bytes = w->buffer;
    p->offset = at;
    w->buffer = NULL;
    w->buffered = 0;
    w->pieces++;
    pool_start(w->store, &p->job, piece_run, piece_end);
    return ERR_OK;
}

static enum err take_quota(struct blob_writer *w, size_t len, struct fault *why)
{
    int64_t  more = w->size + (int64_t)len - w->taken;
    enum err e = more > 0 ? quota_check(w->store, more, why) : ERR_OK;

    if (!e && more > 0) {
        w->taken += more;
        w->store->writing_bytes += more;
    }
    return e;
}

enum err blob_append(struct blob_writer *w, const void *bytes, size_t len, struct fault *why)
{
    const char *at = bytes;
    enum err    e = w->failed;

    if (e)
        *why = w->why;
    else
        e = take_quota(w, len, why);
    if (!e)
        checksum_add(w->sum, bytes, len);
    while (!e && len) {
        size_t part = BUFFER_BYTES - w->buffered;

        if (part > len)
            part = len;
        if (!w->buffer)
            w->buffer = xmalloc(BUFFER_BYTES);
        memcpy(w->buffer + w->buffered, at, part);
        w->buffered += part;
        w->size += (int64_t)part;
        at += part;
        len -= part;
        if (w->buffered == BUFFER_BYTES)
            e = write_buffer(w, why);
    }
    if (!e)
        hand_over(w);
    return e;
}

const char *blob_writer_name(const struct blob_writer *w) { return w->name; }
int64_t     blob_writer_size(const struct blob_writer *w) { return w->size; }
int         blob_writer_fd(const struct blob_writer *w) { return w->draft.fd; }

void writers_tend(struct blob_store *b, bool is_due)
{
    for (struct blob_writer *w = b->writers; w; w = w->next) {
        bool is_lent = w->size == w->head; /* somebody may write through the descriptor */

        if (is_lent && !w->write_back)
            write_back_start(w, 0, 0);
        if (is_due)
            (void)futimens(w->draft.fd, NULL);
    }
}

/* ---- end --------------------------------------------------------------------------- */

struct seal {
    struct pool_job     job;
    struct blob_writer *writer;
    char               *head;     /* NULL: none */
    bool                is_given; /* the bytes came through the descriptor; sum.xxh3 is what their writer says */
    bool                is_complete;
    bool                is_away; /* the gateway is: it is worth another try, and the bytes are kept for it */
    bool                has_wanted;
    char                wanted[SHA256_BYTES];
    struct sum          sum;
    blob_done_fn       *done;
    void               *ctx;
    struct blob_info    info;
    struct fault        why;
    enum err            e;
};

/* All bytes in the file, and what is known of them in s->sum. */
static enum err complete(struct seal *s)
{
    struct blob_writer *w = s->writer;
    struct stat         st;
    enum err            e = w->failed;

    if (e)
        s->why = w->why;
    else if (w->buffered)
        e = draft_write(&w->draft, w->buffer, w->buffered, w->size - (int64_t)w->buffered, &s->why);
    if (!e && s->head)
        e = draft_write(&w->draft, s->head, (size_t)w->head, 0, &s->why);
    if (!e && !s->is_given && w->has_room && ftruncate(w->draft.fd, w->size))
        e = io_fault(&s->why, errno, "setting the size", w->name);
    if (!e && fstat(w->draft.fd, &st))
        e = io_fault(&s->why, errno, "the size", w->name);
    if (e)
        return e;
    if (s->is_given && strspn(s->sum.xxh3, "0123456789abcdef") != CHECKSUM_BYTES - 1)
        return fault_set(&s->why, ERR_DIGEST, "who wrote blob %s gave no checksum of it", w->name);
    if (!s->is_given) {
        if (s->head)
            checksum_add(w->sum, s->head, (size_t)w->head);
        checksum_hex(w->sum, s->sum.xxh3);
    }
    s->sum.size = st.st_size;
    s->sum.head = w->head;
    return ERR_OK;
}

static enum err verify(struct seal *s)
{
    struct blob_writer *w = s->writer;
    enum err            e = draft_sha256(&w->draft, s->sum.size, &w->store->is_closing, s->sum.sha256, &s->why);

    if (!e && strcasecmp(s->sum.sha256, s->wanted) != 0)
        e = fault_set(&s->why, ERR_DIGEST, "the SHA-256 of the %lld bytes is %s, not %s", (long long)s->sum.size,
                      s->sum.sha256, s->wanted);
    return e;
}

static void seal_run(struct pool_job *job)
{
    struct seal        *s = (struct seal *)job;
    struct blob_writer *w = s->writer;
    struct blob_store  *b = w->store;

    s->is_away = false;
    s->e = s->is_complete ? ERR_OK : complete(s);
    if (!s->e && !s->is_complete && s->has_wanted)
        s->e = verify(s);
    s->is_complete = !s->e;
    if (!s->e && !b->remote)
        s->e = draft_seal(&b->dir, &w->draft, w->name, &s->sum, &s->info, &s->why);
    if (!s->e && b->remote) {
        s->e = remote_put(b->remote, w->name, w->draft.fd, &s->sum, &b->is_closing, &s->is_away, &s->why);
        s->info = (struct blob_info){.size = s->sum.size, .sealed_ms = wall_ms(), .head = s->sum.head};
        strcpy(s->info.sum, s->sum.xxh3);
    }
    if (!s->is_away)
        draft_drop(&b->dir, &w->draft);
}

static void seal_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    struct seal       *s = (struct seal *)job;
    struct blob_store *b = s->writer->store;
    bool               is_here = has_begun && !s->e && !b->remote;
    int64_t            size;

    if (!is_closing && s->is_away && pool_repeat(job, &s->why))
        return;
    if (is_here && is_closing && dir_remove(&b->dir, s->writer->name, &size, NULL) == ERR_OK)
        is_here = false; /* as the answer will say */
    if (is_here)
        usage_add(b, s->info.size);
    if (is_closing)
        s->e = closing_fault(&s->why);
    writer_free(s->writer);
    s->done(s->ctx, s->e, s->e ? &s->why : NULL, s->e ? NULL : &s->info);
    free(s->head);
}

/* A file that grew through the descriptor takes its part of the quota now. */
static void take_grown(struct blob_writer *w)
{
    struct stat st;

    if (fstat(w->draft.fd, &st))
        w->failed = io_fault(&w->why, errno, "the size", w->name);
    else if (st.st_size > w->taken)
        w->failed = quota_check(w->store, st.st_size - w->taken, &w->why);
    if (w->failed || st.st_size <= w->taken)
        return;
    w->store->writing_bytes += st.st_size - w->taken;
    w->taken = st.st_size;
}

static void seal_start(struct blob_writer *w) { pool_start_long(w->store, &w->seal->job, seal_run, seal_end); }

void blob_seal(struct blob_writer *w, const void *head, const char *sum, const char *wanted_sha256, blob_done_fn *done,
               void *ctx)
{
    struct seal *s = xcalloc(1, sizeof *s);

    assert(sum || !head == (w->head == 0));
    assert(!wanted_sha256 || w->head == 0);
    unlink_writer(w);
    if (sum)
        take_grown(w);
    s->writer = w;
    s->head = head ? xmemdup(head, (size_t)w->head) : NULL;
    s->is_given = sum != NULL;
    if (sum)
        snprintf(s->sum.xxh3, sizeof s->sum.xxh3, "%s", sum);
    s->has_wanted = wanted_sha256 != NULL;
    if (wanted_sha256)
        snprintf(s->wanted, sizeof s->wanted, "%s", wanted_sha256);
    s->done = done;
    s->ctx = ctx;
    w->seal = s;
    if (!w->pieces)
        seal_start(w);
}

void blob_abort(struct blob_writer *w)
{
    if (!w)
        return;
    unlink_writer(w);
    w->is_aborted = true;
    if (!w->pieces)
        writer_free(w);
}
