/* SPDX-License-Identifier: Apache-2.0 */
/* submit.c - the one way a job comes in.
 *
 *   head: kind, parameters, intake chosen      (start)
 *   body: read as it arrives, never stored     (body)
 *   end:  checked as a whole -> struct msg     (end)
 *         create -> publish -> accept -> 202
 *                       \-> not confirmed: outbox -> 202 held
 *
 * A 202 is given only when the store accepted the job, and that happens only
 * after the broker confirmed its message or the outbox took it.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/auth.h"
#include "api/gateway.h"
#include "common/clock.h"

struct submit {
    struct request         *request;
    struct gateway         *gw;
    const struct kind_spec *kind;
    int                     kind_id;
    struct args             args;
    const struct intake    *intake;     /* NULL: raw bytes */
    void                   *intake_ctx; /* owned until end or abort */
    struct form            *form;       /* owned: multipart around a raw input */
    int                     form_files;
    struct buf              input;
    struct msg             *msg;     /* owned */
    bool                    is_held; /* in the outbox, not confirmed */
};

/* ---- the head ----------------------------------------------------------- */

/* Whether the header's media type, without its parameters, is type. */
static bool media_is(const char *header, const char *type)
{
    size_t len = strlen(type);

    return header && !strncasecmp(header, type, len) && strchr("; \t", header[len]);
}

static enum err set_parameter(void *ctx, const char *name, const char *value, struct fault *why)
{
    struct submit *s = ctx;

    return args_set(s->kind, &s->args, name, value, why);
}

/* Picks the reader for the body by its content type. The default that curl
 * sends with -d and --data-binary says nothing about the body: where the route
 * has one type it is taken for that, elsewhere for raw bytes. */
static enum err choose_intake(struct submit *s, const struct route *route, struct fault *why)
{
    const char *type = request_header(s->request, "Content-Type");
    bool        says_nothing = !type || media_is(type, "application/x-www-form-urlencoded");

    if (route->media && says_nothing)
        type = route->media;
    if (route->media && !media_is(type, route->media))
        return fault_set(why, ERR_MEDIA, "the body is '%.80s'; this call takes %s", type, route->media);
    for (const struct intake *i = s->kind->intakes; i && i->begin && !s->intake; i++)
        if (media_is(type, i->content_type))
            s->intake = i;
    if (s->intake)
        s->intake_ctx = s->intake->begin(&(struct limits){.inline_max = (size_t)s->gw->settings.inline_max}, NULL);
    return ERR_OK;
}

static enum err too_large(const struct submit *s, int64_t size, struct fault *why)
{
    long long max = s->gw->settings.inline_max;

    if (size >= 0)
        return fault_set(why, ERR_TOO_LARGE, "the input has %lld bytes; at most %lld are taken", (long long)size, max);
    return fault_set(why, ERR_TOO_LARGE, "the input has more than %lld bytes, which is the most that is taken", max);
}

static void on_form_part(void *ctx, const char *name, const char *filename, const char *bytes, size_t len,
                         uint64_t offset);

static enum err read_head(struct submit *s, struct fault *why)
{
    const struct route *route = request_route(s->request);
    const char         *name = route->kind ? route->kind : request_segment(s->request);
    int64_t             length = request_body_length(s->request);
    enum err            e;

    s->kind_id = kind_find(name);
    if (s->kind_id < 0)
        return fault_set(why, ERR_NOT_FOUND, "there is no kind '%.60s'", name);
    s->kind = kinds[s->kind_id];
    args_init(&s->args);
    e = request_each_query(s->request, set_parameter, s, why);
    if (!e)
        e = choose_intake(s, route, why);
    if (e)
        return e;
    if (s->intake)
        return ERR_OK; /* it bounds what it reads by itself */
    if (!s->kind->takes_body && length)
        return fault_set(why, ERR_BODY, "jobs of kind %s take no body", s->kind->name);
    if (media_is(request_header(s->request, "Content-Type"), "multipart/form-data")) {
        s->form = form_new(s->request, on_form_part, s);
        return s->form ? ERR_OK : fault_set(why, ERR_BODY, "the multipart form has no boundary");
    }
    return length > s->gw->settings.inline_max ? too_large(s, length, why) : ERR_OK;
}

static void submit_start(struct request *r)
{
    struct submit *s = xcalloc(1, sizeof *s);
    struct fault   why;

    s->request = r;
    s->gw = request_gateway(r);
    request_set_state(r, s);
    if (read_head(s, &why))
        request_fail_why(r, &why);
}

/* ---- the body ----------------------------------------------------------- */

static void append_input(struct submit *s, const char *bytes, size_t len)
{
    struct fault why;

    if (s->input.len + len > (size_t)s->gw->settings.inline_max) {
        too_large(s, -1, &why);
        request_fail_why(s->request, &why);
        return;
    }
    if (!s->input.cap && request_body_length(s->request) > 0 && !s->form)
        buf_reserve(&s->input, (size_t)request_body_length(s->request) + 1);
    buf_append(&s->input, bytes, len);
}

