/* SPDX-License-Identifier: Apache-2.0 */
/* result.c - GET /jobs/ID/result[?wait=S]: the result in the form that Accept asks for, whole or a range. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/gateway.h"
#include "api/range.h"

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

static const struct rendering *choose_rendering(const struct kind_spec *kind, const char *accept)
{
    const struct rendering *best = NULL;
    double                  best_quality = 0;

    if (!accept || !*accept)
        return kind->renderings;
    for (const struct rendering *f = kind->renderings; f->content_type; f++) {
        double quality = accept_quality(accept, f->content_type);

        if (quality > best_quality) {
            best = f;
            best_quality = quality;
        }
    }
    return best;
}

/* Answers with body (taken), or the part of it that the request asks for. */
static void answer_bytes(struct request *r, const char *content_type, struct buf *body)
{
    struct range range;

    if (!request_range(r, body->len, NULL, &range)) {
        buf_free(body);
        return;
    }
    body->len = (size_t)(range.to - range.from);
    if (range.from)
        memmove(body->data, body->data + range.from, body->len);
    request_answer(r, range.status, content_type, body);
}

/* ---- the call ------------------------------------------------------------------ */

static uint64_t piece_size(void *ctx, int64_t piece)
{
    (void)piece;
    return ((const struct store_reply *)ctx)->data_len;
}

static bool read_piece(void *ctx, int64_t piece, uint64_t offset, void *out, size_t len)
{
    const struct store_reply *reply = ctx;

    (void)piece;
    memcpy(out, (const char *)reply->data + offset, len);
    return true;
}

static void answer_result(struct request *r, const struct store_reply *reply)
{
    int                      kind = kind_find(reply->record->kind);
    const struct rendering  *form;
    const struct result_face face = {(void *)reply, "", 1, piece_size, read_piece};
    struct buf               body = {0};
    void                    *stream;
    uint64_t                 size;
    struct fault             why;

    if (kind < 0 || !reply->data) {
        request_fail(r, ERR_RESULT_GONE, "the record is still there, its result has expired or was lost with Redis");
        return;
    }
    form = choose_rendering(kinds[kind], request_header(r, "Accept"));
    if (!form) {
        for (form = kinds[kind]->renderings; form->content_type; form++)
            buf_printf(&body, "%s%s", body.len ? ", " : "this result can be had as ", form->content_type);
        char *detail = buf_detach(&body);
        request_fail(r, ERR_ACCEPT, detail);
        free(detail);
        return;
    }
    if (form->open(&face, request_query(r, "rows"), request_query(r, "cols"), &stream, &size, &why)) {
        request_fail_why(r, &why);
        return;
    }
    body.len = (size_t)form->read(stream, 0, buf_reserve(&body, (size_t)size), (size_t)size, &why);
    form->close(stream);
    answer_bytes(r, form->content_type, &body);
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

static const struct longpoll result_poll = {store_result, answer_reply};

static void result_end(struct request *r) { longpoll_start(r, &result_poll); }

const struct handler result_handler = {NULL, NULL, result_end, longpoll_gone};
