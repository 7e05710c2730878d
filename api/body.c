/* SPDX-License-Identifier: Apache-2.0 */
/* body.c - see the header. */
#include "api/body.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/ahead.h"
#include "api/form.h"

struct body {
    struct request         *request;
    const struct kind_spec *kind;
    const struct limits    *limits;
    struct spill           *spill;
    const struct intake    *intake; /* NULL: raw bytes */
    struct ahead           *ahead;  /* owned: reads for the intake; NULL without one */
    struct form            *form;   /* owned: around the parts of an intake, or around a raw input */
    int                     form_files;
    uint64_t                arrived; /* bytes of the body */
    struct buf              input;   /* raw, while it may travel in the message */
    struct spilled         *blob;    /* raw, beyond that; belongs to spill */
    uint64_t                raw_bytes;
};

/* ---- the head ------------------------------------------------------------------ */

/* Whether the header's media type, without its parameters, is type. */
static bool media_is(const char *header, const char *type)
{
    size_t len = strlen(type);

    return header && !strncasecmp(header, type, len) && strchr("; \t", header[len]);
}

static enum err refuse_media(const struct body *b, const char *type, struct fault *why)
{
    struct buf list = {0};
    char      *names;
    enum err   e;

    for (const struct intake *i = b->kind->intakes; i->begin; i++)
        buf_printf(&list, "%s%s", list.len ? " and " : "", i->content_type);
    names = buf_detach(&list);
    e = fault_set(why, ERR_MEDIA, "the body is '%.80s'; this call takes %s", type, names);
    free(names);
    return e;
}

/* Picks the reader for the body by its content type. The default that curl
 * sends with -d and --data-binary says nothing about the body: where the route
 * has a type of its own it is taken for that, elsewhere for raw bytes. */
static enum err choose_intake(struct body *b, struct fault *why)
{
    const struct route *route = request_route(b->request);
    const char         *type = request_header(b->request, "Content-Type");

    if (route->media && (!type || media_is(type, "application/x-www-form-urlencoded")))
        type = route->media;
    for (const struct intake *i = b->kind->intakes; i->begin && !b->intake; i++)
        if (media_is(type, i->content_type))
            b->intake = i;
    if (route->media && !b->intake)
        return refuse_media(b, type, why);
    return ERR_OK;
}

/* Bytes of a raw input, as long as it can be kept. */
static uint64_t raw_max(const struct body *b)
{
    bool has_more = b->limits->has_blobs && b->kind->raw_max > b->limits->inline_max;

    return has_more ? b->kind->raw_max : b->limits->inline_max;
}

/* size: 0 when it is not known. */
static enum err too_large(uint64_t size, uint64_t max, struct fault *why)
{
    if (size)
        return fault_set(why, ERR_TOO_LARGE, "the input has %llu bytes; at most %llu are taken",
                         (unsigned long long)size, (unsigned long long)max);
    return fault_set(why, ERR_TOO_LARGE, "the input has more than %llu bytes, which is the most that is taken",
                     (unsigned long long)max);
}

static enum err refuse_body(const struct body *b, struct fault *why)
{
    return fault_set(why, ERR_BODY, "jobs of kind %s take no body", b->kind->name);
}

/* What the length of the body, if it is known, says already. */
static enum err check_length(const struct body *b, struct fault *why)
{
    int64_t  length = request_body_length(b->request); /* -1: not known */
    uint64_t max = b->intake || b->form ? b->limits->upload_max : raw_max(b);

    if (length && !b->intake && !b->kind->takes_body)
        return refuse_body(b, why);
    return length > 0 && (uint64_t)length > max ? too_large((uint64_t)length, max, why) : ERR_OK;
}

static enum err on_form_part(void *ctx, const char *name, const char *filename, const char *bytes, size_t len,
                             bool is_first, struct fault *why);

static void on_read(void *ctx) { request_release(((struct body *)ctx)->request); }

static enum err begin(struct body *b, struct fault *why)
{
    const char *type = request_header(b->request, "Content-Type");
    enum err    e = choose_intake(b, why);

    if (!e && media_is(type, "multipart/form-data"))
        e = form_new(type, on_form_part, b, &b->form, why);
    if (!e)
        e = check_length(b, why);
    if (!e && b->intake)
        b->ahead = ahead_new(request_gateway(b->request), b->intake, b->spill, on_read, b);
    return e;
}

enum err body_new(struct request *r, const struct kind_spec *kind, const struct limits *limits, struct spill *spill,
                  struct body **out, struct fault *why)
{
    struct body *b = xcalloc(1, sizeof *b);
    enum err     e;

