/* SPDX-License-Identifier: Apache-2.0 */
/* slot.c - the life of one attempt, from the delivery to the ack.
 *
 *   FREE -> AWAIT -> CLAIM -> RUN -> FINISH ----------> ACK -> FREE
 *                     |  |     |  \-> FAIL -+---------/  |
 *                    ASK |    DRAIN         +-> COPY ----+  a successor is confirmed first
 *                        +-> COPY, ACK   |  +-> BURY ----+
 *                                     RETURN -> FREE        the message goes back to its queue
 *
 * A step starts something and waits, or names the next one. The store's
 * answers choose the way by one table. What guards all of it: a message is
 * acked only in ACK, and ACK is reached only when the store said that the job
 * has ended, or when a successor of the message is confirmed. While the store
 * or the broker is away a step stalls: result and message are held, and the
 * step is done again when they are back.
 */
#include "worker/worker.h"

#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/retry.h"
#include "worker/order.h"
#include "worker/outcome.h"

#define ASK_MS 400   /* between the two questions about an owner that may have lost its message */
#define STALL_MS 250 /* a stalled step is tried again after so long, or when things come up */
#define RENEW_MS 1000

static void slot_go(struct slot *s, enum step step);

/* ---- waiting ---------------------------------------------------------------- */

/* No answer, or none that moves: hold everything and do the step again. */
static void stall(struct slot *s)
{
    enum phase phase = s->worker->phase;

    s->again_ms = mono_ms() + STALL_MS;
    if (phase >= PHASE_HANDBACK || (phase == PHASE_GRACE && s->step == STEP_CLAIM))
        slot_go(s, STEP_RETURN);
}

/* Where an answer of the store leads; one that is not listed stalls. */
static const struct move {
    enum step         at;
    enum store_answer answer;
    enum step         next;
    enum log_level    level;
    const char       *event; /* NULL: not worth a line */
} moves[] = {
    {STEP_CLAIM, STORE_RUN, STEP_RUN, LOG_DEBUG, NULL},
    {STEP_CLAIM, STORE_MINE, STEP_RUN, LOG_INFO, "job-claimed-twice"}, /* the first answer was lost */
    {STEP_CLAIM, STORE_ASK, STEP_ASK, LOG_INFO, NULL},
    {STEP_CLAIM, STORE_LATER, STEP_COPY, LOG_INFO, "job-not-due"},
    {STEP_CLAIM, STORE_HELD, STEP_COPY, LOG_INFO, "job-held"},
    {STEP_CLAIM, STORE_TERMINAL, STEP_ACK, LOG_INFO, "job-ended-before"},
    {STEP_CLAIM, STORE_GONE, STEP_ACK, LOG_INFO, "job-gone"},
    {STEP_FINISH, STORE_OK, STEP_ACK, LOG_DEBUG, "job-completed"},
    {STEP_FINISH, STORE_STALE, STEP_AWAIT, LOG_WARN, "job-taken-over"},
    {STEP_FINISH, STORE_CANCELLED, STEP_ACK, LOG_INFO, "job-cancelled"},
    {STEP_FINISH, STORE_GONE, STEP_ACK, LOG_INFO, "job-gone"},
    {STEP_FAIL, STORE_RETRYING, STEP_COPY, LOG_INFO, "job-retrying"},
    {STEP_FAIL, STORE_FAILED, STEP_ACK, LOG_INFO, "job-failed"},
    {STEP_FAIL, STORE_STALE, STEP_AWAIT, LOG_WARN, "job-taken-over"},
    {STEP_FAIL, STORE_CANCELLED, STEP_ACK, LOG_INFO, "job-cancelled"},
    {STEP_FAIL, STORE_GONE, STEP_ACK, LOG_INFO, "job-gone"},
    {STEP_DRAIN, STORE_OK, STEP_RETURN, LOG_INFO, "job-handed-back"},
    {STEP_DRAIN, STORE_STALE, STEP_RETURN, LOG_WARN, "job-taken-over"},
    {STEP_DRAIN, STORE_CANCELLED, STEP_ACK, LOG_INFO, "job-cancelled"},
    {STEP_DRAIN, STORE_GONE, STEP_ACK, LOG_INFO, "job-gone"},
    {STEP_DRAIN, STORE_DOWN, STEP_RETURN, LOG_WARN, "job-dropped"},
};
#define MOVE_COUNT (sizeof moves / sizeof *moves)

