/* SPDX-License-Identifier: Apache-2.0 */
/* result.c - GET /jobs/ID/result[?wait=S][&rows=A:B][&cols=C:D]: the result in
 * the form that Accept asks for, whole, a window of it, a range of its bytes.
 *
 * A result in the record is made at once and has a length. One in blobs is
 * made while it is sent, or sent from its file as it lies.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "api/gateway.h"
#include "api/pieces.h"
#include "api/query.h"
#include "api/range.h"
#include "common/log.h"

/* ---- Accept ----------------------------------------------------------------- */

/* How well one range of an Accept header fits type: 3 exactly, 2 by its major type, 1 by "any", 0 not. */
static int range_fits(const char *range, size_t len, const char *type)
{
    size_t major = strcspn(type, "/") + 1;

    if (len == strlen(type) && !strncasecmp(range, type, len))
        return 3;
    if (len == major + 1 && !strncasecmp(range, type, major) && range[major] == '*')
        return 2;
    return len == 3 && !memcmp(range, "*/*", 3);
}

/* The q parameter of one range of an Accept header, 1 without one. */
static double range_quality(const char *item, size_t len)
{
    const char *end = item + len;

    while ((item = memchr(item, ';', (size_t)(end - item)))) {
        item += 1 + strspn(item + 1, " \t");
        if (end - item > 2 && (*item == 'q' || *item == 'Q') && item[1] == '=')
            return strtod(item + 2, NULL);
    }
    return 1;
}

/* The quality that the Accept header gives to type: that of its most specific range. */
static double accept_quality(const char *accept, const char *type)
{
    int    best = 0;
    double quality = 0;

    while (*accept) {
        size_t      item = strcspn(accept, ",");
        const char *start = accept + strspn(accept, " \t");
        int         fit = range_fits(start, strcspn(start, ",; \t"), type);

        if (fit > best) {
            best = fit;
            quality = range_quality(accept, item);
        }
        accept += item + (accept[item] == ',');
    }
    return quality;
}

/* The content type of a form of this result. */
static const char *type_of(const struct rendering *form, const struct record *record)
{
    return *form->content_type ? form->content_type : record->content_type;
}

static const struct rendering *choose_rendering(const struct kind_spec *kind, const struct record *record,
                                                const char *accept)
{
    const struct rendering *best = NULL;
    double                  best_quality = 0;

    if (!accept || !*accept)
        return kind->renderings;
    for (const struct rendering *f = kind->renderings; f->content_type; f++) {
        double quality = accept_quality(accept, type_of(f, record));

        if (quality > best_quality) {
            best = f;
            best_quality = quality;
        }
    }
    return best;
}

/* ---- what is asked for ----------------------------------------------------------- */

struct wanted {
    const struct rendering *form;
    const char             *type;        /* of the form; borrowed from it or from the record */
    const char             *rows, *cols; /* the window; NULL: all */
    char                    etag[JOB_ID_BYTES + 32];
};

/* ---- results in the record ------------------------------------------------------ */

static uint64_t data_size(void *ctx, int64_t piece)
{
    (void)piece;
    return ((const struct store_reply *)ctx)->data_len;
}

static bool read_data(void *ctx, int64_t piece, uint64_t offset, void *out, size_t len)
{
    const struct store_reply *reply = ctx;

    (void)piece;
    memcpy(out, (const char *)reply->data + offset, len);
    return true;
}

/* All of a small form; guess: bytes that it may have. */
static enum err render_all(const struct rendering *form, void *stream, size_t guess, struct buf *out, struct fault *why)
{
    int64_t got;

    buf_reserve(out, guess);
    do {
        char *to = buf_reserve(out, 256);

        got = form->read(stream, out->len, to, out->cap - out->len, why);
        out->len += got > 0 ? (size_t)got : 0;
    } while (got > 0);
    return got < 0 ? why->err : ERR_OK;
}

