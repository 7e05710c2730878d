/* SPDX-License-Identifier: Apache-2.0 */
/* submit.c - the one way a job comes in.
 *
 *   head: kind, parameters, how the body is read     (start)
 *   body: read as it arrives; what is large goes to blobs (body.c, spill.c)
 *   end:  checked as a whole -> struct msg           (end)
 *         seal the blobs -> create -> publish -> accept -> 202
 *                                        \-> not confirmed: outbox -> 202 held
 *
 * A 202 is given only when the store accepted the job, and that happens only
 * after the broker confirmed its message or the outbox took it. A job that is
 * not accepted leaves no blob, but where its message may be out: then a sweep
 * removes them in its time.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/auth.h"
#include "api/body.h"
#include "api/gateway.h"
#include "api/spill.h"
#include "common/clock.h"
#include "common/log.h"

struct submit {
    struct request         *request;
    struct gateway         *gw;
    const struct kind_spec *kind;
    int                     kind_id;
    struct args             args;
    char                    group[JOB_ID_BYTES]; /* that it is to be a member of, "" of none */
    struct spill           *spill;               /* owned: the blobs of this input */
    struct body            *body;                /* owned */
    struct taken            input;               /* owned */
    struct msg             *msg;                 /* owned */
    int64_t                 published_us;        /* mono */
    bool                    is_held;             /* in the outbox, not confirmed */
};

/* ---- the head ----------------------------------------------------------- */

static enum err set_group(struct submit *s, const char *value, struct fault *why)
{
    if (*s->group)
        return fault_set(why, ERR_PARAM, "the parameter group is given twice");
    if (!job_id_is_valid(value))
        return fault_set(why, ERR_NOT_FOUND, "there is no group '%.60s': an id is a UUID in lower case", value);
    memcpy(s->group, value, JOB_ID_BYTES);
    return ERR_OK;
}

static enum err set_parameter(void *ctx, const char *name, const char *value, struct fault *why)
{
    struct submit *s = ctx;

    if (strcmp(name, "group") == 0)
        return set_group(s, value, why);
    return args_set(s->kind, &s->args, name, value, why);
}

static enum err read_head(struct submit *s, struct fault *why)
{
    const struct route *route = request_route(s->request);
    const char         *name = route->kind ? route->kind : request_segment(s->request);
    enum err            e;

    s->kind_id = kind_find(name);
    if (s->kind_id < 0)
        return fault_set(why, ERR_NOT_FOUND, "there is no kind '%.60s'", name);
    s->kind = kinds[s->kind_id];
    args_init(&s->args);
    e = request_each_query(s->request, set_parameter, s, why);
    if (!e)
        e = body_new(s->request, s->kind, &s->gw->limits, s->spill, &s->body, why);
    return e;
}

static void submit_start(struct request *r)
{
    struct submit *s = xcalloc(1, sizeof *s);
    struct fault   why;

    s->request = r;
    s->gw = request_gateway(r);
    s->spill = spill_new(s->gw);
    request_set_state(r, s);
    if (read_head(s, &why))
        request_fail_why(r, &why);
}

/* ---- the body ----------------------------------------------------------- */

static void submit_body(struct request *r, const char *bytes, size_t len)
{
    struct submit *s = request_state(r);
    struct fault   why;

    if (!body_feed(s->body, bytes, len, &why))
        return;
    body_free(s->body);
    s->body = NULL;
    spill_drop(s->spill); /* now: the rest of the body may take its time */
    request_fail_why(r, &why);
}

/* ---- the whole ---------------------------------------------------------- */

static enum err check_limits(const struct submit *s, struct fault *why)
{
    const struct input in = {s->input.body.data, s->input.body.len, s->input.refs.len ? s->input.refs.data : ""};
    uint64_t           result_bytes = 0;
    int64_t            timeout = args_common(s->kind, &s->args, "timeout");

    if (timeout > s->gw->settings.timeout_max_s)
        return fault_set(why, ERR_PARAM, "timeout is %lld seconds; at most %lld are given", (long long)timeout,
                         (long long)s->gw->settings.timeout_max_s);
    return s->kind->check(&s->args, &in, &s->gw->limits, &result_bytes, why);
}

