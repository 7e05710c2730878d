/* SPDX-License-Identifier: Apache-2.0 */
/* attempt.c - what is done for a job between its claim and its settle.
 *
 *   FETCH -+---------------> RUN -+---------> FINISH
 *          | blobs fetched        +-> SEAL ---/  the result is a blob
 *          |
 *          +-> LIST -> SPLIT                     it falls into members
 *
 * All the while the lease is renewed, and the time limit, a cancel and a
 * takeover are obeyed: fetching and sealing may take longer than computing.
 * Whatever goes wrong leads to FAIL, and slot.c lets go of the goods.
 */
#include "worker/worker.h"

#include "common/clock.h"
#include "worker/outcome.h"

#define RENEW_MS 1000

const struct kind_spec *attempt_kind(const struct slot *s) { return s->worker->kinds[s->delivery->kind]; }

bool attempt_is_at_work(const struct slot *s) { return s->step >= STEP_FETCH && s->step <= STEP_LIST; }

/* The attempt ends without a result. */
static enum step fail(struct slot *s, const struct fault *why)
{
    const struct settings *settings = s->worker->settings;

    s->fault = *why;
    if (why->err == ERR_UNVERIFIED)
        beat_unverified(s->worker);
    s->rung = outcome_rung(why->err, s->lease.errors, settings->backoff_base_s, settings->backoff_cap_s,
                           worker_dice(s->worker));
    return STEP_FAIL;
}

void attempt_stop(struct slot *s, enum kill_reason reason)
{
    if (s->step == STEP_RUN)
        child_kill(slot_child(s, s->delivery->kind), reason);
}

/* ---- the lease -------------------------------------------------------------- */

static void on_renewed(void *ctx, const struct store_reply *reply)
{
    struct slot *s = ctx;

    s->is_renewing = false;
    if (!attempt_is_at_work(s) || s->worker->phase == PHASE_ENDED)
        return; /* settling: that answer will say the same */
    if (reply->answer == STORE_STALE) {
        log_event(EVENT_JOB_TAKEN_OVER, SLOT_JOB(s), LOG_INT("run_ms", mono_ms() - s->claimed_ms));
        attempt_stop(s, KILL_JOB);
        s->claimed_ms = 0;
        slot_go(s, STEP_AWAIT);
    } else if (reply->answer == STORE_CANCELLED ||
               (reply->answer == STORE_GONE && reply->epoch == s->lease.claim_epoch)) {
        log_event(reply->answer == STORE_GONE ? EVENT_JOB_GONE : EVENT_JOB_STOPPED, SLOT_JOB(s),
                  LOG_INT("run_ms", mono_ms() - s->claimed_ms));
        attempt_stop(s, KILL_JOB);
        slot_go(s, STEP_ACK);
    }
}

void attempt_renew(struct slot *s, int64_t now_ms)
{
    bool   has_run = s->step == STEP_RUN || s->step == STEP_SEAL; /* else it is the progress of another job */
    double progress = has_run ? child_progress(slot_child(s, s->delivery->kind)) : 0;

    s->renewed_ms = now_ms;
    s->is_renewing = true;
    store_renew(s->worker->store, &s->lease, progress, s->is_detached, on_renewed, s);
}

void attempt_tick(struct slot *s, int64_t now_ms)
{
    struct fault why;

    if (now_ms >= s->limit_ms && s->step == STEP_RUN) {
        child_kill(slot_child(s, s->delivery->kind), KILL_TIMEOUT); /* its end fails the attempt */
    } else if (now_ms >= s->limit_ms) {
        outcome_of_end(0, KILL_TIMEOUT, s->order.limit_s, &why);
        slot_go(s, fail(s, &why));
        return;
    }
    if (now_ms - s->renewed_ms >= RENEW_MS && !s->is_renewing)
        attempt_renew(s, now_ms);
}

/* ---- steps -------------------------------------------------------------------- */

/* Fetched, sealed or listed. */
static void on_goods(void *ctx, enum err e, const struct fault *why)
{
    struct slot *s = ctx;

    if (s->worker->phase == PHASE_ENDED)
        return;
    if (s->step == STEP_LIST) {
        if (e) /* what is there already would only have saved work */
            log_event(EVENT_BLOBS_NOT_LISTED, SLOT_JOB(s), LOG_TEXT("reason", why->detail));
        slot_go(s, STEP_SPLIT);
    } else if (e) {
        slot_go(s, fail(s, why));
    } else {
        slot_go(s, s->step == STEP_FETCH ? STEP_RUN : STEP_FINISH);
    }
}

/* Once for an attempt: of a group's parent only the first visit is one. */
static void log_start(const struct slot *s)
{
    const struct msg *m = s->delivery->msg;

    if (s->lease.losses > 0)
        log_event(EVENT_JOB_LOST, LOG_JOB(m->id, attempt_kind(s)->name, s->lease.attempt - !s->lease.is_visit),
                  LOG_TEXT("worker", s->worker->id), LOG_INT("losses", s->lease.losses));
    if (!s->lease.is_visit)
        log_event(EVENT_JOB_STARTED, SLOT_JOB(s), LOG_TEXT("worker", s->worker->id), LOG_INT("slot", s->index),
                  LOG_INT("wait_ms", s->wait_ms), LOG_TEXT("parent", m->parent), LOG_TEXT("group", m->group));
}

enum step attempt_fetch(struct slot *s)
{
    struct worker    *w = s->worker;
    const struct msg *m = s->delivery->msg;
    int64_t           now_ms = mono_ms();
    struct fault      why = {0};

