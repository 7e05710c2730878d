/* SPDX-License-Identifier: Apache-2.0 */
/* slot.c - the way of one message, from its delivery to its ack.
 *
 *   FREE -> AWAIT -> CLAIM -> (work) -> FINISH ---------> ACK -> FREE
 *                     |  |      | | \-> FAIL --+---------/  |
 *                    ASK |      | |            +-> COPY ----+  a successor is confirmed first
 *                        |      | \-> SPLIT ---+-> BURY ----+
 *                        |    DRAIN -> RETURN -> FREE          the message goes back to its queue
 *                        +-> COPY, ACK
 *
 * A step starts something and waits, or names the next one; those that are the
 * work itself (FETCH, RUN, SEAL, LIST) are in attempt.c. The store's answers
 * choose the way by one table. What guards all of it: a message is acked only in
 * ACK, and ACK is reached only when the store said that the job has ended, or when
 * a successor of the message is confirmed. While the store or the broker is away a
 * step stalls: result and message are held, and the step is done again when they
 * are back.
 */
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/retry.h"

#define ASK_MS 400   /* between the two questions about an owner that may have lost its message */
#define STALL_MS 250 /* a stalled step is tried again after so long, or when things come up */

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
    enum log_event    event; /* EVENT_COUNT: not worth a line, or has one of its own */
} moves[] = {
    {STEP_CLAIM, STORE_RUN, STEP_FETCH, EVENT_COUNT},
    {STEP_CLAIM, STORE_MINE, STEP_FETCH, EVENT_COUNT}, /* the first answer was lost */
    {STEP_CLAIM, STORE_ASK, STEP_ASK, EVENT_COUNT},
    {STEP_CLAIM, STORE_LATER, STEP_COPY, EVENT_JOB_NOT_DUE},
    {STEP_CLAIM, STORE_HELD, STEP_COPY, EVENT_JOB_HELD},
    {STEP_CLAIM, STORE_TERMINAL, STEP_ACK, EVENT_JOB_ENDED_BEFORE},
    {STEP_CLAIM, STORE_GONE, STEP_ACK, EVENT_JOB_GONE},
    {STEP_SPLIT, STORE_RETRYING, STEP_COPY, EVENT_COUNT},
    {STEP_SPLIT, STORE_OK, STEP_ACK, EVENT_JOB_MEMBERS_DONE},
    {STEP_SPLIT, STORE_STALE, STEP_AWAIT, EVENT_JOB_TAKEN_OVER},
    {STEP_SPLIT, STORE_CANCELLED, STEP_ACK, EVENT_JOB_STOPPED},
    {STEP_SPLIT, STORE_GONE, STEP_ACK, EVENT_JOB_GONE},
    {STEP_FINISH, STORE_OK, STEP_ACK, EVENT_JOB_COMPLETED},
    {STEP_FINISH, STORE_STALE, STEP_AWAIT, EVENT_JOB_TAKEN_OVER},
    {STEP_FINISH, STORE_CANCELLED, STEP_ACK, EVENT_JOB_STOPPED},
    {STEP_FINISH, STORE_GONE, STEP_ACK, EVENT_JOB_GONE},
    {STEP_FAIL, STORE_RETRYING, STEP_COPY, EVENT_JOB_RETRYING},
    {STEP_FAIL, STORE_FAILED, STEP_ACK, EVENT_JOB_FAILED},
    {STEP_FAIL, STORE_STALE, STEP_AWAIT, EVENT_JOB_TAKEN_OVER},
    {STEP_FAIL, STORE_CANCELLED, STEP_ACK, EVENT_JOB_STOPPED},
    {STEP_FAIL, STORE_GONE, STEP_ACK, EVENT_JOB_GONE},
    {STEP_DRAIN, STORE_OK, STEP_RETURN, EVENT_JOB_HANDED_BACK},
    {STEP_DRAIN, STORE_STALE, STEP_RETURN, EVENT_JOB_TAKEN_OVER},
    {STEP_DRAIN, STORE_CANCELLED, STEP_ACK, EVENT_JOB_STOPPED},
    {STEP_DRAIN, STORE_GONE, STEP_ACK, EVENT_JOB_GONE},
    {STEP_DRAIN, STORE_DOWN, STEP_RETURN, EVENT_JOB_DROPPED},
};
#define MOVE_COUNT (sizeof moves / sizeof *moves)