static const struct kind_spec *kind_of(const struct slot *s) { return s->worker->kinds[s->delivery->kind]; }

static void log_move(const struct slot *s, const struct move *move)
{
    bool has_fault = s->step == STEP_FAIL;

    if (!move->event || !log_wants(move->level))
        return;
    log_event(move->level, move->event,
              "job=%s kind=%s attempt=%" PRId64 " slot=%d wait_ms=%" PRId64 " run_ms=%" PRId64 "%s%s%s%s%s",
              s->delivery->msg->id, kind_of(s)->name, s->lease.attempt, s->index, s->wait_ms,
              s->claimed_ms ? mono_ms() - s->claimed_ms : 0, has_fault ? " error=" : "",
              has_fault ? err_code(s->fault.err) : "", has_fault ? " detail=\"" : "", has_fault ? s->fault.detail : "",
              has_fault ? "\"" : "");
}

/* Every answer about the attempt but that of renew comes through here. */
static void on_answer(void *ctx, const struct store_reply *reply)
{
    struct slot       *s = ctx;
    const struct move *move = moves;

    s->is_asked = false;
    if (s->worker->phase == PHASE_ENDED)
        return;
    while (move < moves + MOVE_COUNT && (move->at != s->step || move->answer != reply->answer))
        move++;
    if (move == moves + MOVE_COUNT) {
        stall(s);
        return;
    }
    log_move(s, move);
    switch (move->answer) {
    case STORE_LATER:
    case STORE_HELD:
        s->rung = retry_rung_within(reply->wait_ms);
        break;
    case STORE_STALE:
        s->claimed_ms = 0;
        break; /* from here it is a delivery like any other */
    default:
        break;
    }
    s->lease_epoch = reply->epoch;
    if (s->claimed_ms && (s->step == STEP_FINISH || s->step == STEP_FAIL))
        beat_run(s->worker, s->delivery->kind, (double)(mono_ms() - s->claimed_ms) / 1000);
    slot_go(s, move->next);
}

/* ---- renew ------------------------------------------------------------------ */

static void on_renewed(void *ctx, const struct store_reply *reply)
{
    struct slot *s = ctx;

    s->is_renewing = false;
    if (s->step != STEP_RUN || s->worker->phase == PHASE_ENDED)
        return; /* settling: that answer will say the same */
    if (reply->answer == STORE_STALE) {
        log_event(LOG_WARN, "job-taken-over", "job=%s attempt=%" PRId64, s->delivery->msg->id, s->lease.attempt);
        child_kill(&s->child, KILL_JOB);
        s->claimed_ms = 0;
        slot_go(s, STEP_AWAIT);
    } else if (reply->answer == STORE_CANCELLED ||
               (reply->answer == STORE_GONE && reply->epoch == s->lease.claim_epoch)) {
        log_event(LOG_INFO, "job-cancelled", "job=%s kind=%s attempt=%" PRId64 " run_ms=%" PRId64, s->delivery->msg->id,
                  kind_of(s)->name, s->lease.attempt, mono_ms() - s->claimed_ms);
        child_kill(&s->child, KILL_JOB);
        slot_go(s, STEP_ACK);
    }
}

static void renew(struct slot *s, int64_t now_ms)
{
    s->renewed_ms = now_ms;
    s->is_renewing = true;
    store_renew(s->worker->store, &s->lease, child_progress(&s->child), s->is_detached, on_renewed, s);
}

/* ---- steps ------------------------------------------------------------------ */

static enum step enter_free(struct slot *s)
{
    delivery_free(s->delivery);
    s->delivery = NULL;
    s->is_ackable = s->is_detached = s->is_second = s->is_dead = false;
    s->claimed_ms = 0;
    s->channel->idle_ms = mono_ms();
    consumers_slot(s);
    worker_check_end(s->worker);
    return STEP_FREE;
}

static enum step enter_await(struct slot *s)
{
    if (!s->is_ackable)
        return STEP_FREE; /* the broker delivers it to somebody anyway */
    if (s->worker->phase != PHASE_SERVING || child_is_held_back(&s->child, mono_ms()))
        return STEP_RETURN;
    s->is_second = false;
    return s->child.state == CHILD_READY ? STEP_CLAIM : STEP_AWAIT;
}

