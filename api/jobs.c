/* SPDX-License-Identifier: Apache-2.0 */
/* jobs.c - one job's record: GET /jobs/ID[?wait=S], DELETE /jobs/ID, POST /jobs/ID/retry. */
#include "api/gateway.h"
#include "common/log.h"

void answer_record(struct request *r, int status, const struct record *record)
{
    struct buf body = {0};

    record_to_json(record, &body);
    request_answer(r, status, "application/json", &body);
}

void answer_store_trouble(struct request *r, enum store_answer answer)
{
    if (answer == STORE_FULL)
        request_fail(r, ERR_STORE_FULL, "Redis has reached its maxmemory, or the outbox its bound");
    else
        request_fail(r, ERR_STORE_DOWN, "Redis does not answer");
}

void answer_no_job(struct request *r, const char *id)
{
    struct gateway *gw = request_gateway(r);

    if (job_id_is_valid(id) && job_id_wall_ms(id) < store_epoch(gw->store) / 1000)
        request_fail(r, ERR_NOT_FOUND,
                     "there is no such job; Redis was restarted or lost its data after this id was made: a job that "
                     "is still queued will be known again as soon as a worker takes it");
    else
        request_fail(r, ERR_NOT_FOUND, "there is no such job, or its record has expired");
}

const char *request_job_id(struct request *r)
{
    const char *id = request_segment(r);

    if (job_id_is_valid(id))
        return id;
    request_fail(r, ERR_NOT_FOUND, "the path names no job: an id is a UUID in lower case");
    return NULL;
}

bool job_has_ended(const struct store_reply *reply) { return job_state_is_terminal(reply->record->state); }

/* ---- GET ------------------------------------------------------------------ */

static void answer_reply(struct request *r, const struct store_reply *reply) { answer_record(r, 200, reply->record); }

static void ask_record(struct request *r, const char *id, bool watch, store_fn *fn, void *ctx)
{
    read_job(r, id, watch, false, fn, ctx);
}

static const struct longpoll record_poll = {
    .ask = ask_record, .is_over = job_has_ended, .answer = answer_reply, .answer_gone = answer_no_job};

static void job_get_end(struct request *r)
{
    const char *id = request_job_id(r);

    if (id)
        longpoll_start(r, id, &record_poll);
}

const struct handler job_get_handler = {NULL, NULL, job_get_end, longpoll_gone};

/* ---- DELETE, retry ---------------------------------------------------------- */

/* What the store said to a cancel or a retry; wanted: what state it takes, moved: what would have been done. */
static void answer_moved(struct request *r, const struct store_reply *reply, const char *wanted, const char *moved)
{
    struct fault why;

    switch (reply->answer) {
    case STORE_OK:
        answer_record(r, 202, reply->record);
        return;
    case STORE_REFUSED:
        if (*reply->record->parent)
            fault_set(&why, ERR_WRONG_STATE, "the job is member %lld of the group %s; only all of it can be %s",
                      (long long)reply->record->member, reply->record->parent, moved);
        else
            fault_set(&why, ERR_WRONG_STATE, "the job is %s; only one that %s can be %s",
                      job_state_name(reply->record->state), wanted, moved);
        request_fail_why(r, &why);
        return;
    case STORE_NO_INPUT:
        request_fail(r, ERR_GONE, "the input of this job is no longer kept; submit it again");
        return;
    case STORE_GONE:
        answer_no_job(r, request_segment(r));
        return;
    default:
        answer_store_trouble(r, reply->answer);
    }
}

/* moved: by this call. */
static void log_moved(enum log_event moved, const struct store_reply *reply)
{
    const struct record *r = reply->record;

    if (reply->answer == STORE_OK)
        log_event(moved, LOG_JOB(r->id, r->kind, r->attempt));
}

static void on_cancelled(void *ctx, const struct store_reply *reply)
{
    log_moved(EVENT_JOB_CANCELLED, reply);
    answer_moved(ctx, reply, "has not ended", "cancelled");
}

static void job_cancel_end(struct request *r)
{
    const char *id = request_job_id(r);

    if (id)
        store_cancel(request_gateway(r)->store, id, on_cancelled, r);
}

static void on_retried(void *ctx, const struct store_reply *reply)
{
    struct request *r = ctx;

    log_moved(EVENT_JOB_RETRIED, reply);
    if (reply->answer == STORE_OK)
        relay_kick(request_gateway(r)->relay);
    answer_moved(r, reply, "has failed", "retried");
}

static void job_retry_end(struct request *r)
{
    const char *id = request_job_id(r);

    if (id)
        store_retry(request_gateway(r)->store, id, on_retried, r);
}

const struct handler job_cancel_handler = {NULL, NULL, job_cancel_end, NULL};
const struct handler job_retry_handler = {NULL, NULL, job_retry_end, NULL};
