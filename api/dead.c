/* SPDX-License-Identifier: Apache-2.0 */
/* dead.c - what no worker could take for a job: GET /dead, POST /dead/ID/replay.
 *
 * A replay holds the dead queue, so that of two one finds nothing left:
 *
 *   find -> is it a job? -> may its job run? -> publish -> confirm -> take it out
 *
 * Whatever breaks off on the way leaves the message where it was; behind the
 * confirm it may then be there twice, and claims sort that out. A job that has
 * failed by this message is pending again, by the same script that keeps the
 * message in the outbox: should this gateway die, the relay sends it.
 */
#include <stdlib.h>
#include <string.h>

#include "api/gateway.h"
#include "api/query.h"
#include "common/broker/browse.h"
#include "common/clock.h"
#include "common/log.h"
#include "kinds/decode.h"

#define LIMIT_DEFAULT 100

static void set_trouble(enum browse_outcome outcome, struct fault *why)
{
    if (outcome == BROWSE_BUSY)
        (void)fault_set(why, ERR_BUSY, "another gateway is reading the dead messages; try again");
    else
        (void)fault_set(why, ERR_BROKER_AWAY, "the dead messages are in the broker, and it does not answer");
}

/* ---- GET /dead --------------------------------------------------------------- */

static void put_letter(const struct dead_letter *l, const char *before, struct buf *out)
{
    char received[WALL_TEXT_BYTES];

    buf_printf(out, "%s{\"id\":", before);
    buf_json(out, l->id);
    buf_text(out, ",\"kind\":");
    buf_json(out, l->kind);
    buf_text(out, ",\"reason\":");
    buf_json(out, l->reason);
    if (l->received_ms) {
        wall_format(l->received_ms, received);
        buf_printf(out, ",\"received\":\"%s\"", received);
    }
    buf_printf(out, ",\"bytes\":%llu}", (unsigned long long)l->bytes);
}

static void on_listed(void *ctx, const struct browsed *seen)
{
    struct request *r = ctx;
    struct buf      body = {0};
    struct fault    why;

    if (seen->outcome != BROWSE_OK) {
        set_trouble(seen->outcome, &why);
        request_fail_why(r, &why);
        return;
    }
    buf_text(&body, "{\"dead\":[");
    for (size_t i = 0; i < seen->count; i++)
        put_letter(&seen->letters[i], i ? "," : "", &body);
    buf_printf(&body, "],\"count\":%lld}\n", (long long)seen->total);
    request_answer(r, 200, "application/json", &body);
}

static void dead_list_end(struct request *r)
{
    static const char *const parameters[] = {"limit", NULL};
    int64_t                  limit;
    struct fault             why;
    enum err                 e = query_only(r, parameters, &why);

    if (!e)
        e = query_number(r, "limit", 1, DEAD_READ_MAX, LIMIT_DEFAULT, &limit, &why);
    if (e)
        request_fail_why(r, &why);
    else
        broker_dead_list(request_gateway(r)->broker, (size_t)limit, on_listed, r);
}

/* ---- is it a job? ------------------------------------------------------------- */

/* As a worker will read it (worker/order.c). */
static enum err check(const struct gateway *gw, const struct dead_letter *l, struct fault *why)
{
    const struct msg       *m = l->msg;
    int                     id = kind_find(l->kind);
    const struct kind_spec *kind = id < 0 ? NULL : kinds[id];
    const struct input      in = {m->body, m->body_len, m->refs};
    struct decoded          job;
    uint64_t                result_max;
    enum err                e;

    if (l->bad.err)
        return fault_set(why, l->bad.err, "%s", l->bad.detail);
    if (!kind)
        return fault_set(why, ERR_UNDECODABLE, "there is no kind '%s'", l->kind);
    e = kind_decode(kind, m, &job, why);
    if (!e && m->body_len > gw->limits.inline_max)
        e = fault_set(why, ERR_BODY, "its input has %zu bytes; %zu travel in a message", m->body_len,
                      gw->limits.inline_max);
    return e ? e : kind->check(&job.args, &in, &gw->limits, &result_max, why);
}

/* ---- POST /dead/ID/replay ------------------------------------------------------- */

struct replay {
    struct request *request;
    struct gateway *gw;
    struct msg     *msg; /* owned: what is published; NULL before it was found */
    uint64_t        hold;
    bool            is_kept; /* the outbox has it, too */
    struct fault    why;     /* err == ERR_OK: it was published */
};

static void replay_answer(struct replay *p)
{
    struct buf body = {0};

    if (p->why.err) {
        request_fail_why(p->request, &p->why);
    } else {
        log_event(EVENT_JOB_REPLAYED, LOG_JOB(p->msg->id, p->msg->kind, p->msg->attempt));
        buf_printf(&body, "{\"id\":\"%s\",\"kind\":\"%s\",\"links\":{\"self\":\"/jobs/%s\"}}\n", p->msg->id,
                   p->msg->kind, p->msg->id);
        request_answer(p->request, 202, "application/json", &body);
    }
    p->gw->submits--;
    msg_free(p->msg);
    free(p);
}

