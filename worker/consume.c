/* SPDX-License-Identifier: Apache-2.0 */
/* consume.c - puts consumers on channels and moves them between the kinds.
 *
 * With one kind a consumer stays where it is and nothing here costs anything.
 * With more, the broker is asked how much waits (25 ms apart after a find,
 * then up to 250 ms) as long as there is a kind that no idle slot covers, and
 * consume_pick.c decides. A consumer that moves is cancelled before the ack of
 * its last message, so that no other message comes in between.
 */
#include "worker/worker.h"

#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "worker/consume_pick.h"

#define POLL_FIRST_MS 25
#define POLL_CAP_MS 250

/* ---- what is known ------------------------------------------------------------ */

/* What a slot looks at: how many others are idle at each kind, and for which it has no executor. */
struct outlook {
    int                 waiting[KIND_COUNT];
    bool                is_out[KIND_COUNT];
    struct consume_view view; /* of the above */
};

static void count_waiting(const struct worker *w, const struct slot *but, int waiting[KIND_COUNT])
{
    memset(waiting, 0, KIND_COUNT * sizeof *waiting);
    for (const struct slot *s = w->slots; s < w->slots + w->slot_count; s++)
        if (s != but && s->step == STEP_FREE && s->channel->state >= CHANNEL_STARTING)
            waiting[s->channel->kind]++;
}

static const struct consume_view *look(struct slot *s, struct outlook *out)
{
    struct worker *w = s->worker;

    count_waiting(w, s, out->waiting);
    for (int i = 0; i < w->kind_count; i++)
        out->is_out[i] = child_is_failing(slot_child(s, i));
    out->view = (struct consume_view){w->kind_count, w->ready, out->waiting, out->is_out};
    return &out->view;
}

static bool is_covered(const struct worker *w)
{
    int waiting[KIND_COUNT];

    count_waiting(w, NULL, waiting);
    for (int i = 0; i < w->kind_count; i++)
        if (waiting[i] == 0)
            return false;
    return true;
}

static bool is_all_busy(const struct worker *w)
{
    for (const struct slot *s = w->slots; s < w->slots + w->slot_count; s++)
        if (s->step == STEP_FREE)
            return false;
    return true;
}

/* ---- asking for depths ----------------------------------------------------------- */

static void on_poll(uv_timer_t *timer);

static void poll_in(struct worker *w, int64_t wait_ms)
{
    double jitter = 0.8 + 0.4 * worker_dice(w); /* or a fleet would ask in step */

    uv_timer_start(&w->poll_timer, on_poll, (uint64_t)((double)wait_ms * jitter), 0);
}

static void on_poll(uv_timer_t *timer)
{
    struct worker *w = timer->data;

    if (w->phase != PHASE_SERVING || !broker_consumer_is_up(w->broker) || is_covered(w))
        return; /* started again by the next message, or when the broker is back */
    if (is_all_busy(w))
        w->poll_ms = POLL_CAP_MS;
    broker_ask_depths(w->broker);
    poll_in(w, w->poll_ms);
    w->poll_ms = w->poll_ms * 2 < POLL_CAP_MS ? w->poll_ms * 2 : POLL_CAP_MS;
}

static void poll_soon(struct worker *w)
{
    w->poll_ms = POLL_FIRST_MS;
    poll_in(w, POLL_FIRST_MS);
}

/* ---- channels ---------------------------------------------------------------------- */

static void set_served(struct worker *w, struct channel *c, bool is_served)
{
    if (c->is_served == is_served)
        return;
    c->is_served = is_served;
    w->served_count += is_served ? 1 : -1;
    beat_ready_file(w);
}

/* Takes the consumer away; the channel's kind is where it goes next. */
static void leave(struct worker *w, struct channel *c, int next)
{
    c->state = CHANNEL_STOPPING;
    c->kind = next;
    broker_unconsume(w->broker, c->number);
}

static void stop(struct worker *w, struct channel *c)
{
    if (c->state == CHANNEL_STARTING || c->state == CHANNEL_CONSUMING)
        leave(w, c, c->kind);
    set_served(w, c, false);
}

void consumers_open(struct worker *w)
{
    for (int i = 0; i < w->kind_count; i++)
        w->ready[i] = -1;
    for (int i = 0; i < w->slot_count; i++) {
        w->channels[i] = (struct channel){.number = i, .kind = i % w->kind_count, .slot = &w->slots[i]};
        w->slots[i].channel = &w->channels[i];
    }
    uv_timer_init(w->loop, &w->poll_timer);
    w->poll_timer.data = w;
}

void consumers_slot(struct slot *s)
{
    struct worker  *w = s->worker;
    struct channel *c = s->channel;
    struct outlook  outlook;
    int             kind;

    if (c->state != CHANNEL_IDLE || s->step != STEP_FREE || w->phase != PHASE_SERVING)
        return;
    kind = consume_pick_first(look(s, &outlook), c->kind);
    if (kind < 0 || !child_is_at_hand(slot_child(s, kind)))
        return; /* again when an executor is ready */
    c->kind = kind;
    c->state = CHANNEL_STARTING;
    c->idle_ms = mono_ms();
    broker_consume(w->broker, c->number, c->kind);
}