/* reply: a claim says why it ended the job itself. */
static void log_move(const struct slot *s, enum log_event event, const struct store_reply *reply)
{
    bool        is_claimed = s->claimed_ms > 0, has_fault = s->step == STEP_FAIL;
    const char *error = has_fault ? err_code(s->fault.err) : reply->code;

    if (event == EVENT_COUNT)
        return;
    log_event(
        event, LOG_JOB(s->delivery->msg->id, attempt_kind(s)->name, reply->code ? reply->attempt : s->lease.attempt),
        LOG_TEXT("worker", s->worker->id), LOG_INT("slot", s->index), LOG_INT_IF(is_claimed, "wait_ms", s->wait_ms),
        LOG_INT_IF(is_claimed, "run_ms", mono_ms() - s->claimed_ms),
        LOG_INT_IF(event == EVENT_JOB_RETRYING, "again_s", retry_rung_seconds(s->rung)),
        LOG_TEXT("parent", s->delivery->msg->parent), LOG_TEXT("error", error),
        LOG_TEXT("reason", has_fault ? s->fault.detail : reply->detail));
}

/* What a move says; most of them the same always. */
static enum log_event event_of(const struct slot *s, const struct move *move, const struct store_reply *reply)
{
    if (move->answer == STORE_TERMINAL && reply->code) /* by this very claim: too often lost, too late, or unwanted */
        return strcmp(reply->code, "cancelled") ? EVENT_JOB_FAILED : EVENT_JOB_CANCELLED;
    if (s->step == STEP_SPLIT && move->answer == STORE_RETRYING && !s->lease.is_visit)
        return EVENT_JOB_SPLIT;
    return move->event;
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
    log_move(s, event_of(s, move, reply), reply);
    switch (move->answer) {
    case STORE_LATER:
    case STORE_HELD:
        s->rung = retry_rung_within(reply->wait_ms);
        break;
    case STORE_RETRYING:
        if (s->step == STEP_SPLIT) {
            s->rung = retry_rung_within(reply->wait_ms);
            s->claimed_ms = 0; /* the job is its members' from here */
            s->is_split = !reply->is_other_cut;
        }
        break;
    case STORE_STALE:
        s->claimed_ms = 0;
        break; /* from here it is a delivery like any other */
    default:
        break;
    }
    s->lease_epoch = reply->epoch;
    if (s->claimed_ms && (s->step == STEP_FINISH || s->step == STEP_FAIL)) {
        double seconds = (double)(mono_ms() - s->claimed_ms) / 1000;

        beat_run(s->worker, s->delivery->kind, seconds);
        watch_settled(s->worker, s->delivery->kind, s->step == STEP_FINISH, seconds);
    }
    slot_go(s, move->next);
}

/* ---- steps ------------------------------------------------------------------ */

static enum step enter_free(struct slot *s)
{
    delivery_free(s->delivery);
    s->delivery = NULL;
    s->is_ackable = s->is_detached = s->is_second = s->is_dead = s->is_split = false;
    s->claimed_ms = 0;
    order_free(&s->order);
    s->order = (struct order){0};
    s->channel->idle_ms = mono_ms();
    consumers_slot(s);
    worker_check_end(s->worker);
    return STEP_FREE;
}

/* The job is claimed when its executor is ready, which may have to be started first. */
static enum step enter_await(struct slot *s)
{
    struct child *c = slot_child(s, s->delivery->kind);

