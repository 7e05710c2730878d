/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - the turns: what is told to the callbacks, and when clocks ring.
 *
 * Whatever happens is first said (a note), and told at the end of the turn, in
 * order. Deadlines answer a publish wherever it is: in the window's queue, on
 * the wire or already in a note.
 */
#include "common/broker/broker_impl.h"

#include <stdlib.h>

#include "common/clock.h"

/* ---- notes ---- */

void notes_push(struct notes *n, struct note *taken)
{
    taken->next = NULL;
    *(n->last ? &n->last->next : &n->first) = taken;
    n->last = taken;
}

struct note *notes_pop(struct notes *n)
{
    struct note *first = n->first;

    if (first) {
        n->first = first->next;
        if (!n->first)
            n->last = NULL;
    }
    return first;
}

struct note *note_new(enum note_type type, int channel)
{
    struct note *n = xcalloc(1, sizeof *n);

    n->type = type;
    n->channel = channel;
    return n;
}

void note_free(struct note *n)
{
    delivery_free(n->delivery);
    free(n->ready);
    free(n);
}

void delivery_free(struct delivery *d)
{
    if (!d)
        return;
    msg_free(d->msg);
    free(d->raw);
    free(d);
}

void loop_say(struct broker *b, struct note *taken) { notes_push(&b->said, taken); }

void loop_say_flag(struct broker *b, enum note_type type, bool flag)
{
    struct note *n = note_new(type, 0);

    n->flag = flag;
    loop_say(b, n);
}

double loop_dice(struct broker *b)
{
    b->dice ^= b->dice << 13; /* xorshift64: spreads reconnects, no more is asked of it */
    b->dice ^= b->dice >> 7;
    b->dice ^= b->dice << 17;
    return (double)(b->dice >> 11) / 9007199254740992.0;
}

/* ---- telling ---- */

static void tell(struct broker *b, struct note *n)
{
    const struct broker_events *on = b->events;
    struct delivery            *d;

    switch (n->type) {
    case NOTE_PUBLISHED:
    case NOTE_BROWSED:
        break;
    case NOTE_PUBLISHER:
        b->publisher_is_up = n->flag;
        on->publisher(b->ctx, n->flag);
        break;
    case NOTE_CONSUMER:
        b->consumer_is_up = n->flag;
        on->consumer(b->ctx, n->flag);
        break;
    case NOTE_READY:
        on->channel_ready(b->ctx, n->channel);
        break;
    case NOTE_LOST:
        on->channel_lost(b->ctx, n->channel);
        break;
    case NOTE_CONSUMING:
        on->consuming(b->ctx, n->channel, n->kind);
        break;
    case NOTE_IDLE:
        on->idle(b->ctx, n->channel, n->flag);
        break;
    case NOTE_DELIVERY:
        d = n->delivery;
        n->delivery = NULL;
        on->delivery(b->ctx, d);
        break;
    case NOTE_DEPTHS:
        on->depths(b->ctx, n->ready);
        break;
    }
}

/* After broker_stop, which a callback may have called, only publishes and looks are answered. */
void loop_tell(struct broker *b)
{
    struct note *last = b->said.last; /* what the callbacks add comes in the next turn */
    struct note *n;

    while ((n = notes_pop(&b->said))) {
        bool is_last = n == last;

        if (n->type == NOTE_PUBLISHED) {
            loop_end_request(b, (struct request *)n, ((struct request *)n)->outcome);
            request_free((struct request *)n);
        } else if (n->type == NOTE_BROWSED) {
            look_end((struct look *)n);
        } else {
            if (!b->is_stopped)
                tell(b, n);
            note_free(n);
        }
        if (is_last)
            break;
    }
}

/* ---- turns ---- */

static int64_t next_ring_ms(const struct broker *b)
{
    int64_t ring = consume_wake_ms(b);

    if (browse_wake_ms(b) < ring)
        ring = browse_wake_ms(b);
    if (b->soonest && b->soonest->deadline_ms < ring)
        ring = b->soonest->deadline_ms;
    for (int i = 0; i < CONN_COUNT; i++)
        if (conn_wake_ms(&b->conns[i]) < ring)
            ring = conn_wake_ms(&b->conns[i]);
    return ring;
}

static void on_clock(uv_timer_t *clock);

/* A clock that rings too early costs less than one that is moved with every frame. */
static void set_clock(struct broker *b)
{
    int64_t ring = next_ring_ms(b);
    int64_t wait = ring - mono_ms();

    if (ring >= b->armed_ms)
        return;
    b->armed_ms = ring;
    uv_update_time(b->loop);
    uv_timer_start(&b->clock, on_clock, wait > 0 ? (uint64_t)wait : 0, 0);
}

void loop_begin_turn(struct broker *b) { b->now_ms = mono_ms(); }

void loop_end_turn(struct broker *b)
{
    loop_tell(b);
    if (b->is_stopped)
        return;
    publish_pump(b);
    browse_pump(b);
    for (int i = 0; i < CONN_COUNT; i++)
        conn_flush(&b->conns[i]);
    set_clock(b);
    if (b->said.first)
        loop_want_turn(b);
    else
        uv_idle_stop(&b->turn); /* what the callbacks asked for is done */
}

static void on_turn(uv_idle_t *turn)
{
    struct broker *b = turn->data;

    uv_idle_stop(turn);
    loop_begin_turn(b);
    loop_end_turn(b);
}

void loop_want_turn(struct broker *b)
{
    if (!b->is_stopped)
        uv_idle_start(&b->turn, on_turn);
}

/* ---- deadlines: a list in their order. A program has one or two lengths of
 * them, so the place of a new one is found at once from the end. ---- */

void loop_add_deadline(struct broker *b, struct request *r)
{
    struct request *before = b->latest;

    while (before && before->deadline_ms > r->deadline_ms)
        before = before->sooner;
    r->sooner = before;
    r->later = before ? before->later : b->soonest;
    *(r->later ? &r->later->sooner : &b->latest) = r;
    *(before ? &before->later : &b->soonest) = r;
    b->unanswered++;
}

void loop_end_request(struct broker *b, struct request *r, enum broker_outcome outcome)
{
    broker_publish_fn *done = r->done;

    if (!done)
        return;
    *(r->sooner ? &r->sooner->later : &b->soonest) = r->later;
    *(r->later ? &r->later->sooner : &b->latest) = r->sooner;
    r->done = NULL;
    b->unanswered--;
    msg_free(r->msg);
    r->msg = NULL;
    done(r->ctx, outcome);
}

static void end_overdue(struct broker *b)
{
    while (b->soonest && b->soonest->deadline_ms <= b->now_ms) {
        struct request *r = b->soonest;

        publish_expire(b, r);
        loop_end_request(b, r,
                         r->state == REQUEST_ENDED  ? r->outcome
                         : r->state == REQUEST_SENT ? BROKER_UNKNOWN
                                                    : BROKER_DOWN);
    }
}

static void on_clock(uv_timer_t *clock)
{
    struct broker *b = clock->data;

    b->armed_ms = INT64_MAX;
    loop_begin_turn(b);
    end_overdue(b);
    if (b->is_stopped)
        return;
    for (int i = 0; i < CONN_COUNT; i++)
        conn_on_time(&b->conns[i]);
    consume_on_time(&b->conns[CONN_CONSUME]);
    browse_on_time(b);
    loop_end_turn(b);
}

void request_free(struct request *r)
{
    msg_free(r->msg);
    buf_free(&r->head);
    free(r);
}
