/* SPDX-License-Identifier: Apache-2.0 */
/* relay.c - from the outbox to the broker: publish, confirm, forget.
 *
 * One round at a time: take a batch (the store reserves it for 10 s, so that
 * two gateways rarely send the same), publish each as a new copy, forget those
 * that were confirmed. What was not stays in the outbox and comes again. The
 * same clock asks now and then for retrying jobs whose message was lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/gateway.h"
#include "common/clock.h"
#include "common/log.h"

#define BATCH 64
#define ROUND_MS 1000 /* others fill the outbox, too */
#define OVERDUE_MS 10000

struct relay {
    struct gateway *gw;
    uv_timer_t      timer;
    bool            is_busy;   /* a round is under way */
    bool            is_wanted; /* another one as soon as it ends */
    bool            is_stopped;
    int             outstanding; /* of this round */
    int             confirmed;
    int64_t         overdue_at_ms;
    char            leader[80]; /* who we are, for the overdue lease */
};

struct parcel {
    struct relay *relay;
    struct msg   *msg; /* owned */
};

static void round_start(struct relay *r);

static void round_end(struct relay *r)
{
    bool again = r->is_wanted || r->confirmed == BATCH;

    if (r->confirmed)
        log_event(EVENT_OUTBOX_RELAYED, LOG_INT("messages", r->confirmed));
    r->is_busy = r->is_wanted = false;
    if (again)
        round_start(r);
}

static void parcel_end(struct parcel *p)
{
    struct relay *r = p->relay;

    msg_free(p->msg);
    free(p);
    if (--r->outstanding == 0)
        round_end(r);
}

static void on_forgotten(void *ctx, const struct store_reply *reply)
{
    (void)reply; /* not forgotten: it is sent twice, which claims sort out */
    parcel_end(ctx);
}

static void on_published(void *ctx, enum broker_outcome outcome)
{
    struct parcel *p = ctx;

    if (outcome != BROKER_CONFIRMED) {
        parcel_end(p);
        return;
    }
    p->relay->confirmed++;
    store_outbox_done(p->relay->gw->store, p->msg->id, on_forgotten, p);
}

static void send_item(struct relay *r, const struct store_item *item, int64_t epoch)
{
    struct parcel *p = xcalloc(1, sizeof *p);
    struct fault   why;

    p->relay = r;
    r->outstanding++;
    if (msg_unpack(item->data, item->len, &p->msg, &why)) {
        log_event(EVENT_OUTBOX_UNREADABLE, LOG_TEXT("job_id", item->id), LOG_TEXT("reason", why.detail));
        parcel_end(p);
        return;
    }
    job_copy_new(p->msg->copy);
    p->msg->epoch = epoch;
    broker_publish(r->gw->broker, p->msg, BROKER_TO_WORK, 0, r->gw->settings.confirm_ms, on_published, p);
}

static void on_taken(void *ctx, const struct store_reply *reply)
{
    struct relay *r = ctx;

    r->confirmed = 0;
    r->outstanding = 1; /* ours, so that the round does not end while it is being sent */
    if (reply->answer == STORE_OK)
        for (size_t i = 0; i < reply->item_count; i++)
            send_item(r, &reply->items[i], reply->epoch);
    if (--r->outstanding == 0)
        round_end(r);
}

static void round_start(struct relay *r)
{
    if (r->is_stopped || !broker_publisher_is_up(r->gw->broker) || !store_is_up(r->gw->store))
        return;
    r->is_busy = true;
    store_outbox_take(r->gw->store, BATCH, on_taken, r);
}

void relay_kick(struct relay *r)
{
    if (r->is_busy)
        r->is_wanted = true;
    else
        round_start(r);
}

/* What it found is in the outbox now. */
static void on_overdue(void *ctx, const struct store_reply *reply)
{
    struct relay *r = ctx;

    if (reply->has_more && !r->is_stopped)
        store_overdue(r->gw->store, r->leader, on_overdue, r);
}

static void on_timer(uv_timer_t *timer)
{
    struct relay *r = timer->data;

    if (!r->is_busy)
        round_start(r);
    if (mono_ms() >= r->overdue_at_ms && store_is_up(r->gw->store)) {
        r->overdue_at_ms = mono_ms() + OVERDUE_MS;
        store_overdue(r->gw->store, r->leader, on_overdue, r);
    }
}

struct relay *relay_new(struct gateway *gw)
{
    struct relay *r = xcalloc(1, sizeof *r);
    size_t        len;

    r->gw = gw;
    gethostname(r->leader, 64);
    len = strnlen(r->leader, 63);
    snprintf(r->leader + len, sizeof r->leader - len, "-%d", (int)getpid());
    uv_timer_init(gw->loop, &r->timer);
    r->timer.data = r;
    uv_timer_start(&r->timer, on_timer, ROUND_MS, ROUND_MS);
    return r;
}

static void on_closed(uv_handle_t *timer) { free(timer->data); }

void relay_stop(struct relay *r)
{
    if (!r)
        return;
    r->is_stopped = true;
    uv_close((uv_handle_t *)&r->timer, on_closed);
}
