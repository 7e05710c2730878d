/* SPDX-License-Identifier: Apache-2.0 */
/* publish.c - requests out, confirms in.
 *
 * A request waits in a FIFO until the window has room: 256 messages and 1 MiB
 * that the broker has not confirmed. Sent ones are kept by delivery tag, since
 * confirms come out of order when queues differ. A return names no tag: it is
 * matched by message-id and address, and comes before its (positive) ack.
 *
 * A message whose deadline is over and that stays unconfirmed (a queue without
 * its majority) leaves the window, so that one dead queue does not stop the
 * others; it keeps its tag, up to OUTSTANDING_MAX of them.
 */
#include "common/broker/broker_impl.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

#define WINDOW_COUNT 256
#define WINDOW_BYTES (1u << 20)
#define OUTSTANDING_MAX 4096
#define OUT_HIGH_BYTES 131072 /* written to the socket before more is encoded */
#define FIXED_BYTES 512       /* of a message beside body and params, about */
#define REDECLARE_MS 1000     /* least time between topology rounds for returned messages */

static struct conn *conn_of(struct broker *b) { return &b->conns[CONN_PUBLISH]; }

static void announce(struct broker *b, bool is_up)
{
    if (b->publisher.is_announced == is_up)
        return;
    b->publisher.is_announced = is_up;
    loop_say_flag(b, NOTE_PUBLISHER, is_up);
}

static void give_back(struct broker *b, struct request *r, enum broker_outcome outcome)
{
    r->state = REQUEST_ENDED;
    r->outcome = outcome;
    loop_say(b, &r->note);
}

/* Where r goes: the exchange, and the routing key, which for a delay is the
 * queue it comes to in the end. */
static void address(const struct request *r, char exchange[QUEUE_NAME_BYTES], char key[QUEUE_NAME_BYTES])
{
    exchange[0] = 0;
    if (r->to == BROKER_TO_DELAY)
        topology_delay(r->rung, exchange);
    if (r->to == BROKER_TO_DEAD)
        snprintf(key, QUEUE_NAME_BYTES, "%s", topology_dead_queue());
    else
        topology_work_queue(r->msg->kind, key);
}

/* ---- what is outstanding ---- */

static struct request **bucket(struct publisher *p, uint64_t tag)
{
    return &p->buckets[tag % (sizeof p->buckets / sizeof *p->buckets)];
}

static void outstanding_add(struct publisher *p, struct request *r)
{
    struct request **head;

    r->tag = p->next_tag++;
    r->newer = NULL;
    r->older = p->newest;
    *(p->newest ? &p->newest->newer : &p->oldest) = r;
    p->newest = r;
    head = bucket(p, r->tag);
    r->bucket_next = *head;
    *head = r;
    r->is_counted = true;
    p->outstanding++;
    p->counted++;
    p->counted_bytes += r->bytes;
}

static void uncount(struct publisher *p, struct request *r)
{
    if (!r->is_counted)
        return;
    r->is_counted = false;
    p->counted--;
    p->counted_bytes -= r->bytes;
}

static void outstanding_remove(struct publisher *p, struct request *r)
{
    struct request **at = bucket(p, r->tag);

    while (*at != r)
        at = &(*at)->bucket_next;
    *at = r->bucket_next;
    *(r->older ? &r->older->newer : &p->oldest) = r->newer;
    *(r->newer ? &r->newer->older : &p->newest) = r->older;
    p->outstanding--;
    uncount(p, r);
}

static void settle(struct broker *b, struct request *r, enum broker_outcome outcome)
{
    outstanding_remove(&b->publisher, r);
    give_back(b, r, r->is_returned ? BROKER_RETURNED : outcome);
}

void publish_expire(struct broker *b, struct request *r)
{
    if (r->state == REQUEST_SENT)
        uncount(&b->publisher, r); /* it keeps its tag until the broker settles it, or for ever */
}

static void on_confirm(struct broker *b, uint64_t tag, bool is_multiple, enum broker_outcome outcome)
{
    struct publisher *p = &b->publisher;

    if (is_multiple) {
        while (p->oldest && (tag == 0 || p->oldest->tag <= tag))
            settle(b, p->oldest, outcome);
        return;
    }
    for (struct request *r = *bucket(p, tag); r; r = r->bucket_next)
        if (r->tag == tag) {
            settle(b, r, outcome);
            return;
        }
}

/* ---- returns ---- */

static void on_return(struct conn *c, const amqp_basic_return_t *ret)
{
    struct publisher *p = &c->b->publisher;

    snprintf(p->returned_exchange, sizeof p->returned_exchange, "%.*s", (int)ret->exchange.len,
             (const char *)ret->exchange.bytes);
    snprintf(p->returned_key, sizeof p->returned_key, "%.*s", (int)ret->routing_key.len,
             (const char *)ret->routing_key.bytes);
    p->return_is_open = true;
}

static void mark_returned(struct publisher *p, const char *id)
{
    char exchange[QUEUE_NAME_BYTES], key[QUEUE_NAME_BYTES];

    for (struct request *r = p->oldest; r; r = r->newer) {
        if (!r->msg || r->is_returned || (!r->head.len && strcmp(r->msg->id, id) != 0))
            continue; /* what is buried may have had any id: its queue alone tells it */
        address(r, exchange, key);
        if (strcmp(exchange, p->returned_exchange) == 0 && strcmp(key, p->returned_key) == 0) {
            r->is_returned = true;
            return;
        }
    }
}