/* From the properties alone: a body that kills us must have been counted before it is looked at. */
static enum step enter_claim(struct slot *s)
{
    s->lease = (struct lease){.msg = s->delivery->msg, .owner = s->owner};
    s->is_asked = true;
    store_claim(s->worker->store, &s->lease, s->is_second, on_answer, s);
    return STEP_CLAIM;
}

static enum step enter_ask(struct slot *s)
{
    s->is_second = true;
    s->again_ms = mono_ms() + ASK_MS;
    return STEP_ASK;
}

/* The attempt ends without a result. */
static enum step fail(struct slot *s, const struct fault *why)
{
    const struct settings *settings = s->worker->settings;

    s->fault = *why;
    s->rung = outcome_rung(why->err, s->lease.errors, settings->backoff_base_s, settings->backoff_cap_s,
                           worker_dice(s->worker));
    return STEP_FAIL;
}

static enum step enter_run(struct slot *s)
{
    const struct msg *m = s->delivery->msg;
    int64_t           now_ms = mono_ms();
    struct order      order;
    struct fault      why = {0};

    s->claimed_ms = s->renewed_ms = now_ms;
    s->wait_ms = m->created_ms > 0 ? wall_ms() - m->created_ms : 0;
    if (s->wait_ms < 0)
        s->wait_ms = 0; /* the producer's clock is ahead, or it made the time up */
    if (s->worker->phase != PHASE_SERVING)
        return STEP_DRAIN; /* the claim was under way when the end was asked for */
    beat_wait(s->worker, s->delivery->kind, (double)s->wait_ms / 1000);
    if (s->child.state != CHILD_READY) /* ended between claim and answer */
        return fail(s, &(struct fault){ERR_EXECUTOR, "the executor ended before the job reached it"});
    if (order_read(s->worker->settings, kind_of(s), s->delivery, &order, &why)) {
        s->is_dead = order.is_undecodable;
        return fail(s, &why);
    }
    s->result_max = order.result_max;
    s->limit_ms = now_ms + order.limit_s * 1000;
    child_run(&s->child, &(struct child_job){.kind = s->worker->kind_ids[s->delivery->kind],
                                             .args = &order.args,
                                             .input = m->body,
                                             .input_len = m->body_len,
                                             .refs = m->refs,
                                             .output_fd = -1,
                                             .limit_s = order.limit_s});
    if (s->is_detached)
        renew(s, now_ms);
    return STEP_RUN;
}

static enum step enter_finish(struct slot *s)
{
    const struct kind_spec *kind = kind_of(s);

    s->is_asked = true;
    store_finish(s->worker->store, &s->lease,
                 &(struct store_result){.bytes = child_output(&s->child),
                                        .blob = "",
                                        .size = (int64_t)s->result_len,
                                        .content_type = kind->result_type,
                                        .verified = "",
                                        .with_pull = kind->is_pulled},
                 on_answer, s);
    return STEP_FINISH;
}

static enum step enter_fail(struct slot *s)
{
    s->is_asked = true;
    store_fail(s->worker->store, &s->lease, &s->fault, retry_rung_seconds(s->rung) * 1000, on_answer, s);
    return STEP_FAIL;
}

static void on_copied(void *ctx, enum broker_outcome outcome)
{
    struct slot *s = ctx;

    s->is_asked = false;
    if (s->worker->phase == PHASE_ENDED)
        return;
    if (outcome != BROKER_CONFIRMED) {
        stall(s);
        return;
    }
    if (s->step == STEP_BURY)
        beat_dead(s->worker);
    s->is_dead = false;
    slot_go(s, STEP_ACK);
}

static enum step enter_copy(struct slot *s)
{
    struct msg *copy;

    if (!s->claimed_ms && !s->is_ackable)
        return STEP_FREE; /* not ours, and the broker delivers it again anyway */
    copy = successor_new(s->delivery->msg, s->lease_epoch, s->claimed_ms ? s->lease.attempt : 0);
    s->is_asked = true;
    broker_publish(s->worker->broker, copy, BROKER_TO_DELAY, s->rung, CONFIRM_MS, on_copied, s);
    msg_free(copy);
    return STEP_COPY;
}