/* Made at once, however it is asked for: it is small. */
static void answer_inline(struct request *r, const struct wanted *w, const struct store_reply *reply)
{
    const struct result_face face = {(void *)reply, "", 1, data_size, read_data};
    struct buf               body = {0};
    struct range             range;
    void                    *stream;
    uint64_t                 size;
    struct fault             why;
    enum err                 e = w->form->open(&face, w->rows, w->cols, &stream, &size, &why);

    if (!e) {
        e = render_all(w->form, stream, size == RENDER_SIZE_UNKNOWN ? 4 * reply->data_len : (size_t)size, &body, &why);
        w->form->close(stream);
    }
    if (e) {
        request_fail_why(r, &why);
    } else if (request_range(r, body.len, w->etag, &range)) {
        body.len = (size_t)(range.to - range.from);
        if (range.from)
            memmove(body.data, body.data + range.from, body.len);
        request_answer(r, range.status, w->type, &body);
    }
    buf_free(&body);
}

/* ---- results in blobs -------------------------------------------------------------- */

/* One result on its way to one client: the context of an http_source. */
struct sending {
    struct pieces          *pieces;
    const struct rendering *form;
    void                   *stream;
    uint64_t                from; /* of the form's bytes: where the answer begins */
    char                    id[JOB_ID_BYTES];
};

static int64_t send_more(void *ctx, uint64_t offset, char *out, size_t len)
{
    struct sending *s = ctx;
    struct fault    why;
    int64_t         got = s->form->read(s->stream, s->from + offset, out, len, &why);

    if (got < 0)
        log_event(EVENT_RESULT_BROKE_OFF, LOG_TEXT("job_id", s->id), LOG_INT("sent_bytes", (int64_t)offset),
                  LOG_TEXT("reason", why.detail));
    return got;
}

static void send_end(void *ctx)
{
    struct sending *s = ctx;

    s->form->close(s->stream);
    pieces_free(s->pieces);
    free(s);
}

/* A piece is gone, or there and cannot be read: the latter may be better later. */
static void fail_pieces(struct request *r, const struct pieces *pieces, const char *detail)
{
    struct fault why;

    if (pieces_fault(pieces, &why) == ERR_IO)
        request_fail_why(r, &why);
    else
        request_fail(r, ERR_RESULT_GONE, detail);
}

/* The blob as it lies. pieces is taken. */
static void answer_raw(struct request *r, const struct wanted *w, struct pieces *pieces)
{
    struct range range;
    uint64_t     size;
    int          fd = pieces_detach(pieces, &size);

    if (fd < 0)
        fail_pieces(r, pieces, "the file that holds the result is no longer there");
    pieces_free(pieces);
    if (fd >= 0 && request_range(r, size, w->etag, &range)) {
        request_answer_file(r, range.status, w->type, fd, (int64_t)range.from, (int64_t)(range.to - range.from));
        return;
    }
    if (fd >= 0)
        close(fd);
}

/* pieces is taken. */
static void answer_pieces(struct request *r, const struct wanted *w, struct pieces *pieces, const char *id)
{
    struct http_source source = {NULL, send_more, send_end};
    struct range       range = {.status = 200};
    void              *stream;
    uint64_t           size;
    struct fault       why;
    struct sending    *s;
    bool               is_wanted;

    if (w->form->open(pieces_face(pieces), w->rows, w->cols, &stream, &size, &why)) {
        if (why.err == ERR_RESULT_GONE)
            fail_pieces(r, pieces, why.detail);
        else
            request_fail_why(r, &why);
        pieces_free(pieces);
        return;
    }
    source.ctx = s = xcalloc(1, sizeof *s);
    *s = (struct sending){.pieces = pieces, .form = w->form, .stream = stream};
    memcpy(s->id, id, sizeof s->id);
    is_wanted = w->form->is_seekable ? request_range(r, size, w->etag, &range) : request_conditions(r, w->etag, -1);
    s->from = range.from;
    if (is_wanted)
        request_answer_stream(r, range.status, w->type, w->form->is_seekable ? (int64_t)(range.to - range.from) : -1,
                              &source);
    else
        send_end(s);
}

/* ---- the call ------------------------------------------------------------------------ */

/* The blobs of a result that is not in the record; NULL when there are none, or no way to them. */
static struct pieces *find_pieces(struct gateway *gw, const struct store_reply *reply)
{
    const struct record *record = reply->record;

