/* SPDX-License-Identifier: Apache-2.0 */
/* broker.c - the public face: starting, stopping and the calls.
 *
 * A call only changes our own memory; what it wants leaves in the turn that it
 * asks for, together with all others made by then.
 */
#include "common/broker/broker_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"

/* ---- starting ---- */

static enum err read_url(struct broker *b, const char *url, struct fault *why)
{
    int status;

    b->url = xstrdup(url);
    status = amqp_parse_url(b->url, &b->account);
    if (status != AMQP_STATUS_OK)
        return fault_set(why, ERR_CONFIG, "MILLRACE_AMQP_URL must read amqp://user:password@host:port/vhost: %s",
                         amqp_error_string2(status));
    if (b->account.ssl)
        return fault_set(why, ERR_CONFIG, "MILLRACE_AMQP_URL must begin with amqp://: amqps is not supported");
    return ERR_OK;
}

static void free_broker(struct broker *b)
{
    for (int i = 0; i < CONN_COUNT; i++)
        conn_fini(&b->conns[i]);
    free(b->consumer.chans);
    free(b->url);
    free(b);
}

enum err broker_start(uv_loop_t *loop, const struct broker_config *config, const struct broker_events *events,
                      void *ctx, struct broker **out, struct fault *why)
{
    struct broker *b = xcalloc(1, sizeof *b);
    enum err       e;

    b->config = *config;
    b->events = events;
    b->ctx = ctx;
    b->loop = loop;
    b->armed_ms = INT64_MAX;
    b->dice = (uint64_t)mono_us() << 20 ^ (uint64_t)getpid() ^ 1;
    b->consumer.chans = xcalloc((size_t)config->channels, sizeof *b->consumer.chans);
    for (int i = 0; i < config->channels; i++)
        b->consumer.chans[i].reopen_ms = INT64_MAX;
    for (int i = 0; i < CONN_COUNT; i++)
        conn_init(&b->conns[i], b, i);
    e = read_url(b, config->url, why);
    if (e) {
        free_broker(b);
        return e;
    }
    uv_idle_init(loop, &b->turn);
    uv_timer_init(loop, &b->clock);
    b->turn.data = b->clock.data = b;
    b->handles = 2;
    loop_want_turn(b); /* sets the clock, which rings at once for the first connects */
    *out = b;
    return ERR_OK;
}

/* ---- stopping ---- */

static void on_closed(uv_handle_t *handle)
{
    struct broker *b = handle->data;

    if (--b->handles == 0)
        free_broker(b);
}

void broker_stop(struct broker *b)
{
    if (!b)
        return;
    conn_goodbye(b); /* ends all publishes and looks */
    b->is_stopped = true;
    b->publisher_is_up = b->consumer_is_up = false;
    while (b->said.first) /* also of what is called from in here */
        loop_tell(b);
    uv_close((uv_handle_t *)&b->turn, on_closed);
    uv_close((uv_handle_t *)&b->clock, on_closed);
}

/* ---- calls ---- */

static struct request *request_new(struct msg *m, enum broker_target to, int rung, int64_t deadline_ms,
                                   broker_publish_fn *done, void *ctx)
{
    struct request *r = xcalloc(1, sizeof *r);

    assert(done && rung >= 0);
    r->note.type = NOTE_PUBLISHED;
    r->msg = msg_ref(m);
    r->to = to;
    r->rung = rung;
    r->done = done;
    r->ctx = ctx;
    r->deadline_ms = mono_ms() + deadline_ms;
    return r;
}

static void take(struct broker *b, struct request *taken)
{
    loop_add_deadline(b, taken);
    publish_take(b, taken);
    loop_want_turn(b);
}

void broker_publish(struct broker *b, struct msg *m, enum broker_target to, int rung, int64_t deadline_ms,
                    broker_publish_fn *done, void *ctx)
{
    take(b, request_new(m, to, rung, deadline_ms, done, ctx));
}

void broker_bury(struct broker *b, const struct delivery *d, const char *reason, int64_t deadline_ms,
                 broker_publish_fn *done, void *ctx)
{
    struct request *r = request_new(d->msg, BROKER_TO_DEAD, 0, deadline_ms, done, ctx);
    char            queue[QUEUE_NAME_BYTES];

    topology_work_queue(b->config.kinds[d->kind], queue);
    burial_encode(d, reason, queue, &r->head);
    take(b, r);
}

void broker_consume(struct broker *b, int channel, int kind)
{
    consume_begin(b, channel, kind);
    loop_want_turn(b);
}

void broker_unconsume(struct broker *b, int channel)
{
    consume_end(b, channel);
    loop_want_turn(b);
}

void broker_ack(struct broker *b, const struct delivery *d)
{
    consume_ack(b, d);
    loop_want_turn(b);
}

void broker_nack(struct broker *b, const struct delivery *d, bool requeue)
{
    consume_nack(b, d, requeue);
    loop_want_turn(b);
}

void broker_ask_depths(struct broker *b)
{
    struct conn *c = &b->conns[b->config.channels ? CONN_CONSUME : CONN_PUBLISH];

    if (c->is_up && !c->is_blocked)
        control_want_depths(c);
    loop_want_turn(b);
}

bool broker_publisher_is_up(const struct broker *b) { return b->publisher_is_up; }

bool broker_consumer_is_up(const struct broker *b) { return b->consumer_is_up; }

int64_t broker_confirms_outstanding(const struct broker *b) { return b->unanswered; }