static enum step enter_bury(struct slot *s)
{
    s->is_asked = true;
    log_event(LOG_WARN, "message-dead", "job=%s kind=%s reason=\"%s\"", s->delivery->msg->id, kind_of(s)->name,
              s->delivery->bad.err ? s->delivery->bad.detail
              : s->claimed_ms      ? s->fault.detail
                                   : "no message-id");
    broker_publish(s->worker->broker, s->delivery->msg, BROKER_TO_DEAD, 0, CONFIRM_MS, on_copied, s);
    return STEP_BURY;
}

static enum step enter_ack(struct slot *s)
{
    if (s->is_dead)
        return STEP_BURY;
    child_recycle(&s->child, mono_ms()); /* meanwhile the next message travels */
    if (s->worker->is_once && s->claimed_ms)
        worker_stop(s->worker);
    consumers_after(s); /* first: behind the ack the next message comes at once */
    if (s->is_ackable)
        broker_ack(s->worker->broker, s->delivery);
    return STEP_FREE;
}

static enum step enter_drain(struct slot *s)
{
    s->is_asked = true;
    store_drain(s->worker->store, &s->lease, on_answer, s);
    return STEP_DRAIN;
}

static enum step enter_return(struct slot *s)
{
    if (s->is_ackable)
        broker_nack(s->worker->broker, s->delivery, true);
    return STEP_FREE;
}

static const struct {
    enum step (*enter)(struct slot *s); /* returns its own step to wait, else the next */
    enum step again;                    /* where again_ms leads */
} steps[STEP_COUNT] = {
    [STEP_FREE] = {enter_free, STEP_FREE},    [STEP_AWAIT] = {enter_await, STEP_AWAIT},
    [STEP_CLAIM] = {enter_claim, STEP_CLAIM}, [STEP_ASK] = {enter_ask, STEP_CLAIM},
    [STEP_RUN] = {enter_run, STEP_RUN},       [STEP_FINISH] = {enter_finish, STEP_FINISH},
    [STEP_FAIL] = {enter_fail, STEP_FAIL},    [STEP_COPY] = {enter_copy, STEP_COPY},
    [STEP_BURY] = {enter_bury, STEP_BURY},    [STEP_ACK] = {enter_ack, STEP_ACK},
    [STEP_DRAIN] = {enter_drain, STEP_DRAIN}, [STEP_RETURN] = {enter_return, STEP_RETURN},
};

static void slot_go(struct slot *s, enum step step)
{
    enum step next = step;

    do {
        step = next;
        s->step = step;
        s->again_ms = 0;
        next = steps[step].enter(s);
    } while (next != step);
}

/* ---- what happens to it ------------------------------------------------------ */

/* A message that this worker still runs in another slot, which lost its channel. */
static struct slot *find_owner(const struct slot *s, const struct msg *m)
{
    struct worker *w = s->worker;

    for (struct slot *other = w->slots; other < w->slots + w->slot_count; other++)
        if (other->is_detached && !other->is_ackable && strcmp(other->delivery->msg->id, m->id) == 0 &&
            strcmp(other->delivery->msg->copy, m->copy) == 0)
            return other;
    return NULL;
}

/* The slots exchange their channels: the one that runs the job gets the message back. */
static void rebind(struct slot *s, struct slot *owner, struct delivery *taken)
{
    struct channel *channel = s->channel;

    log_event(LOG_INFO, "job-rebound", "job=%s slot=%d channel=%d", taken->msg->id, owner->index, channel->number);
    s->channel = owner->channel;
    owner->channel = channel;
    s->channel->slot = s;
    owner->channel->slot = owner;
    owner->delivery->tag = taken->tag;
    owner->delivery->generation = taken->generation;
    owner->delivery->channel = taken->channel;
    owner->is_ackable = true;
    owner->is_detached = false;
    delivery_free(taken);
    if (owner->step == STEP_RUN)
        renew(owner, mono_ms());
    consumers_slot(s);
}