/* The one part that is a file is the input; plain fields beside it are refused. */
static void on_form_part(void *ctx, const char *name, const char *filename, const char *bytes, size_t len,
                         uint64_t offset)
{
    struct submit *s = ctx;
    struct fault   why;

    if (request_is_answered(s->request))
        return;
    if (!filename) {
        fault_set(&why, ERR_BODY, "the form's field '%.60s' is no file; parameters belong into the query", name);
        request_fail_why(s->request, &why);
        return;
    }
    if (!len)
        return; /* libmicrohttpd's way of saying that it waits for more */
    if (!offset && ++s->form_files > 1) {
        request_fail(s->request, ERR_BODY, "the form has more than one file; one job takes one");
        return;
    }
    append_input(s, bytes, len);
}

static void submit_body(struct request *r, const char *bytes, size_t len)
{
    struct submit *s = request_state(r);
    struct fault   why;

    if (s->form) {
        if (!form_feed(s->form, bytes, len) && !request_is_answered(r))
            request_fail(r, ERR_BODY, "the multipart form cannot be read");
    } else if (s->intake) {
        if (s->intake->feed(s->intake_ctx, NULL, false, bytes, len, &why))
            request_fail_why(r, &why);
    } else if (!s->kind->takes_body) {
        request_fail(r, ERR_BODY, "this kind takes no body");
    } else {
        append_input(s, bytes, len);
    }
}

/* ---- the whole ---------------------------------------------------------- */

static enum err finish_input(struct submit *s, struct fault *why)
{
    enum err e = ERR_OK;

    if (s->form) {
        bool is_whole = form_free(s->form);

        s->form = NULL;
        if (!is_whole)
            e = fault_set(why, ERR_BODY, "the multipart form is cut short");
        else if (!s->form_files)
            e = fault_set(why, ERR_BODY, "the multipart form has no file, or an empty one");
    } else if (s->intake) {
        void *ctx = s->intake_ctx;

        s->intake_ctx = NULL;
        struct taken taken = {0};

        e = s->intake->end(ctx, &s->args, &taken, why);
        s->input = taken.body;
    }
    return e;
}

static enum err check_limits(const struct submit *s, struct fault *why)
{
    uint64_t result_bytes = 0;
    int64_t  timeout = args_common(s->kind, &s->args, "timeout");

    if (timeout > s->gw->settings.timeout_max_s)
        return fault_set(why, ERR_PARAM, "timeout is %lld seconds; at most %lld are given", (long long)timeout,
                         (long long)s->gw->settings.timeout_max_s);
    return s->kind->check(&s->args, &(struct input){s->input.data, s->input.len, ""},
                          &(struct limits){.inline_max = (size_t)s->gw->settings.inline_max}, &result_bytes, why);
}

static enum err copy_header(const struct submit *s, const char *name, char *out, size_t room, struct fault *why)
{
    const char *value = request_header(s->request, name);

    if (!value)
        return ERR_OK;
    if (strlen(value) >= room)
        return fault_set(why, ERR_REQUEST, "the header %s has %zu bytes; at most %zu are taken", name, strlen(value),
                         room - 1);
    for (const char *c = value; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            return fault_set(why, ERR_REQUEST, "the header %s takes printable ASCII only", name);
    memcpy(out, value, strlen(value) + 1);
    return ERR_OK;
}

/* Fills s->msg from what was read; the input moves into it. */
static enum err make_message(struct submit *s, struct fault *why)
{
    struct msg *m = s->msg = msg_new();
    struct buf  params = {0};
    int64_t     deadline = args_common(s->kind, &s->args, "deadline");
    enum err    e;