void publish_on_content(struct conn *c, const struct frame *f)
{
    struct publisher *p = &c->b->publisher;
    char              id[JOB_ID_BYTES];

    if (f->type != AMQP_FRAME_HEADER || !p->return_is_open)
        return;
    p->return_is_open = false;
    wire_message_id(f->payload, &c->pool, id);
    mark_returned(p, id);
    if (c->control.job == CONTROL_FREE && c->b->now_ms - c->control.started_ms >= REDECLARE_MS)
        control_want_topology(c); /* its queue is gone: the next one shall find it */
}

/* ---- the channel ---- */

void publish_start(struct conn *c)
{
    amqp_channel_open_t   open = {.out_of_band = amqp_empty_bytes};
    amqp_confirm_select_t select = {.nowait = 0};

    c->b->publisher.next_tag = 1;
    frames_method(c, PUBLISH_CHANNEL, AMQP_CHANNEL_OPEN_METHOD, &open);
    frames_method(c, PUBLISH_CHANNEL, AMQP_CONFIRM_SELECT_METHOD, &select);
}

static void refuse_waiting(struct broker *b)
{
    struct note *n;

    announce(b, false);
    while ((n = notes_pop(&b->publisher.waiting)))
        give_back(b, (struct request *)n, BROKER_DOWN);
}

void publish_stop(struct broker *b)
{
    struct publisher *p = &b->publisher;

    p->is_open = false;
    p->return_is_open = false;
    refuse_waiting(b);
    while (p->oldest)
        settle(b, p->oldest, BROKER_UNKNOWN);
}

void publish_set_blocked(struct conn *c, bool is_blocked)
{
    c->is_blocked = is_blocked;
    if (is_blocked)
        refuse_waiting(c->b);
    else if (c->b->publisher.is_open)
        announce(c->b, true);
}

void publish_on_method(struct conn *c, const struct frame *f)
{
    struct broker *b = c->b;

    if (f->method == AMQP_BASIC_ACK_METHOD) {
        const amqp_basic_ack_t *ack = f->decoded;

        on_confirm(b, ack->delivery_tag, ack->multiple, BROKER_CONFIRMED);
    } else if (f->method == AMQP_BASIC_NACK_METHOD) {
        const amqp_basic_nack_t *nack = f->decoded;

        on_confirm(b, nack->delivery_tag, nack->multiple, BROKER_NACKED);
    } else if (f->method == AMQP_BASIC_RETURN_METHOD) {
        on_return(c, f->decoded);
    } else if (f->method == AMQP_CONFIRM_SELECT_OK_METHOD) {
        b->publisher.is_open = true;
        announce(b, !c->is_blocked);
    } else if (f->method == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *close = f->decoded;

        /* the confirms die with it, so nothing is won by keeping the connection */
        conn_fail(c, "publishing channel closed: %d %.*s", close->reply_code, (int)close->reply_text.len,
                  (const char *)close->reply_text.bytes);
    }
}

/* ---- sending ---- */

void publish_take(struct broker *b, struct request *taken)
{
    taken->bytes = taken->msg->body_len + strlen(taken->msg->params) + taken->head.len + FIXED_BYTES;
    if (b->publisher.is_announced)
        notes_push(&b->publisher.waiting, &taken->note);
    else
        give_back(b, taken, BROKER_DOWN);
}

static bool has_room(const struct broker *b, size_t bytes)
{
    const struct publisher *p = &b->publisher;

    return p->counted < WINDOW_COUNT && (!p->counted || p->counted_bytes + bytes <= WINDOW_BYTES) &&
           p->outstanding < OUTSTANDING_MAX;
}

static void send_request(struct conn *c, struct request *r)
{
    struct broker *b = c->b;
    char           exchange[QUEUE_NAME_BYTES], key[QUEUE_NAME_BYTES];

    if (!r->done) { /* its deadline is over */
        give_back(b, r, BROKER_DOWN);
        return;
    }
    address(r, exchange, key);
    if (!frames_publish(c, PUBLISH_CHANNEL, exchange, key, r->msg, r->head.len ? &r->head : NULL)) {
        log_event(EVENT_PUBLISH_REFUSED, LOG_JOB(r->msg->id, r->msg->kind, r->msg->attempt),
                  LOG_INT("frame_bytes", (int64_t)c->frame_max));
        give_back(b, r, BROKER_NACKED);
        return;
    }
    r->state = REQUEST_SENT;
    outstanding_add(&b->publisher, r);
}

void publish_pump(struct broker *b)
{
    struct conn      *c = conn_of(b);
    struct publisher *p = &b->publisher;

    while (p->is_announced && p->waiting.first) {
        struct request *r = (struct request *)p->waiting.first;

        if (frames_unwritten(c) >= OUT_HIGH_BYTES)
            frames_flush(c); /* may lose the connection, and then waiting is empty */
        if (!p->waiting.first || frames_unwritten(c) >= OUT_HIGH_BYTES)
            return;
        if (r->done && !has_room(b, r->bytes))
            return;
        notes_pop(&p->waiting);
        send_request(c, r);
    }
}
