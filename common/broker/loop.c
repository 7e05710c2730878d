/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - the loop's side of what comes back: answers, deadlines, watchdog.
 *
 * Deadlines live here, because the thread may hang while they pass. A request
 * that was answered by its deadline stays with the thread until that returns
 * it; what it says then is of no use to anybody, and it is freed.
 */
#include "broker_impl.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"

#define WATCHDOG_GRACE_MS 5000 /* beyond two heartbeats */

/* ---- notes ---- */

void notes_push(struct notes *n, struct note *taken)
{
    taken->next = NULL;
    *(n->last ? &n->last->next : &n->first) = taken;
    n->last = taken;
}

void notes_append(struct notes *n, struct notes *more)
{
    if (!more->first)
        return;
    *(n->last ? &n->last->next : &n->first) = more->first;
    n->last = more->last;
    *more = (struct notes){NULL, NULL};
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
    free(d);
}

/* ---- deadlines: a list in their order. A program has one or two lengths of
 * them, so the place of a new one is found at once from the end. ---- */

static void arm(struct broker *b)
{
    int64_t wait;

    if (b->is_stopped || !b->soonest || b->soonest->deadline_ms >= b->armed_ms)
        return; /* a timer that rings too early costs less than one moved for each confirm */
    wait = b->soonest->deadline_ms - mono_ms();
    b->armed_ms = b->soonest->deadline_ms;
    uv_timer_start(&b->deadlines, loop_on_deadline, wait > 0 ? (uint64_t)wait : 0, 0);
}

void loop_add_deadline(struct broker *b, struct request *r)
{
    struct request *before = b->latest;

    while (before && before->deadline_ms > r->deadline_ms)
        before = before->sooner;
    r->sooner = before;
    r->later = before ? before->later : b->soonest;
    *(r->later ? &r->later->sooner : &b->latest) = r;
    *(before ? &before->later : &b->soonest) = r;
    arm(b);
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
    done(r->ctx, outcome);
}

void loop_on_deadline(uv_timer_t *timer)
{
    struct broker *b = timer->data;
    int64_t        now = mono_ms();

    b->armed_ms = INT64_MAX;
    while (b->soonest && b->soonest->deadline_ms <= now) {
        struct request *r = b->soonest;
        int             waits = REQUEST_WAITS;

        if (atomic_compare_exchange_strong(&r->state, &waits, REQUEST_GIVEN_UP)) {
            loop_end_request(b, r, BROKER_DOWN); /* the thread will not send it any more */
        } else {
            atomic_store(&r->state, REQUEST_EXPIRED);
            loop_end_request(b, r, BROKER_UNKNOWN);
        }
    }
    arm(b);
}

void request_free(struct request *r)
{
    msg_free(r->msg);
    free(r);
}

/* ---- answers ---- */

static void deliver(struct broker *b, struct note *n)
{
    const struct broker_events *on = b->events;
    struct delivery            *d;

    switch (n->type) {
    case NOTE_PUBLISHER:
        b->publisher_is_up = n->flag;
        on->publisher(b->ctx, n->flag);
        break;
    case NOTE_CONSUMER:
        b->consumer_is_up = n->flag;
        on->consumer(b->ctx, n->flag);
        break;
    case NOTE_READY:
        b->generations[n->channel] = n->generation;
        on->channel_ready(b->ctx, n->channel);
        break;
    case NOTE_LOST:
        b->generations[n->channel] = 0;
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
    default:
        break;
    }
}

void loop_deliver(struct broker *b)
{
    struct note *n;

    while ((n = notes_pop(&b->inbox))) { /* broker_stop in a callback empties it */
        if (n->type == NOTE_PUBLISH) {
            struct request *r = (struct request *)n;

            loop_end_request(b, r, r->outcome);
            request_free(r);
        } else {
            deliver(b, n);
            note_free(n);
        }
    }
}

void loop_on_async(uv_async_t *async)
{
    struct broker *b = async->data;

    pthread_mutex_lock(&b->lock);
    notes_append(&b->inbox, &b->answers);
    pthread_mutex_unlock(&b->lock);
    loop_deliver(b);
}

/* ---- watchdog ---- */

void loop_on_watchdog(uv_timer_t *timer)
{
    struct broker *b = timer->data;
    int64_t        since_ms = atomic_load(&b->busy_since_ms);
    int64_t        limit_ms = 2000 * (int64_t)b->config.heartbeat_s + WATCHDOG_GRACE_MS;

    if (since_ms == 0 || mono_ms() - since_ms < limit_ms)
        return;
    log_event(LOG_ERROR, "broker-thread-hangs", "busy_ms=%lld", (long long)(mono_ms() - since_ms));
    loop_shut_down(b);
}

void loop_shut_down(struct broker *b)
{
    pthread_mutex_lock(&b->lock); /* held, so that the thread cannot close the descriptor meanwhile */
    for (int i = 0; i < CONN_COUNT; i++)
        if (b->fds[i] >= 0)
            (void)shutdown(b->fds[i], SHUT_RDWR);
    pthread_mutex_unlock(&b->lock);
}