    job_id_new(m->id);
    job_copy_new(m->copy);
    strcpy(m->kind, s->kind->name);
    strcpy(m->content_type, "application/octet-stream");
    m->created_ms = wall_ms();
    m->deadline_ms = deadline < 0 ? 0 : m->created_ms + deadline * 1000;
    args_to_json(s->kind, &s->args, &params);
    free(m->params);
    m->params = buf_detach(&params);
    m->body_len = s->input.len;
    m->body = m->body_len ? buf_detach(&s->input) : NULL;
    e = copy_header(s, "traceparent", m->traceparent, sizeof m->traceparent, why);
    if (!e)
        e = copy_header(s, "Idempotency-Key", m->idempotency, sizeof m->idempotency, why);
    if (!e && *m->idempotency)
        digest_hex((struct digest_part[]){{m->kind, strlen(m->kind) + 1},
                                          {m->params, strlen(m->params) + 1},
                                          {m->body, m->body_len}},
                   3, m->digest);
    return e;
}

static void on_created(void *ctx, const struct store_reply *reply);

static void submit_end(struct request *r)
{
    struct submit *s = request_state(r);
    struct fault   why;
    enum err       e;

    e = finish_input(s, &why);
    if (!e)
        e = args_complete(s->kind, &s->args, &why);
    if (!e)
        e = check_limits(s, &why);
    if (!e)
        e = make_message(s, &why);
    if (e) {
        request_fail_why(r, &why);
        return;
    }
    s->gw->submits++;
    store_create(s->gw->store, s->msg, on_created, s);
}

/* ---- create, publish, accept ---------------------------------------------- */

static void submit_fail(struct submit *s, enum err err, const char *detail)
{
    s->gw->submits--;
    request_fail(s->request, err, detail);
}

static void submit_answer(struct submit *s, const char *state)
{
    const struct msg *m = s->msg;
    struct buf        body = {0};
    char              path[64];

    buf_printf(&body, "{\"id\":\"%s\",\"kind\":\"%s\",\"state\":\"%s\",", m->id, m->kind, state);
    if (s->is_held)
        buf_text(&body, "\"held\":\"outbox\",");
    buf_printf(&body, "\"links\":{\"self\":\"/jobs/%s\",\"result\":\"/jobs/%s/result\"}}\n", m->id, m->id);
    memcpy(path, "/jobs/", 6);
    memcpy(path + 6, m->id, JOB_ID_BYTES);
    request_add_header(s->request, "Location", path);
    s->gw->submits--;
    request_answer(s->request, 202, "application/json", &body);
}

static void on_held(void *ctx, const struct store_reply *reply)
{
    struct submit *s = ctx;

    switch (reply->answer) {
    case STORE_OK:
        s->is_held = true;
        series_add(s->gw->accepted[s->kind_id], 1);
        series_add(s->gw->held[s->kind_id], 1);
        relay_kick(s->gw->relay);
        submit_answer(s, "pending");
        return;
    case STORE_FULL:
        submit_fail(s, ERR_BROKER_DOWN, "the broker did not confirm, and the outbox has no room for this job");
        return;
    case STORE_GONE:
        submit_fail(s, ERR_BROKER_DOWN, "the broker did not confirm in time");
        return;
    default:
        submit_fail(s, ERR_UNKNOWN_OUTCOME, "the broker did not confirm, and the store stopped answering");
    }
}

static void on_accepted(void *ctx, const struct store_reply *reply)
{
    struct submit *s = ctx;

    switch (reply->answer) {
    case STORE_OK:
        series_add(s->gw->accepted[s->kind_id], 1);
        submit_answer(s, "pending");
        return;
    case STORE_GONE:
        submit_fail(s, ERR_BUSY, "the job was not accepted in time");
        return;
    default:
        submit_fail(s, ERR_UNKNOWN_OUTCOME, "the broker has the job, but the store stopped answering");
    }
}

static void on_published(void *ctx, enum broker_outcome outcome)
{
    struct submit *s = ctx;

    if (outcome == BROKER_CONFIRMED)
        store_accept(s->gw->store, s->msg, on_accepted, s);
    else
        store_outbox(s->gw->store, s->msg, s->gw->settings.outbox_max, on_held, s);
}

static void publish(struct submit *s, const struct store_reply *reply)
{
    s->msg->epoch = reply->epoch;
    broker_publish(s->gw->broker, s->msg, BROKER_TO_WORK, 0, s->gw->settings.confirm_ms, on_published, s);
}

/* The key names a job: it is answered for if it was accepted; if its first
 * submit died on the way, this one goes that way again, under the same id. */
static void answer_existing(struct submit *s, const struct store_reply *reply)
{
    memcpy(s->msg->id, reply->record->id, JOB_ID_BYTES);
    if (reply->record->state == JOB_UNCONFIRMED)
        publish(s, reply);
    else
        submit_answer(s, job_state_name(reply->record->state));
}

static void on_created(void *ctx, const struct store_reply *reply)
{
    struct submit *s = ctx;

    switch (reply->answer) {
    case STORE_OK:
        publish(s, reply);
        return;
    case STORE_EXISTS:
        answer_existing(s, reply);
        return;
    case STORE_MISMATCH:
        submit_fail(s, ERR_KEY_REUSED, "the first request with this key had another body, kind or parameters");
        return;
    case STORE_FULL:
        submit_fail(s, ERR_STORE_FULL, "Redis has reached its maxmemory");
        return;
    default:
        submit_fail(s, ERR_STORE_DOWN, "Redis does not answer; nothing was accepted");
    }
}

static void submit_gone(struct request *r)
{
    struct submit *s = request_state(r);

    if (s->intake_ctx)
        s->intake->abort(s->intake_ctx);
    if (s->form)
        form_free(s->form);
    buf_free(&s->input);
    msg_free(s->msg);
    free(s);
}

const struct handler submit_handler = {submit_start, submit_body, submit_end, submit_gone};
