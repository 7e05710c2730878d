/* SPDX-License-Identifier: Apache-2.0 */
/* spill.c - see the header. */
#include "api/spill.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/gateway.h"
#include "common/job.h"
#include "common/log.h"

struct spilled {
    struct spill       *spill;
    struct spilled     *next;
    char                name[BLOB_NAME_BYTES];
    struct blob_writer *writer; /* owned until it is sealed */
    char               *head;   /* owned: the bytes for the place in front, NULL without */
    size_t              head_len;
    bool                is_sealed;
    struct blob_info    info;
};

struct spill {
    struct gateway *gw;
    struct spill   *next, *before; /* of the gateway's */
    struct spilled *first, **end;
    size_t          count, sealing;
    enum err        err;
    struct fault    why; /* of the first seal that failed */
    spill_fn       *done;
    void           *ctx;
};

struct spill *spill_new(struct gateway *gw)
{
    struct spill *s = xcalloc(1, sizeof *s);

    s->gw = gw;
    s->end = &s->first;
    s->next = gw->spills;
    if (s->next)
        s->next->before = s;
    gw->spills = s;
    return s;
}

/* ---- writing --------------------------------------------------------------- */

static enum err check_room(const struct spill *s, struct fault *why)
{
    if (!s->gw->blobs)
        return fault_set(why, ERR_TOO_LARGE,
                         "the input is larger than %lld bytes, and this gateway keeps none of that size: it has no "
                         "MILLRACE_BLOB_DIR",
                         (long long)s->gw->settings.inline_max);
    if (s->gw->writers >= SPILL_WRITERS_MAX)
        return fault_set(why, ERR_BUSY, "%d large inputs are being received; that is as many as this gateway takes",
                         s->gw->writers);
    return ERR_OK;
}

enum err spill_create(struct spill *s, const char *name, int64_t size, size_t head, struct spilled **out,
                      struct fault *why)
{
    struct spilled *b;
    enum err        e = check_room(s, why);

    if (e)
        return e;
    b = xcalloc(1, sizeof *b);
    if (name)
        memcpy(b->name, name, strlen(name) + 1); /* shorter than BLOB_NAME_BYTES, as every name */
    else
        job_id_new(b->name);
    e = blob_create(s->gw->blobs, b->name, size, head, &b->writer, why);
    if (e) {
        free(b);
        return e;
    }
    b->spill = s;
    b->head_len = head;
    b->head = head ? xcalloc(1, head) : NULL;
    *s->end = b;
    s->end = &b->next;
    s->count++;
    s->gw->writers++;
    *out = b;
    return ERR_OK;
}

enum err spill_append(struct spilled *b, const void *bytes, size_t len, struct fault *why)
{
    if (!b->writer)
        return fault_set(why, ERR_BUSY, "this gateway is stopping");
    return blob_append(b->writer, bytes, len, why);
}

const char *spilled_name(const struct spilled *b) { return b->name; }

size_t spill_count(const struct spill *s) { return s->count; }

const struct blob_info *spill_info(const struct spill *s, size_t i, const char **name)
{
    const struct spilled *b = s->first;

    while (i--)
        b = b->next;
    *name = b->name;
    return &b->info;
}

void spill_set_head(struct spilled *b, const void *head) { memcpy(b->head, head, b->head_len); }

/* A blob that is named as input begins its time anew: it must not be swept before the job is on record. */
enum err spill_peek(struct gateway *gw, const char *name, void *bytes, size_t len, size_t *got, uint64_t *size,
                    struct fault *why)
{
    struct blob_info info;
    ssize_t          part = 1;
    int              fd;
    enum err         e;

    if (!gw->blobs)
        return fault_set(why, ERR_NO_BLOB, "this gateway keeps no blobs: it has no MILLRACE_BLOB_DIR");
    e = blob_open(gw->blobs, name, &fd, &info, why);
    if (e)
        return e;
    for (*got = 0; *got < len && part > 0; *got += part > 0 ? (size_t)part : 0)
        part = pread(fd, (char *)bytes + *got, len - *got, (off_t)*got);
    if (part < 0)
        e = fault_set(why, ERR_IO, "the blob %s cannot be read", name);
    (void)futimens(fd, NULL);
    *size = (uint64_t)info.size;
    close(fd);
    return e;
}

/* ---- the end -------------------------------------------------------------------- */

static void on_sealed(void *ctx, enum err e, const struct fault *why, const struct blob_info *info)
{
    struct spilled *b = ctx;
    struct spill   *s = b->spill;

    s->gw->writers--;
    b->is_sealed = !e;
    if (!e) {
        b->info = *info;
    } else if (!s->err) {
        s->err = e;
        s->why = *why;
    }
    if (--s->sealing)
        return;
    if (s->err)
        spill_drop(s);
    s->done(s->ctx, s->err, s->err ? &s->why : NULL);
}

void spill_seal(struct spill *s, const char *wanted_sha256, spill_fn *done, void *ctx)
{
    s->done = done;
    s->ctx = ctx;
    s->sealing = s->count;
    for (struct spilled *b = s->first; b; b = b->next) {
        struct blob_writer *w = b->writer;

        b->writer = NULL;
        blob_seal(w, b->head, NULL, wanted_sha256, on_sealed, b);
    }
}

void spill_keep(struct spill *s)
{
    for (struct spilled *b = s->first; b; b = b->next)
        b->is_sealed = false; /* whatever becomes of it is no longer for us to say */
}

static void abort_writer(struct spilled *b)
{
    if (!b->writer)
        return;
    blob_abort(b->writer);
    b->writer = NULL;
    b->spill->gw->writers--;
}

void spill_drop(struct spill *s)
{
    struct spilled *b;
    struct fault    why;

    while ((b = s->first)) {
        s->first = b->next;
        abort_writer(b);
        if (b->is_sealed && blob_delete(s->gw->blobs, b->name, &why))
            log_event(EVENT_BLOB_LEFT, LOG_TEXT("blob", b->name),
                      LOG_TEXT("reason", why.detail)); /* a sweep will find it */
        free(b->head);
        free(b);
    }
    s->end = &s->first;
    s->count = 0;
}

void spill_free(struct spill *s)
{
    if (!s)
        return;
    spill_drop(s);
    if (s->next)
        s->next->before = s->before;
    *(s->before ? &s->before->next : &s->gw->spills) = s->next;
    free(s);
}

void spills_stop(struct gateway *gw)
{
    for (struct spill *s = gw->spills; s; s = s->next)
        for (struct spilled *b = s->first; b; b = b->next)
            abort_writer(b);
}
