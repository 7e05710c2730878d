/* SPDX-License-Identifier: Apache-2.0 */
/* consume.c - the consuming channels, each with prefetch 1 and at most one consumer.
 *
 * A generation is one opening of one channel. Acks carry the one they mean, so
 * that those for a delivery of an earlier one are dropped.
 *
 *   CLOSED -> OPENING -> IDLE -> STARTING -> CONSUMING -> STOPPING -> IDLE
 *               \                                \ basic.cancel
 *                \-- its queue was missing -----> CANCELLED -- topology --> IDLE
 *   any -- channel.close, connection lost --> CLOSED
 */
#include "common/broker/broker_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define REOPEN_MS 1000 /* pause when a channel was closed twice within this time */
#define TAG_BYTES 48

static struct conn *conn_of(struct broker *b) { return &b->conns[CONN_CONSUME]; }

static int number_of(const struct broker *b, const struct chan *ch) { return (int)(ch - b->consumer.chans); }

/* Our own tags, so that a cancel may follow a consume without its answer. */
static amqp_bytes_t consumer_tag(const struct broker *b, const struct chan *ch, char out[TAG_BYTES])
{
    snprintf(out, TAG_BYTES, "slot-%d-%llu", number_of(b, ch), (unsigned long long)ch->generation);
    return bytes_of(out);
}

static void say(struct broker *b, enum note_type type, const struct chan *ch, bool flag)
{
    struct note *n = note_new(type, number_of(b, ch));

    n->kind = ch->kind;
    n->flag = flag;
    loop_say(b, n);
}

static void drop_content(struct chan *ch)
{
    delivery_free(ch->content);
    ch->content = NULL;
    ch->content_has_header = false;
}

/* ---- life of a channel ---- */

static void open_chan(struct conn *c, struct chan *ch)
{
    amqp_channel_open_t open = {.out_of_band = amqp_empty_bytes};
    amqp_basic_qos_t    qos = {.prefetch_count = 1};
    int                 channel = number_of(c->b, ch) + 1;

    ch->state = CHAN_OPENING;
    ch->generation = ++c->b->consumer.generation;
    ch->reopen_ms = INT64_MAX;
    frames_method(c, channel, AMQP_CHANNEL_OPEN_METHOD, &open);
    frames_method(c, channel, AMQP_BASIC_QOS_METHOD, &qos);
}

/* The channel has no consumer, and every queue exists as far as we know. */
static void become_idle(struct broker *b, struct chan *ch, bool by_broker)
{
    ch->state = CHAN_IDLE;
    if (ch->is_announced) {
        say(b, NOTE_IDLE, ch, by_broker);
    } else {
        ch->is_announced = true;
        say(b, NOTE_READY, ch, false);
    }
}

static void lose(struct broker *b, struct chan *ch)
{
    drop_content(ch);
    ch->state = CHAN_CLOSED;
    if (ch->is_announced)
        say(b, NOTE_LOST, ch, false);
    ch->is_announced = false;
    ch->is_cancelled = false;
}

static void wait_for_topology(struct conn *c, struct chan *ch)
{
    ch->state = CHAN_CANCELLED;
    ch->topology = control_want_topology(c);
}