    if (!gw->blobs)
        return NULL;
    if (*record->result_blob)
        return pieces_new_single(gw->blobs, &gw->extra_files, record->result_blob);
    if (*record->layout && reply->fence_count)
        return pieces_new_group(gw->blobs, &gw->extra_files, record->id, record->layout, reply->fences,
                                reply->fence_count);
    return NULL;
}

/* Answers 406 with the forms that there are. */
static void refuse_accept(struct request *r, const struct kind_spec *kind, const struct record *record)
{
    struct buf text = {0};
    char      *detail;

    for (const struct rendering *f = kind->renderings; f->content_type; f++)
        buf_printf(&text, "%s%s", text.len ? ", " : "this result can be had as ", type_of(f, record));
    detail = buf_detach(&text);
    request_fail(r, ERR_ACCEPT, detail);
    free(detail);
}

/* Its type was said by a program that a client had run: a browser is neither to guess another one, nor to run what
 * the result may contain with the rights of our pages. */
static void guard_type(struct request *r)
{
    request_add_header(r, "X-Content-Type-Options", "nosniff");
    request_add_header(r, "Content-Security-Policy", "sandbox");
}

static void answer_result(struct request *r, const struct store_reply *reply)
{
    const struct record *record = reply->record;
    int                  kind = kind_find(record->kind);
    struct pieces       *pieces = NULL;
    struct wanted        w = {.rows = request_query(r, "rows"), .cols = request_query(r, "cols")};

    if (kind >= 0 && !reply->data)
        pieces = find_pieces(request_gateway(r), reply);
    if (kind < 0 || (!reply->data && !pieces)) {
        request_fail(r, ERR_RESULT_GONE, "the record is still there, its result has expired or was lost");
        return;
    }
    request_add_header(r, "Vary", "Accept");
    w.form = choose_rendering(kinds[kind], record, request_header(r, "Accept"));
    if (!w.form) {
        refuse_accept(r, kinds[kind], record);
        pieces_free(pieces);
        return;
    }
    w.type = type_of(w.form, record);
    if (!*w.form->content_type)
        guard_type(r);
    snprintf(w.etag, sizeof w.etag, "\"%s.%lld.%d\"", record->id, (long long)record->fence,
             (int)(w.form - kinds[kind]->renderings));
    if (reply->data)
        answer_inline(r, &w, reply);
    else if (!w.rows && !w.cols && *record->result_blob && !strcmp(w.type, record->content_type))
        answer_raw(r, &w, pieces);
    else
        answer_pieces(r, &w, pieces, record->id);
}

static void answer_not_completed(struct request *r, const struct record *record)
{
    struct fault why;

    if (record->state == JOB_FAILED)
        fault_set(&why, ERR_WRONG_STATE, "the job failed: %s: %.180s", record->error_code, record->error_detail);
    else
        fault_set(&why, ERR_WRONG_STATE, "the job is %s; there is a result when it is completed",
                  job_state_name(record->state));
    request_fail_why(r, &why);
}

static void answer_reply(struct request *r, const struct store_reply *reply)
{
    if (reply->record->state == JOB_COMPLETED)
        answer_result(r, reply);
    else
        answer_not_completed(r, reply->record);
}

static void ask_result(struct request *r, const char *id, bool watch, store_fn *fn, void *ctx)
{
    read_job(r, id, watch, true, fn, ctx);
}

static const struct longpoll result_poll = {.wants_result = true,
                                            .ask = ask_result,
                                            .is_over = job_has_ended,
                                            .answer = answer_reply,
                                            .answer_gone = answer_no_job};

static void result_end(struct request *r)
{
    static const char *const parameters[] = {"wait", "rows", "cols", NULL};
    const char              *id;
    struct fault             why;

    if (query_only(r, parameters, &why))
        request_fail_why(r, &why);
    else if ((id = request_job_id(r)))
        longpoll_start(r, id, &result_poll);
}

const struct handler result_handler = {NULL, NULL, result_end, longpoll_gone};