    if (!s->is_ackable)
        return STEP_FREE; /* the broker delivers it to somebody anyway */
    if (s->worker->phase != PHASE_SERVING)
        return STEP_RETURN;
    if (child_is_held_back(c, mono_ms()) || !child_start(c, mono_ms())) {
        consumers_suspend(s, c); /* before the message goes back, or it would come here again */
        return STEP_RETURN;
    }
    s->is_second = false;
    return c->state == CHILD_READY ? STEP_CLAIM : STEP_AWAIT;
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

/* From here on the message of a group's parent says how it is cut: so every worker finds the same members. */
static void tell_cut(const struct slot *s, struct msg *m)
{
    struct buf params = {0};

    order_params(&s->order, attempt_kind(s), &params);
    free(m->params);
    m->params = buf_detach(&params);
}

static enum step enter_split(struct slot *s)
{
    const struct order     *o = &s->order;
    const struct kind_spec *kind = attempt_kind(s);
    struct lease            lease = s->lease; /* with what is to be kept for a retry by a person */
    struct msg             *kept = msg_dup(s->delivery->msg);
    struct buf              params = {0};

    tell_cut(s, kept);
    lease.msg = kept;
    order_member_params(o, kind, &params);
    log_event(o->is_recut ? EVENT_JOB_RECUT : EVENT_JOB_CUT, SLOT_JOB(s), LOG_INT("members", o->member_count),
              LOG_INT("sealed", (int64_t)s->goods.sealed_count), LOG_TEXT("params", params.data));
    s->is_asked = true;
    store_split(s->worker->store, &lease, o->member_count, params.data, o->layout.data, (int64_t)o->result_max,
                kind->result_type, s->goods.sealed, s->goods.sealed_count, on_answer, s);
    buf_free(&params);
    msg_free(kept);
    return STEP_SPLIT;
}

static enum step enter_finish(struct slot *s)
{
    const struct kind_spec *kind = attempt_kind(s);
    const struct child     *c = slot_child(s, s->delivery->kind);
    bool                    is_blob = s->order.is_blob;