static enum err finish_input(struct submit *s, struct fault *why)
{
    enum err e = body_end(s->body, &s->args, &s->input, why);

    if (e)
        return e;
    assert(s->input.refs.len < MSG_REFS_BYTES);
    if (s->input.refs.len)
        buf_append(&s->input.refs, "", 1); /* read as text from here on */
    e = args_complete(s->kind, &s->args, why);
    return e ? e : check_limits(s, why);
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
    int64_t     attempts = args_common(s->kind, &s->args, "attempts");
    enum err    e;

    job_id_new(m->id);
    job_copy_new(m->copy);
    strcpy(m->kind, s->kind->name);
    strcpy(m->content_type, "application/octet-stream");
    m->created_ms = wall_ms();
    m->deadline_ms = deadline < 0 ? 0 : m->created_ms + deadline * 1000;
    m->attempts_max = attempts < 0 ? 0 : attempts;
    memcpy(m->group, s->group, sizeof m->group);
    args_to_json(s->kind, &s->args, &params);
    free(m->params);
    m->params = buf_detach(&params);
    m->body_len = s->input.body.len;
    m->body = m->body_len ? buf_detach(&s->input.body) : NULL;
    if (s->input.refs.len) {
        free(m->refs);
        m->refs = buf_detach(&s->input.refs);
    }
    e = copy_header(s, "traceparent", m->traceparent, sizeof m->traceparent, why);
    if (!e)
        e = copy_header(s, "Idempotency-Key", m->idempotency, sizeof m->idempotency, why);
    return e;
}

/* What a repeated request must agree in. The blobs that came with this one have names of their own each time:
 * their checksums stand for them. Blobs that it only named are what they are called. */
static void fill_digest(struct submit *s)
{
    struct msg *m = s->msg;
    char       *refs = xstrdup(m->refs), *at;
    const char *name;

    for (size_t i = 0; i < spill_count(s->spill); i++) {
        const struct blob_info *info = spill_info(s->spill, i, &name);

        static_assert(CHECKSUM_BYTES <= JOB_ID_BYTES, "a checksum fits where a name was");
        while ((at = strstr(refs, name))) {
            memset(at, ' ', strlen(name));
            memcpy(at, info->sum, strlen(info->sum));
        }
    }
    digest_hex((struct digest_part[]){{m->kind, strlen(m->kind) + 1},
                                      {m->params, strlen(m->params) + 1},
                                      {refs, *refs ? strlen(refs) + 1 : 0},
                                      {m->group, *m->group ? strlen(m->group) + 1 : 0},
                                      {m->body, m->body_len}},
               5, m->digest);
    free(refs);
}

static void on_created(void *ctx, const struct store_reply *reply);

static void create(struct submit *s)
{
    if (*s->msg->idempotency)
        fill_digest(s);
    store_create(s->gw->store, s->msg, on_created, s);
}

static void on_spilled(void *ctx, enum err e, const struct fault *why)
{
    struct submit *s = ctx;

    if (!e) {
        create(s);
        return;
    }
    s->gw->submits--;
    request_fail_why(s->request, why);
}

static void submit_end(struct request *r)
{
    struct submit *s = request_state(r);
    struct fault   why;
    enum err       e;

    if (body_wait(s->body))
        return;
    e = finish_input(s, &why);
    if (!e)
        e = make_message(s, &why);
    if (e) {
        spill_drop(s->spill);
        request_fail_why(r, &why);
        return;
    }
    s->gw->submits++;
    if (spill_count(s->spill))
        spill_seal(s->spill, NULL, on_spilled, s);
    else
        create(s);
}

/* ---- create, publish, accept ---------------------------------------------- */

static void submit_fail(struct submit *s, enum err err, const char *detail)
{
    s->gw->submits--;
    spill_drop(s->spill);
    request_fail(s->request, err, detail);
}