/* Where the connection was lost meanwhile the message may be dead and alive: a claim will know it for a duplicate. */
static void on_settled(void *ctx, const struct browsed *seen)
{
    (void)seen;
    replay_answer(ctx);
}

static void let_go(struct replay *p)
{
    if (!broker_dead_settle(p->gw->broker, p->hold, !p->why.err, on_settled, p))
        replay_answer(p);
}

static void on_forgotten(void *ctx, const struct store_reply *reply)
{
    (void)reply; /* not forgotten: it is sent twice, which claims sort out */
    let_go(ctx);
}

static void on_published(void *ctx, enum broker_outcome outcome)
{
    struct replay *p = ctx;
    const char    *more =
        p->is_kept ? "; its job is pending again and is sent from the outbox" : "; the dead message is still there";

    if (outcome == BROKER_UNKNOWN)
        (void)fault_set(&p->why, ERR_UNKNOWN_OUTCOME, "the queue did not confirm in time%s", more);
    else if (outcome != BROKER_CONFIRMED)
        (void)fault_set(&p->why, ERR_BROKER_AWAY, "the queue did not take the message%s", more);
    if (!p->why.err && p->is_kept)
        store_outbox_done(p->gw->store, p->msg->id, on_forgotten, p);
    else
        let_go(p);
}

static void set_ended(const struct record *record, struct fault *why)
{
    if (*record->parent)
        (void)fault_set(why, ERR_WRONG_STATE, "the job is member %lld of the group %s; only all of it can be retried",
                        (long long)record->member, record->parent);
    else
        (void)fault_set(why, ERR_WRONG_STATE, "the job is %s: this message would not be run any more",
                        job_state_name(record->state));
}

/* The store knows whether its job may run; a message without a record is a foreign one, and makes its own. */
static void on_asked(void *ctx, const struct store_reply *reply)
{
    struct replay *p = ctx;

    switch (reply->answer) {
    case STORE_OK:
    case STORE_EXISTS:
    case STORE_GONE:
        p->is_kept = reply->answer == STORE_OK;
        p->msg->epoch = reply->answer == STORE_GONE ? 0 : reply->epoch;
        broker_publish(p->gw->broker, p->msg, BROKER_TO_WORK, 0, p->gw->settings.confirm_ms, on_published, p);
        return;
    case STORE_REFUSED:
        set_ended(reply->record, &p->why);
        break;
    case STORE_FULL:
        (void)fault_set(&p->why, ERR_STORE_FULL, "Redis has reached its maxmemory");
        break;
    default:
        (void)fault_set(&p->why, ERR_STORE_DOWN, "Redis does not answer");
        break;
    }
    let_go(p);
}

static void on_found(void *ctx, const struct browsed *seen)
{
    struct replay *p = ctx;
    struct fault   bad;

    if (seen->outcome == BROWSE_NOT_FOUND && seen->total > DEAD_READ_MAX)
        (void)fault_set(&p->why, ERR_NOT_FOUND, "it is not among the first %d dead messages; replay those first",
                        DEAD_READ_MAX);
    else if (seen->outcome == BROWSE_NOT_FOUND)
        (void)fault_set(&p->why, ERR_NOT_FOUND, "there is no such dead message");
    else if (seen->outcome != BROWSE_OK)
        set_trouble(seen->outcome, &p->why);
    if (p->why.err) {
        replay_answer(p);
        return;
    }
    p->hold = seen->hold;
    if (check(p->gw, seen->letters, &bad)) {
        (void)fault_set(&p->why, ERR_WRONG_STATE, "it is still no job: %s", bad.detail);
        let_go(p);
        return;
    }
    p->msg = msg_dup(seen->letters->msg);
    job_copy_new(p->msg->copy);
    p->msg->deadline_ms = 0; /* a person wants it to run */
    store_replay(p->gw->store, p->msg, on_asked, p);
}

static void dead_replay_end(struct request *r)
{
    static const char *const parameters[] = {NULL};
    struct replay           *p;
    struct fault             why;

    if (query_only(r, parameters, &why)) {
        request_fail_why(r, &why);
        return;
    }
    p = xcalloc(1, sizeof *p);
    p->request = r;
    p->gw = request_gateway(r);
    p->gw->submits++;
    broker_dead_find(p->gw->broker, request_segment(r), on_found, p);
}

const struct handler dead_list_handler = {NULL, NULL, dead_list_end, NULL};
const struct handler dead_replay_handler = {NULL, NULL, dead_replay_end, NULL};