void consumers_taken(struct slot *s)
{
    struct worker *w = s->worker;

    if (w->kind_count == 1)
        return;
    if (w->ready[s->channel->kind] > 0)
        w->ready[s->channel->kind]--;
    if (!uv_is_active((uv_handle_t *)&w->poll_timer))
        poll_soon(w);
}

void consumers_after(struct slot *s)
{
    struct worker  *w = s->worker;
    struct channel *c = s->channel;
    struct outlook  outlook;
    int             next;
    int64_t         now_ms = mono_ms();

    if (w->kind_count == 1 || c->state != CHANNEL_CONSUMING)
        return;
    next = consume_pick_after(look(s, &outlook), c->kind, now_ms - c->since_ms);
    if (next != c->kind)
        leave(w, c, next);
    else if (s->claimed_ms && now_ms - s->claimed_ms >= CONSUME_TURN_MS)
        poll_soon(w); /* what is known is as old as the job was long */
}

void consumers_suspend(struct slot *s, const struct child *c)
{
    struct worker *w = s->worker;

    if (slot_child(s, s->channel->kind) != c)
        return;
    stop(w, s->channel); /* where it goes next is seen when it is idle */
    if (w->kind_count > 1)
        poll_soon(w);
}

void consumers_stop(struct worker *w)
{
    uv_timer_stop(&w->poll_timer);
    for (int i = 0; i < w->slot_count; i++)
        stop(w, &w->channels[i]);
}

/* ---- what the broker says ------------------------------------------------------------ */

void consumers_on_up(void *ctx, bool is_up)
{
    struct worker *w = ctx;

    if (is_up && w->kind_count > 1) {
        broker_ask_depths(w->broker); /* before the first consumer: it should go where work waits */
        poll_soon(w);
    }
}

void consumers_on_ready(void *ctx, int channel)
{
    struct worker *w = ctx;

    w->channels[channel].state = CHANNEL_IDLE;
    consumers_slot(w->channels[channel].slot);
}

void consumers_on_lost(void *ctx, int channel)
{
    struct worker  *w = ctx;
    struct channel *c = &w->channels[channel];

    c->state = CHANNEL_AWAY;
    set_served(w, c, false);
    slot_channel_lost(c->slot);
}

void consumers_on_confirmed(void *ctx, int channel, int kind)
{
    struct worker  *w = ctx;
    struct channel *c = &w->channels[channel];

    if (c->state != CHANNEL_STARTING)
        return; /* it is to stop already */
    c->state = CHANNEL_CONSUMING;
    c->kind = kind;
    c->since_ms = mono_ms();
    set_served(w, c, true);
}

void consumers_on_idle(void *ctx, int channel, bool by_broker)
{
    struct worker  *w = ctx;
    struct channel *c = &w->channels[channel];

    c->state = CHANNEL_IDLE;
    if (by_broker) {
        log_event(EVENT_QUEUE_GONE, LOG_TEXT("kind", w->kind_names[c->kind]), LOG_INT("channel", channel));
        set_served(w, c, false);
        slot_queue_gone(c->slot);
    }
    consumers_slot(c->slot);
}

/* Moves idle consumers to where work waits; first those that another idle slot can stand in for. */
static void spread(struct worker *w)
{
    struct outlook outlook;
    int            next;
    int64_t        now_ms = mono_ms();

    for (int is_any = 0; is_any <= 1; is_any++)
        for (struct slot *s = w->slots; s < w->slots + w->slot_count; s++) {
            struct channel            *c = s->channel;
            const struct consume_view *view = look(s, &outlook);
            if (s->step != STEP_FREE || c->state != CHANNEL_CONSUMING || (!is_any && view->waiting[c->kind] == 0))
                continue;
            next = consume_pick_idle(view, c->kind, now_ms - c->idle_ms);
            if (next == c->kind)
                continue;
            leave(w, c, next);
            c->idle_ms = now_ms;
            poll_soon(w);
        }
}

/* A queue that was deleted, and is declared again before the broker finds the time to cancel its consumers, never has
 * them cancelled nor served (seen with quorum queues of 3.10): so no consumer is left on it, and what was delivered
 * from it is rescued. */
static void abandon(struct worker *w, int kind)
{
    for (int i = 0; i < w->slot_count; i++) {
        struct channel *c = &w->channels[i];
        if (c->kind == kind && c->state == CHANNEL_CONSUMING)
            leave(w, c, kind);
        if (c->slot->delivery && c->slot->delivery->kind == kind)
            slot_queue_gone(c->slot);
    }
}

void consumers_on_depths(void *ctx, const int64_t *ready)
{
    struct worker *w = ctx;

    memcpy(w->ready, ready, (size_t)w->kind_count * sizeof *ready);
    for (int kind = 0; kind < w->kind_count; kind++)
        if (ready[kind] < 0)
            abandon(w, kind);
    spread(w);
}