static void submit_answer(struct submit *s, const char *state)
{
    char              path[64] = "/jobs/";
    const char *const parts[] = {"{\"id\":\"",
                                 s->msg->id,
                                 "\",\"kind\":\"",
                                 s->msg->kind,
                                 "\",\"state\":\"",
                                 state,
                                 s->is_held ? "\",\"held\":\"outbox" : "",
                                 "\",\"links\":{\"self\":\"",
                                 path,
                                 "\",\"result\":\"",
                                 path,
                                 "/result\"}}\n"};
    struct buf        body = {0};

    memcpy(path + 6, s->msg->id, JOB_ID_BYTES);
    buf_reserve(&body, 256);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) /* printf would take half a microsecond of every job */
        buf_text(&body, parts[i]);
    spill_drop(s->spill); /* an earlier request's job has its own */
    request_add_header(s->request, "Location", path);
    s->gw->submits--;
    request_answer(s->request, 202, "application/json", &body);
}

static void log_accepted(const struct submit *s)
{
    log_event(EVENT_JOB_ACCEPTED, LOG_JOB(s->msg->id, s->msg->kind, 0), LOG_TEXT("group", s->msg->group),
              LOG_TEXT("held", s->is_held ? "outbox" : ""), LOG_TEXT("traceparent", s->msg->traceparent));
}

static void on_held(void *ctx, const struct store_reply *reply)
{
    struct submit *s = ctx;

    switch (reply->answer) {
    case STORE_OK:
        s->is_held = true;
        spill_keep(s->spill);
        series_add(s->gw->accepted[s->kind_id], 1);
        series_add(s->gw->held[s->kind_id], 1);
        relay_kick(s->gw->relay);
        log_accepted(s);
        submit_answer(s, "pending");
        return;
    case STORE_FULL:
        submit_fail(s, ERR_BROKER_DOWN, "the broker did not confirm, and the outbox has no room for this job");
        return;
    case STORE_GONE:
        submit_fail(s, ERR_BROKER_DOWN, "the broker did not confirm in time");
        return;
    default:
        spill_keep(s->spill);
        submit_fail(s, ERR_UNKNOWN_OUTCOME, "the broker did not confirm, and the store stopped answering");
    }
}

static void on_accepted(void *ctx, const struct store_reply *reply)
{
    struct submit *s = ctx;

    switch (reply->answer) {
    case STORE_OK:
        series_add(s->gw->accepted[s->kind_id], 1);
        log_accepted(s);
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

    series_observe(s->gw->confirm_seconds, (double)(mono_us() - s->published_us) / 1e6);
    if (outcome == BROKER_CONFIRMED || outcome == BROKER_UNKNOWN)
        spill_keep(s->spill); /* a worker may have the message already */
    if (outcome == BROKER_CONFIRMED)
        store_accept(s->gw->store, s->msg, on_accepted, s);
    else
        store_outbox(s->gw->store, s->msg, s->gw->settings.outbox_max, on_held, s);
}

static void publish(struct submit *s, const struct store_reply *reply)
{
    s->msg->epoch = reply->epoch;
    s->published_us = mono_us();
    broker_publish(s->gw->broker, s->msg, BROKER_TO_WORK, 0, s->gw->settings.confirm_ms, on_published, s);
}

/* The key names a job: it is answered for if it was accepted; if its first submit died on the way, or is on its
 * way yet, this one goes that way as well, under the same id. Created again: this message has blobs of its own. */
static void answer_existing(struct submit *s, const struct store_reply *reply)
{
    memcpy(s->msg->id, reply->record->id, JOB_ID_BYTES);
    if (reply->record->state == JOB_UNCONFIRMED)
        store_create(s->gw->store, s->msg, on_created, s);
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
    case STORE_NO_GROUP:
        submit_fail(s, ERR_NOT_FOUND, "there is no such group, or it ended and has expired");
        return;
    case STORE_CLOSED:
        submit_fail(s, ERR_WRONG_STATE, "the group is closed; only one that is open takes more jobs");
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

    body_free(s->body);
    spill_free(s->spill);
    buf_free(&s->input.body);
    buf_free(&s->input.refs);
    msg_free(s->msg);
    free(s);
}

const struct handler submit_handler = {submit_start, submit_body, submit_end, submit_gone};