    s->claimed_ms = s->renewed_ms = now_ms;
    s->wait_ms = m->created_ms > 0 ? wall_ms() - m->created_ms : 0;
    if (s->wait_ms < 0)
        s->wait_ms = 0; /* the producer's clock is ahead, or it made the time up */
    log_start(s);
    if (w->phase != PHASE_SERVING)
        return STEP_DRAIN; /* the claim was under way when the end was asked for */
    order_free(&s->order);
    if (order_read(w->settings, w->commands, &w->share, attempt_kind(s), s->delivery, &s->order, &why)) {
        s->is_dead = s->order.is_undecodable;
        return fail(s, &why);
    }
    s->limit_ms = now_ms + s->order.limit_s * 1000;
    if (s->is_detached)
        attempt_renew(s, now_ms);
    if (s->order.member_count > 1)
        return STEP_LIST;
    beat_wait(w, s->delivery->kind, (double)s->wait_ms / 1000);
    if (s->order.job.blob_count == 0)
        return STEP_RUN;
    goods_fetch(&s->goods, w->blobs, s->order.job.blobs, s->order.job.blob_count, on_goods, s);
    return STEP_FETCH;
}

/* Room for the result is taken before the work, not missed after it: as far as one knows how much it will be. */
static enum err create_result(struct slot *s, struct fault *why)
{
    const struct msg *m = s->delivery->msg;
    bool              is_member = m->parent[0] != '\0';
    bool              may_be_blob = attempt_kind(s)->is_open_ended && s->worker->blobs;
    char              name[BLOB_NAME_BYTES];

    if (!s->order.is_blob && !may_be_blob)
        return ERR_OK;
    blob_name_result(name, is_member ? m->parent : m->id, is_member ? m->member : -1, s->lease.fence);
    return goods_create(&s->goods, s->worker->blobs, name, s->order.is_blob ? (int64_t)s->order.result_max : -1, why);
}

enum step attempt_run(struct slot *s)
{
    const struct msg *m = s->delivery->msg;
    struct child     *c = slot_child(s, s->delivery->kind);
    struct fault      why = {0};

    if (c->state != CHILD_READY) /* ended since the claim */
        return fail(s, &(struct fault){ERR_EXECUTOR, "the executor ended before the job reached it"});
    if (create_result(s, &why))
        return fail(s, &why);
    child_run(c, &(struct child_job){.kind = s->worker->kind_ids[s->delivery->kind],
                                     .args = &s->order.job.args,
                                     .input = m->body,
                                     .input_len = m->body_len,
                                     .refs = m->refs,
                                     .blob_count = s->order.job.blob_count,
                                     .blob_fds = s->goods.inputs,
                                     .blob_bytes = s->goods.input_bytes,
                                     .output_fd = goods_output(&s->goods),
                                     .output_max = s->order.result_max,
                                     .limit_s = s->order.limit_s});
    return STEP_RUN;
}

enum step attempt_seal(struct slot *s)
{
    goods_seal(&s->goods, s->done.sum, on_goods, s);
    return STEP_SEAL;
}

/* After the loss of the store's data results of members may lie there that it does not know. Where the message did not
 * say how the job is cut, they may be those of another cut, by a worker of another size: they do not count. */
enum step attempt_list(struct slot *s)
{
    if (s->order.is_recut)
        return STEP_SPLIT;
    goods_list(&s->goods, s->worker->blobs, s->delivery->msg->id, on_goods, s);
    return STEP_LIST;
}

/* ---- what the executor says ------------------------------------------------------ */

/* Whether this executor is the one of the message that the slot has; others have nothing to do with it. */
static bool is_concerned(struct slot *s, const struct child *c)
{
    return s->delivery && slot_child(s, s->delivery->kind) == c;
}

static void on_child_ready(void *ctx, struct child *c, const char *kernel)
{
    struct slot *s = ctx;

    if (c->config->has_kernel && worker_see_kernel(s->worker, kernel))
        return; /* it comes again with another one */
    if (s->step == STEP_AWAIT && is_concerned(s, c))
        slot_go(s, STEP_CLAIM);
    else
        consumers_slot(s);
}

static void on_child_done(void *ctx, struct child *c, const struct frame_done *done)
{
    struct slot         *s = ctx;
    struct result_bounds bounds = {.file_bytes = goods_output_bytes(&s->goods),
                                   .file_max = s->order.result_max,
                                   .is_open_ended = s->delivery && attempt_kind(s)->is_open_ended};
    struct fault         why = {0};

    if (s->step != STEP_RUN || !is_concerned(s, c))
        return;
    bounds.room_max = bounds.is_open_ended ? c->config->inline_max : child_output_max(c);
    if (bounds.room_max > s->order.result_max)
        bounds.room_max = s->order.result_max;
    s->done = *done;
    if (outcome_of_done(done, &bounds, &why)) {
        slot_go(s, fail(s, &why));
        return;
    }
    if (bounds.is_open_ended)
        s->order.is_blob = done->is_file;
    slot_go(s, s->order.is_blob ? STEP_SEAL : STEP_FINISH);
}

static void on_child_ended(void *ctx, struct child *c, const struct fault *why, int64_t restart_ms)
{
    struct slot *s = ctx;

    if (restart_ms > 0)
        consumers_suspend(s, c); /* before the message goes back, or it would come here again */
    if (s->step == STEP_RUN && is_concerned(s, c))
        slot_go(s, fail(s, why));
    else if (s->step == STEP_AWAIT && is_concerned(s, c))
        slot_go(s, restart_ms > 0 ? STEP_RETURN : STEP_AWAIT);
    if (s->worker->phase != PHASE_SERVING)
        return;
    child_tick(c, mono_ms());
    consumers_slot(s);
}

const struct child_events attempt_child_events = {on_child_ready, on_child_done, on_child_ended};
