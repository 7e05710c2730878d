/* SPDX-License-Identifier: Apache-2.0 */
/* ahead.c - see the header.
 *
 *   loop:  ahead_feed -> arriving    (full)    after_step: replay, on_read
 *                            |                     ^
 *   pool:                    +-> on_pool: reading -+
 *
 * One thread at a time has the intake: the pool from step_start to after_step,
 * the loop else. Blobs are the loop's alone. So what the intake does with them
 * during a step is written down in the log, and done behind it, in order. */
#include "api/ahead.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "api/gateway.h"
#include "common/job.h"

#define PIECE_SLACK (64u << 10) /* what arrives at one time may begin below AHEAD_MOST and end above it */
#define SLICE (256u << 10)      /* the pool looks that often whether the log is long enough */

/* A blob as the intake knows it. */
struct ahead_blob {
    struct ahead   *ahead;
    char            name[JOB_ID_BYTES];
    size_t          head_len;
    struct spilled *spilled; /* NULL until it was begun: behind the step that asked for it */
};

/* One line of the log; the bytes follow. */
struct entry {
    enum { CREATE, APPEND, SET_HEAD } what;
    struct ahead_blob *blob;
    size_t             len;
};

struct ahead {
    struct gateway      *gw;
    const struct intake *intake;
    void                *intake_ctx; /* owned until end or abort */
    struct spill        *spill;
    void (*on_read)(void *ctx);
    void             *ctx;
    struct ahead_blob blobs[INPUT_BLOBS_MAX];
    int               blob_count;
    uint64_t          fed;
    bool              is_on_pool; /* the pool reads all that comes from now on */
    bool              is_reading; /* on the pool */
    bool              is_orphan;  /* freed meanwhile */
    struct buf        arriving;
    struct buf        done;   /* log of the last step */
    struct fault      failed; /* of a step; err is 0 until one did */

    /* The pool's during a step. */
    uv_work_t    work;
    struct buf   reading;
    size_t       read; /* of it */
    struct buf   log;
    struct fault step;
};

/* ---- the blobs as the intake sees them ------------------------------------------ */

static enum err begin_blob(struct ahead_blob *blob, struct fault *why)
{
    return spill_create(blob->ahead->spill, blob->name, -1, blob->head_len, &blob->spilled, why);
}

static void write_down(struct ahead *a, int what, struct ahead_blob *blob, const void *bytes, size_t len)
{
    struct entry entry = {what, blob, len};

    buf_append(&a->log, &entry, sizeof entry);
    buf_append(&a->log, bytes, len);
}

static enum err face_create(void *ctx, size_t head, void **out, const char **name, struct fault *why)
{
    struct ahead      *a = ctx;
    struct ahead_blob *blob = &a->blobs[a->blob_count];
    enum err           e = ERR_OK;

    assert(a->blob_count < INPUT_BLOBS_MAX);
    blob->ahead = a;
    blob->head_len = head;
    job_id_new(blob->name);
    if (a->is_reading)
        write_down(a, CREATE, blob, NULL, 0);
    else
        e = begin_blob(blob, why);
    if (e)
        return e;
    a->blob_count++;
    *out = blob;
    *name = blob->name;
    return ERR_OK;
}

static enum err face_append(void *out, const void *bytes, size_t len, struct fault *why)
{
    struct ahead_blob *blob = out;

    if (!blob->ahead->is_reading)
        return spill_append(blob->spilled, bytes, len, why);
    write_down(blob->ahead, APPEND, blob, bytes, len);
    return ERR_OK;
}

static void face_set_head(void *out, const void *head)
{
    struct ahead_blob *blob = out;

    if (blob->ahead->is_reading)
        write_down(blob->ahead, SET_HEAD, blob, head, blob->head_len);
    else
        spill_set_head(blob->spilled, head);
}

static enum err face_peek(void *ctx, const char *name, void *bytes, size_t len, size_t *got, uint64_t *size,
                          struct fault *why)
{
    return spill_peek(((struct ahead *)ctx)->gw, name, bytes, len, got, size, why);
}

static enum err replay_entry(const struct entry *entry, const char *bytes, struct fault *why)
{
    switch (entry->what) {
    case CREATE:
        return begin_blob(entry->blob, why);
    case APPEND:
        return spill_append(entry->blob->spilled, bytes, entry->len, why);
    case SET_HEAD:
        spill_set_head(entry->blob->spilled, bytes);
    }
    return ERR_OK;
}

static enum err replay(const struct buf *log, struct fault *why)
{
    struct entry entry;
    enum err     e = ERR_OK;

    for (size_t at = 0; at < log->len && !e; at += entry.len) {
        memcpy(&entry, log->data + at, sizeof entry);
        at += sizeof entry;
        e = replay_entry(&entry, log->data + at, why);
    }
    return e;
}

/* ---- steps ------------------------------------------------------------------------ */