void slot_deliver(struct slot *s, struct delivery *taken)
{
    struct slot *owner;

    if (s->worker->phase != PHASE_SERVING || s->step != STEP_FREE) {
        broker_nack(s->worker->broker, taken, true);
        delivery_free(taken);
        return;
    }
    consumers_taken(s);
    owner = find_owner(s, taken->msg);
    if (owner) {
        rebind(s, owner, taken);
        return;
    }
    s->delivery = taken;
    s->is_ackable = true;
    slot_go(s, taken->msg->id[0] ? STEP_AWAIT : STEP_BURY);
}

static void on_child_ready(void *ctx, const char *kernel)
{
    struct slot *s = ctx;

    (void)kernel;
    if (s->step == STEP_AWAIT)
        slot_go(s, STEP_CLAIM);
    else
        consumers_slot(s);
}

static void on_child_done(void *ctx, const struct frame_done *done)
{
    struct slot *s = ctx;
    uint64_t     room = child_output_max(&s->child);
    struct fault why = {0};

    if (s->step != STEP_RUN)
        return;
    s->result_len = done->output_len;
    if (outcome_of_done(done, s->result_max < room ? s->result_max : room, false, &why))
        slot_go(s, fail(s, &why));
    else
        slot_go(s, STEP_FINISH);
}

static void on_child_ended(void *ctx, const struct fault *why, int64_t restart_ms)
{
    struct slot *s = ctx;

    if (restart_ms > 0)
        consumers_suspend(s); /* before the message goes back, or it would come here again */
    if (s->step == STEP_RUN)
        slot_go(s, fail(s, why));
    else if (s->step == STEP_AWAIT && restart_ms > 0)
        slot_go(s, STEP_RETURN);
    if (s->worker->phase == PHASE_SERVING)
        child_start(&s->child, mono_ms());
}

const struct child_events slot_child_events = {on_child_ready, on_child_done, on_child_ended};

void slot_channel_lost(struct slot *s)
{
    if (s->step == STEP_FREE)
        return;
    s->is_ackable = false;
    s->is_detached = true;
    if (s->step == STEP_AWAIT || s->step == STEP_ASK)
        slot_go(s, STEP_FREE);
    else if (s->step == STEP_RUN)
        renew(s, mono_ms());
}

void slot_queue_gone(struct slot *s)
{
    bool is_claimed = s->claimed_ms > 0;

    if (s->step == STEP_FREE || s->step == STEP_BURY || s->is_detached || (s->step == STEP_COPY && is_claimed))
        return; /* nothing to save, or its successor is under way already */
    s->is_detached = true;
    /* Not the store's present epoch: it may have lost the record since, and such a message makes it anew. */
    successor_rescue(s->worker, s->delivery->msg, is_claimed ? s->lease.claim_epoch : s->delivery->msg->epoch,
                     is_claimed ? s->lease.attempt : 0);
    if (s->step == STEP_RUN)
        renew(s, mono_ms());
}

void slot_tick(struct slot *s, int64_t now_ms)
{
    if (s->worker->phase == PHASE_SERVING)
        child_tick(&s->child, now_ms);
    if (s->again_ms > 0 && now_ms >= s->again_ms && !s->is_asked)
        slot_go(s, steps[s->step].again);
    if (s->step != STEP_RUN)
        return;
    if (now_ms >= s->limit_ms)
        child_kill(&s->child, KILL_TIMEOUT);
    if (now_ms - s->renewed_ms >= RENEW_MS && !s->is_renewing)
        renew(s, now_ms);
}

void slot_wake(struct slot *s)
{
    if (s->again_ms > 0 && !s->is_asked && steps[s->step].again == s->step)
        slot_go(s, s->step);
    else if (s->step == STEP_RUN && s->is_renewing)
        s->renewed_ms = 0; /* what is under way may get no answer: again with the next tick */
    else if (s->step == STEP_RUN)
        renew(s, mono_ms()); /* the lease may be nearly over, and a new epoch not know that we are detached */
}

void slot_stop(struct slot *s, bool is_forced)
{
    bool is_stalled = s->again_ms > 0 && !s->is_asked;

    if (s->step == STEP_AWAIT || s->step == STEP_ASK || (s->step == STEP_CLAIM && is_stalled)) {
        slot_go(s, STEP_RETURN);
    } else if (is_forced && s->step == STEP_RUN) {
        child_kill(&s->child, KILL_END);
        slot_go(s, STEP_DRAIN);
    } else if (is_forced && is_stalled) {
        slot_go(s, STEP_RETURN);
    }
}