    b->request = r;
    b->kind = kind;
    b->limits = limits;
    b->spill = spill;
    e = begin(b, why);
    if (e)
        body_free(b);
    else
        *out = b;
    return e;
}

/* ---- raw bytes ------------------------------------------------------------------- */

/* From here on the input goes to a blob. */
static enum err begin_blob(struct body *b, struct fault *why)
{
    int64_t  size = b->form ? -1 : request_body_length(b->request);
    enum err e = spill_create(b->spill, NULL, size, 0, &b->blob, why);

    if (!e)
        e = spill_append(b->blob, b->input.data, b->input.len, why);
    buf_free(&b->input);
    return e;
}

static enum err append_raw(struct body *b, const char *bytes, size_t len, struct fault *why)
{
    int64_t  length = request_body_length(b->request);
    enum err e = ERR_OK;

    b->raw_bytes += len;
    if (b->raw_bytes > raw_max(b))
        return too_large(0, raw_max(b), why);
    if (b->raw_bytes > b->limits->inline_max && !b->blob)
        e = begin_blob(b, why);
    if (e || b->blob)
        return e ? e : spill_append(b->blob, bytes, len, why);
    if (!b->input.cap && length > 0 && (uint64_t)length <= b->limits->inline_max)
        buf_reserve(&b->input, (size_t)length + 1);
    buf_append(&b->input, bytes, len);
    return ERR_OK;
}

/* ---- pieces ----------------------------------------------------------------------- */

/* The one part that is a file is the input; plain fields beside it are refused. */
static enum err take_file(struct body *b, const char *name, const char *filename, const char *bytes, size_t len,
                          bool is_first, struct fault *why)
{
    if (!filename)
        return fault_set(why, ERR_BODY, "the form's field '%.60s' is no file; parameters belong into the query", name);
    if (is_first && ++b->form_files > 1)
        return fault_set(why, ERR_BODY, "the form has more than one file; one job takes one");
    return append_raw(b, bytes, len, why);
}

static enum err on_form_part(void *ctx, const char *name, const char *filename, const char *bytes, size_t len,
                             bool is_first, struct fault *why)
{
    struct body *b = ctx;

    if (b->intake)
        return ahead_feed(b->ahead, name, is_first, bytes, len, why);
    return take_file(b, name, filename, bytes, len, is_first, why);
}

/* To be read by an intake that gets all of it. */
static enum err take_document(struct body *b, const char *bytes, size_t len, struct fault *why)
{
    enum err e = ahead_feed(b->ahead, NULL, false, bytes, len, why);

    if (!e && ahead_is_full(b->ahead))
        request_hold(b->request);
    return e;
}

enum err body_feed(struct body *b, const char *bytes, size_t len, struct fault *why)
{
    b->arrived += len;
    if (b->arrived > b->limits->upload_max)
        return too_large(0, b->limits->upload_max, why);
    if (!b->intake && !b->kind->takes_body)
        return refuse_body(b, why);
    if (b->form)
        return form_feed(b->form, bytes, len, why);
    if (b->intake)
        return take_document(b, bytes, len, why);
    return append_raw(b, bytes, len, why);
}

/* ---- the end ------------------------------------------------------------------------- */

static enum err end_form(const struct body *b, struct fault *why)
{
    if (!form_is_whole(b->form))
        return fault_set(why, ERR_BODY, "the multipart form is cut short");
    if (!b->intake && !b->raw_bytes)
        return fault_set(why, ERR_BODY, "the multipart form has no file, or an empty one");
    return ERR_OK;
}

bool body_wait(struct body *b)
{
    bool is_busy = b->ahead && ahead_is_busy(b->ahead);

    if (is_busy)
        request_hold(b->request);
    return is_busy;
}

enum err body_end(struct body *b, struct args *args, struct taken *out, struct fault *why)
{
    struct taken taken = {0};
    enum err     e = b->form ? end_form(b, why) : ERR_OK;

    if (e)
        return e;
    if (b->intake) {
        e = ahead_end(b->ahead, args, &taken, why);
    } else {
        taken.body = b->input;
        b->input = (struct buf){0};
        if (b->blob)
            buf_printf(&taken.refs, "{\"blobs\":[\"%s\"],\"size\":%llu}", spilled_name(b->blob),
                       (unsigned long long)b->raw_bytes);
    }
    if (e) {
        buf_free(&taken.body);
        buf_free(&taken.refs);
    } else {
        *out = taken;
    }
    return e;
}

void body_free(struct body *b)
{
    if (!b)
        return;
    ahead_free(b->ahead);
    form_free(b->form);
    buf_free(&b->input);
    free(b);
}
