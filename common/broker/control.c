/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - the channel that each connection keeps for declares.
 *
 * One job at a time: a round of the topology, or a round of passive declares
 * that read the queues' lengths. A job's methods leave together; the broker
 * answers in order, so a count of answers says which step an error means.
 * A passive declare of a missing queue closes the channel and drops what was
 * sent behind it: the round goes on after the next channel.open.
 */
#include "common/broker/broker_impl.h"

#include <stdlib.h>

#include "common/log.h"

static void open_channel(struct conn *c)
{
    amqp_channel_open_t open = {.out_of_band = amqp_empty_bytes};

    c->control.job = CONTROL_OPENING;
    frames_method(c, c->control.channel, AMQP_CHANNEL_OPEN_METHOD, &open);
}

void control_start(struct conn *c)
{
    c->control.wanted = c->control.started + 1;
    open_channel(c);
}

void control_stop(struct conn *c)
{
    free(c->control.ready);
    c->control.ready = NULL;
    c->control.depths_wanted = false;
    c->control.job = CONTROL_OPENING;
}

static void start_topology(struct conn *c)
{
    c->control.job = CONTROL_TOPOLOGY;
    c->control.answered = 0;
    c->control.started++;
    c->control.started_ms = c->b->now_ms;
    for (int i = 0; i < topology_steps(c->b); i++)
        topology_send(c, c->control.channel, i);
}

/* Begins a round, or goes on with one that a missing queue has cut. */
static void start_depths(struct conn *c)
{
    struct control *k = &c->control;

    k->job = CONTROL_DEPTHS;
    k->depths_wanted = false;
    if (!k->ready) {
        k->answered = 0;
        k->ready = xcalloc((size_t)c->b->config.kind_count, sizeof *k->ready);
    }
    for (int i = k->answered; i < c->b->config.kind_count; i++) {
        char                 name[QUEUE_NAME_BYTES];
        amqp_queue_declare_t declare = {.passive = 1};

        topology_work_queue(c->b->config.kinds[i], name);
        declare.queue = bytes_of(name);
        frames_method(c, k->channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
    }
}

/* Whether the answer of kind number `answered` was the last one. */
static bool end_depths(struct conn *c)
{
    struct control *k = &c->control;
    struct note    *n;

    if (k->answered < c->b->config.kind_count)
        return false;
    n = note_new(NOTE_DEPTHS, 0);
    n->ready = k->ready;
    k->ready = NULL;
    loop_say(c->b, n);
    return true;
}

void control_step(struct conn *c)
{
    struct control *k = &c->control;

    if (c->state != CONN_OPEN || k->job != CONTROL_FREE)
        return;
    if (k->ready)
        start_depths(c);
    else if (k->wanted > k->finished)
        start_topology(c);
    else if (k->depths_wanted)
        start_depths(c);
}

unsigned control_want_topology(struct conn *c)
{
    c->control.wanted = c->control.started + 1;
    control_step(c);
    return c->control.wanted;
}

void control_want_depths(struct conn *c)
{
    c->control.depths_wanted = true;
    control_step(c);
}

static void on_answer(struct conn *c, const struct frame *f)
{
    struct control *k = &c->control;

    if (k->job == CONTROL_DEPTHS && f->method == AMQP_QUEUE_DECLARE_OK_METHOD) {
        amqp_queue_declare_ok_t *ok = f->decoded;

        k->ready[k->answered++] = ok->message_count;
        if (!end_depths(c))
            return;
        k->job = CONTROL_FREE;
    } else if (k->job == CONTROL_TOPOLOGY) {
        if (++k->answered < topology_steps(c->b))
            return;
        k->job = CONTROL_FREE;
        k->finished = k->started;
        conn_topology_stands(c);
    }
    control_step(c);
}

/* Which step of the topology the broker has refused. */
static void say_refused(struct conn *c, int code, amqp_bytes_t text)
{
    char what[QUEUE_NAME_BYTES + 16];

    topology_describe(c->b, c->control.answered, what);
    log_event(EVENT_BROKER_TOPOLOGY, LOG_TEXT("what", what), LOG_INT("code", code),
              LOG_BYTES("reason", text.bytes, text.len));
}

static void on_close(struct conn *c, const amqp_channel_close_t *close)
{
    struct control         *k = &c->control;
    amqp_channel_close_ok_t ok = {0};

    if (k->job == CONTROL_TOPOLOGY) {
        say_refused(c, close->reply_code, close->reply_text);
        conn_fail(c, "the topology cannot be declared");
        return;
    }
    frames_method(c, k->channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    if (k->job == CONTROL_DEPTHS) {
        k->ready[k->answered++] = -1;
        end_depths(c);
        k->wanted = k->started + 1; /* a queue is missing: declare it again */
    }
    open_channel(c);
}

/* A broker that was killed within moments of a queue's first declaration may know its name and nothing else of it;
 * it then answers with an internal error on the connection. Only the operator can delete such a queue. */
void control_on_connection_close(struct conn *c, const amqp_connection_close_t *close)
{
    if (c->control.job != CONTROL_TOPOLOGY || close->reply_code != AMQP_INTERNAL_ERROR)
        return;
    say_refused(c, close->reply_code, close->reply_text);
}

void control_on_method(struct conn *c, const struct frame *f)
{
    switch (f->method) {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
        c->control.job = CONTROL_FREE;
        control_step(c);
        break;
    case AMQP_QUEUE_DECLARE_OK_METHOD:
    case AMQP_EXCHANGE_DECLARE_OK_METHOD:
    case AMQP_QUEUE_BIND_OK_METHOD:
        on_answer(c, f);
        break;
    case AMQP_CHANNEL_CLOSE_METHOD:
        on_close(c, f->decoded);
        break;
    default:
        break;
    }
}