/* Text of short numbers has a quarter of their bytes: a step ends when its log is as long as a piece may be. */
static void on_pool(uv_work_t *work)
{
    struct ahead *a = work->data;

    a->step.err = ERR_OK;
    while (!a->step.err && a->read < a->reading.len && a->log.len < AHEAD_MOST) {
        size_t left = a->reading.len - a->read, len = left < SLICE ? left : SLICE;

        a->step.err = a->intake->feed(a->intake_ctx, NULL, false, a->reading.data + a->read, len, &a->step);
        a->read += len;
    }
}

static void after_step(uv_work_t *work, int status);

static void swap(struct buf *a, struct buf *b)
{
    struct buf was = *a;

    *a = *b;
    *b = was;
}

/* Whether there is enough to read; what the last step has left is. */
static bool is_worth_a_step(const struct ahead *a)
{
    return a->read < a->reading.len || a->arriving.len >= AHEAD_LEAST;
}

static void step_start(struct ahead *a)
{
    int rc;

    if (a->read == a->reading.len) {
        swap(&a->arriving, &a->reading);
        a->arriving.len = 0;
        a->read = 0;
    }
    a->is_reading = true;
    a->work.data = a;
    rc = uv_queue_work(a->gw->loop, &a->work, on_pool, after_step);
    assert(!rc);
    (void)rc;
}

static void free_pieces(struct ahead *a)
{
    buf_free(&a->arriving);
    buf_free(&a->reading);
    buf_free(&a->log);
    buf_free(&a->done);
}

static void destroy(struct ahead *a)
{
    if (a->intake_ctx)
        a->intake->abort(a->intake_ctx);
    free_pieces(a);
    free(a);
}

/* The next step first: what the blobs write has time. What one of them refused was asked for before the intake found
 * its own fault, if it did. */
static void after_step(uv_work_t *work, int status)
{
    struct ahead *a = work->data;
    struct fault  found = a->step;

    (void)status; /* nobody cancels */
    a->is_reading = false;
    if (a->is_orphan) {
        destroy(a);
        return;
    }
    swap(&a->log, &a->done);
    a->log.len = 0;
    if (!found.err && !a->failed.err && is_worth_a_step(a))
        step_start(a);
    if (!a->failed.err)
        a->failed.err = replay(&a->done, &a->failed);
    if (!a->failed.err)
        a->failed = found;
    if (!ahead_is_full(a)) /* else there is another step, and no room before it ends */
        a->on_read(a->ctx);
}

/* ---- the way of a body --------------------------------------------------------------- */

struct ahead *ahead_new(struct gateway *gw, const struct intake *intake, struct spill *spill,
                        void (*on_read)(void *ctx), void *ctx)
{
    struct ahead           *a = xcalloc(1, sizeof *a);
    const struct blobs_face face = {a, face_create, face_append, face_set_head, face_peek};

    a->gw = gw;
    a->intake = intake;
    a->spill = spill;
    a->on_read = on_read;
    a->ctx = ctx;
    a->intake_ctx = intake->begin(&gw->limits, &face);
    return a;
}

/* From here on the pool reads, if it has a place for one more body. */
static void enter_pool(struct ahead *a)
{
    if (a->gw->aheads == AHEADS_MAX)
        return;
    a->gw->aheads++;
    a->is_on_pool = true;
    buf_reserve(&a->arriving, AHEAD_MOST + PIECE_SLACK);
    buf_reserve(&a->reading, AHEAD_MOST + PIECE_SLACK);
}

static enum err tell(const struct ahead *a, struct fault *why)
{
    if (a->failed.err)
        *why = a->failed;
    return a->failed.err;
}

enum err ahead_feed(struct ahead *a, const char *part, bool is_first, const char *bytes, size_t len, struct fault *why)
{
    if (a->failed.err)
        return tell(a, why);
    a->fed += len;
    if (!a->is_on_pool && !part && a->fed > AHEAD_FROM)
        enter_pool(a);
    if (!a->is_on_pool)
        return a->intake->feed(a->intake_ctx, part, is_first, bytes, len, why);
    buf_append(&a->arriving, bytes, len);
    if (!a->is_reading && is_worth_a_step(a))
        step_start(a);
    return ERR_OK;
}

bool ahead_is_busy(const struct ahead *a) { return a->is_reading; }

bool ahead_is_full(const struct ahead *a) { return a->is_reading && a->arriving.len >= AHEAD_MOST; }

enum err ahead_end(struct ahead *a, struct args *args, struct taken *out, struct fault *why)
{
    void    *intake_ctx = a->intake_ctx;
    enum err e = tell(a, why);

    assert(!a->is_reading && (e || a->read == a->reading.len));
    if (!e && a->arriving.len)
        e = a->intake->feed(intake_ctx, NULL, false, a->arriving.data, a->arriving.len, why);
    free_pieces(a);
    if (e)
        return e;
    a->intake_ctx = NULL;
    return a->intake->end(intake_ctx, args, out, why);
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    a->gw->aheads -= a->is_on_pool;
    a->is_orphan = true;
    if (!a->is_reading)
        destroy(a);
}