    s->is_asked = true;
    store_finish(s->worker->store, &s->lease,
                 &(struct store_result){.bytes = is_blob ? NULL : child_output(c),
                                        .blob = is_blob ? s->goods.result : "",
                                        .size = (int64_t)s->done.output_len,
                                        .content_type = s->done.media[0] ? s->done.media : kind->result_type,
                                        .verified = s->done.verified,
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

/* Why the message is buried. */
static const char *death(const struct slot *s)
{
    if (s->delivery->bad.err)
        return s->delivery->bad.detail;
    return s->claimed_ms ? s->fault.detail : "no message-id";
}

static void log_death(const struct slot *s)
{
    log_event(EVENT_MESSAGE_DEAD,
              LOG_JOB(s->delivery->msg->id, attempt_kind(s)->name, s->claimed_ms ? s->lease.attempt : 0),
              LOG_TEXT("worker", s->worker->id), LOG_TEXT("reason", death(s)));
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
    if (s->step == STEP_BURY) {
        beat_dead(s->worker);
        log_death(s);
    }
    s->is_dead = false;
    slot_go(s, STEP_ACK);
}

static enum step enter_copy(struct slot *s)
{
    struct msg *copy;

    if (!s->claimed_ms && !s->is_ackable)
        return STEP_FREE; /* not ours, and the broker delivers it again anyway */
    copy = successor_new(s->delivery->msg, s->lease_epoch, s->claimed_ms ? s->lease.attempt : 0);
    if (s->is_split)
        tell_cut(s, copy);
    s->is_asked = true;
    broker_publish(s->worker->broker, copy, BROKER_TO_DELAY, s->rung, CONFIRM_MS, on_copied, s);
    msg_free(copy);
    return STEP_COPY;
}

static enum step enter_bury(struct slot *s)
{
    s->is_asked = true;
    broker_bury(s->worker->broker, s->delivery, death(s), CONFIRM_MS, on_copied, s);
    return STEP_BURY;
}

static enum step enter_ack(struct slot *s)
{
    if (s->is_dead)
        return STEP_BURY;
    child_recycle(slot_child(s, s->delivery->kind), mono_ms()); /* meanwhile the next message travels */
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
    bool      has_goods;                /* blobs are held on to */
} steps[STEP_COUNT] = {
    [STEP_FREE] = {enter_free, STEP_FREE, false},     [STEP_AWAIT] = {enter_await, STEP_AWAIT, false},
    [STEP_CLAIM] = {enter_claim, STEP_CLAIM, false},  [STEP_ASK] = {enter_ask, STEP_CLAIM, false},
    [STEP_FETCH] = {attempt_fetch, STEP_FETCH, true}, [STEP_RUN] = {attempt_run, STEP_RUN, true},
    [STEP_SEAL] = {attempt_seal, STEP_SEAL, true},    [STEP_LIST] = {attempt_list, STEP_LIST, true},
    [STEP_SPLIT] = {enter_split, STEP_SPLIT, true},   [STEP_FINISH] = {enter_finish, STEP_FINISH, true},
    [STEP_FAIL] = {enter_fail, STEP_FAIL, false},     [STEP_COPY] = {enter_copy, STEP_COPY, false},
    [STEP_BURY] = {enter_bury, STEP_BURY, false},     [STEP_ACK] = {enter_ack, STEP_ACK, false},
    [STEP_DRAIN] = {enter_drain, STEP_DRAIN, false},  [STEP_RETURN] = {enter_return, STEP_RETURN, false},
};

void slot_go(struct slot *s, enum step step)
{
    enum step next = step;

    do {
        step = next;
        s->step = step;
        s->again_ms = 0;
        if (!steps[step].has_goods)
            goods_drop(&s->goods);
        next = steps[step].enter(s);
    } while (next != step);
}

struct child *slot_child(struct slot *s, int kind) { return &s->children[kind_programs[s->worker->kind_ids[kind]]]; }

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

    log_event(EVENT_JOB_REBOUND, SLOT_JOB(owner), LOG_TEXT("worker", s->worker->id), LOG_INT("slot", owner->index),
              LOG_INT("channel", channel->number));
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
    if (attempt_is_at_work(owner))
        attempt_renew(owner, mono_ms());
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

void slot_channel_lost(struct slot *s)
{
    if (s->step == STEP_FREE)
        return;
    s->is_ackable = false;
    s->is_detached = true;
    if (s->step == STEP_AWAIT || s->step == STEP_ASK)
        slot_go(s, STEP_FREE);
    else if (attempt_is_at_work(s))
        attempt_renew(s, mono_ms());
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
    if (attempt_is_at_work(s))
        attempt_renew(s, mono_ms());
}

/* Executors that no message has needed for a while, nor may need at once, give their memory back. */
static void tick_children(struct slot *s, int64_t now_ms)
{
    const struct child *needed = slot_child(s, s->delivery ? s->delivery->kind : s->channel->kind);

    for (int program = 0; program < PROGRAM_COUNT; program++) {
        struct child *c = &s->children[program];

        if (!c->config)
            continue;
        child_tick(c, now_ms);
        if (c != needed)
            child_rest(c, now_ms);
    }
}

void slot_tick(struct slot *s, int64_t now_ms)
{
    if (s->worker->phase == PHASE_SERVING)
        tick_children(s, now_ms);
    if (s->again_ms > 0 && now_ms >= s->again_ms && !s->is_asked)
        slot_go(s, steps[s->step].again);
    if (attempt_is_at_work(s))
        attempt_tick(s, now_ms);
}

void slot_wake(struct slot *s)
{
    if (s->again_ms > 0 && !s->is_asked && steps[s->step].again == s->step)
        slot_go(s, s->step);
    else if (attempt_is_at_work(s) && s->is_renewing)
        s->renewed_ms = 0; /* what is under way may get no answer: again with the next tick */
    else if (attempt_is_at_work(s))
        attempt_renew(s, mono_ms()); /* the lease may be nearly over, and a new epoch not know that we are detached */
}

void slot_stop(struct slot *s, bool is_forced)
{
    bool is_stalled = s->again_ms > 0 && !s->is_asked;

    if (s->step == STEP_AWAIT || s->step == STEP_ASK || (s->step == STEP_CLAIM && is_stalled)) {
        slot_go(s, STEP_RETURN);
    } else if (is_forced && attempt_is_at_work(s)) {
        attempt_stop(s, KILL_END);
        slot_go(s, STEP_DRAIN);
    } else if (is_forced && is_stalled) {
        slot_go(s, STEP_RETURN);
    }
}