static void on_close(struct conn *c, struct chan *ch, const amqp_channel_close_t *close)
{
    amqp_channel_close_ok_t ok = {0};
    struct broker          *b = c->b;

    log_event(EVENT_BROKER_CHANNEL_CLOSED, LOG_INT("channel", number_of(b, ch)), LOG_INT("code", close->reply_code),
              LOG_BYTES("reason", close->reply_text.bytes, close->reply_text.len));
    frames_method(c, number_of(b, ch) + 1, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    lose(b, ch);
    if (close->reply_code == AMQP_NOT_FOUND)
        ch->topology = control_want_topology(c);
    ch->reopen_ms = b->now_ms - ch->closed_ms < REOPEN_MS ? b->now_ms + REOPEN_MS : b->now_ms;
    ch->closed_ms = b->now_ms;
}

static void on_cancel(struct conn *c, struct chan *ch)
{
    log_event(EVENT_BROKER_CONSUMER_CANCELLED, LOG_INT("channel", number_of(c->b, ch)),
              LOG_TEXT("kind", c->b->config.kinds[ch->kind]));
    if (ch->state == CHAN_STOPPING)
        ch->is_cancelled = true; /* the answer to our own cancel still comes */
    else if (ch->state == CHAN_STARTING || ch->state == CHAN_CONSUMING)
        wait_for_topology(c, ch);
}

/* ---- deliveries ---- */

static void on_deliver(struct conn *c, struct chan *ch, const amqp_basic_deliver_t *deliver)
{
    struct delivery *d = xcalloc(1, sizeof *d);

    drop_content(ch);
    d->tag = deliver->delivery_tag;
    d->generation = ch->generation;
    d->channel = number_of(c->b, ch);
    d->kind = ch->kind;
    ch->content = d;
}

static void end_delivery(struct broker *b, struct chan *ch)
{
    struct note *n = note_new(NOTE_DELIVERY, number_of(b, ch));

    n->delivery = ch->content;
    ch->content = NULL;
    ch->content_has_header = false;
    loop_say(b, n);
}

static void on_header(struct conn *c, struct chan *ch, const struct frame *f)
{
    struct delivery *d = ch->content;
    uint64_t         size = wire_body_size(f->payload);

    d->msg = wire_decode(f->payload, &c->pool, c->b->config.kinds[d->kind], &d->bad);
    if (size > BODY_MAX && d->bad.err == ERR_OK)
        (void)fault_set(&d->bad, ERR_UNDECODABLE, "the body of %llu bytes is larger than %u bytes",
                        (unsigned long long)size, BODY_MAX);
    if (d->bad.err)
        d->raw = xmemdup(f->payload.bytes, d->raw_len = f->payload.len);
    if (size)
        d->msg->body = xmalloc(size < BODY_MAX ? size : BODY_MAX);
    ch->content_has_header = true;
    ch->content_remaining = size;
    if (!size)
        end_delivery(c->b, ch);
}

static void on_body(struct conn *c, struct chan *ch, const struct frame *f)
{
    struct msg *m = ch->content->msg;
    size_t      room = BODY_MAX - m->body_len;
    size_t      len = f->payload.len < room ? f->payload.len : room;

    if (f->payload.len > ch->content_remaining) {
        conn_fail(c, "the peer sent a longer body than it had announced");
        return;
    }
    memcpy((char *)m->body + m->body_len, f->payload.bytes, len);
    m->body_len += len;
    ch->content_remaining -= f->payload.len;
    if (!ch->content_remaining)
        end_delivery(c->b, ch);
}

static struct chan *chan_of(struct conn *c, const struct frame *f)
{
    int number = f->channel - 1;

    return number >= 0 && number < c->b->config.channels ? &c->b->consumer.chans[number] : NULL;
}

void consume_on_content(struct conn *c, const struct frame *f)
{
    struct chan *ch = chan_of(c, f);

    if (!ch || !ch->content)
        return;
    if (f->type == AMQP_FRAME_HEADER && !ch->content_has_header)
        on_header(c, ch, f);
    else if (f->type == AMQP_FRAME_BODY && ch->content_has_header)
        on_body(c, ch, f);
    else
        conn_fail(c, "the peer sent frames out of order");
}

/* ---- the connection's view ---- */

void consume_start(struct conn *c)
{
    struct broker *b = c->b;

    loop_say_flag(b, NOTE_CONSUMER, true);
    for (int i = 0; i < b->config.channels; i++) {
        b->consumer.chans[i].topology = 0; /* it stands */
        open_chan(c, &b->consumer.chans[i]);
    }
}

void consume_stop(struct broker *b)
{
    for (int i = 0; i < b->config.channels; i++) {
        lose(b, &b->consumer.chans[i]);
        b->consumer.chans[i].reopen_ms = INT64_MAX; /* with the connection, not by itself */
    }
    if (conn_of(b)->is_up)
        loop_say_flag(b, NOTE_CONSUMER, false);
}

void consume_topology_stands(struct conn *c)
{
    for (int i = 0; i < c->b->config.channels; i++) {
        struct chan *ch = &c->b->consumer.chans[i];

        if (ch->state == CHAN_CANCELLED && ch->topology <= c->control.finished)
            become_idle(c->b, ch, true);
    }
}

void consume_on_method(struct conn *c, const struct frame *f)
{
    struct chan *ch = chan_of(c, f);

    if (!ch)
        return;
    if (f->method == AMQP_BASIC_DELIVER_METHOD) {
        on_deliver(c, ch, f->decoded);
    } else if (f->method == AMQP_BASIC_QOS_OK_METHOD && ch->state == CHAN_OPENING) {
        if (ch->topology > c->control.finished)
            ch->state = CHAN_CANCELLED;
        else
            become_idle(c->b, ch, false);
    } else if (f->method == AMQP_BASIC_CONSUME_OK_METHOD && ch->state == CHAN_STARTING) {
        ch->state = CHAN_CONSUMING;
        say(c->b, NOTE_CONSUMING, ch, false);
    } else if (f->method == AMQP_BASIC_CANCEL_OK_METHOD && ch->state == CHAN_STOPPING) {
        if (ch->is_cancelled)
            wait_for_topology(c, ch);
        else
            become_idle(c->b, ch, false);
        ch->is_cancelled = false;
    } else if (f->method == AMQP_BASIC_CANCEL_METHOD) {
        on_cancel(c, ch); /* sent with nowait: no answer */
    } else if (f->method == AMQP_CHANNEL_CLOSE_METHOD) {
        on_close(c, ch, f->decoded);
    }
}

void consume_on_time(struct conn *c)
{
    for (int i = 0; i < c->b->config.channels && c->state == CONN_OPEN && c->is_up; i++)
        if (c->b->consumer.chans[i].state == CHAN_CLOSED && c->b->consumer.chans[i].reopen_ms <= c->b->now_ms)
            open_chan(c, &c->b->consumer.chans[i]);
}

int64_t consume_wake_ms(const struct broker *b)
{
    int64_t wake = INT64_MAX;

    for (int i = 0; i < b->config.channels; i++)
        if (b->consumer.chans[i].state == CHAN_CLOSED && b->consumer.chans[i].reopen_ms < wake)
            wake = b->consumer.chans[i].reopen_ms;
    return wake;
}

/* ---- what the caller wants ---- */

void consume_begin(struct broker *b, int channel, int kind)
{
    struct chan         *ch = &b->consumer.chans[channel];
    char                 name[QUEUE_NAME_BYTES], tag[TAG_BYTES];
    amqp_basic_consume_t consume = {.consumer_tag = consumer_tag(b, ch, tag)};

    if (ch->state != CHAN_IDLE)
        return; /* it was lost, and the caller will hear so in this turn */
    topology_work_queue(b->config.kinds[kind], name);
    consume.queue = bytes_of(name);
    ch->kind = kind;
    ch->state = CHAN_STARTING;
    frames_method(conn_of(b), channel + 1, AMQP_BASIC_CONSUME_METHOD, &consume);
}

void consume_end(struct broker *b, int channel)
{
    struct chan        *ch = &b->consumer.chans[channel];
    char                tag[TAG_BYTES];
    amqp_basic_cancel_t cancel = {.consumer_tag = consumer_tag(b, ch, tag)};

    if (ch->state != CHAN_STARTING && ch->state != CHAN_CONSUMING)
        return;
    ch->state = CHAN_STOPPING;
    frames_method(conn_of(b), channel + 1, AMQP_BASIC_CANCEL_METHOD, &cancel);
}

/* Whether the channel that delivered d is still there. */
static bool is_current(const struct broker *b, const struct delivery *d)
{
    const struct chan *ch = &b->consumer.chans[d->channel];

    return d->generation == ch->generation && ch->state != CHAN_CLOSED && ch->state != CHAN_OPENING;
}

void consume_ack(struct broker *b, const struct delivery *d)
{
    amqp_basic_ack_t ack = {.delivery_tag = d->tag};

    if (is_current(b, d))
        frames_method(conn_of(b), d->channel + 1, AMQP_BASIC_ACK_METHOD, &ack);
}

void consume_nack(struct broker *b, const struct delivery *d, bool requeue)
{
    amqp_basic_nack_t nack = {.delivery_tag = d->tag, .requeue = requeue};

    if (is_current(b, d))
        frames_method(conn_of(b), d->channel + 1, AMQP_BASIC_NACK_METHOD, &nack);
}
