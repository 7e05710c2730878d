/* SPDX-License-Identifier: Apache-2.0 */
/* map_slot.c - the way of one file through its slot; see map_run.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/map_nameset.h"
#include "cli/map_run_impl.h"
#include "common/clock.h"

#define ASK_FIRST_MS 60000 /* a job that was not heard of for so long is asked for, in case its end was lost */
#define ASK_MAX_MS 60000
#define TRIES_MAX 8
#define TRY_MAX_MS 10000
#define LOST_SENTENCE "the job was lost by the fleet %u times"

static void submit(struct slot *slot);
static void fetch(struct slot *slot);

/* ---- slots ---------------------------------------------------------------------- */

static struct slot **bucket_of(struct run *run, const char *id)
{
    return &run->by_job[nameset_hash(id, strlen(id)) % JOB_BUCKETS];
}

struct slot *slot_of_job(const struct run *run, const char *id)
{
    struct slot *slot = *bucket_of((struct run *)run, id);

    while (slot && strcmp(slot->record.id, id) != 0)
        slot = slot->next;
    return slot;
}

static void enter_job(struct slot *slot, const char *id)
{
    struct slot **bucket = bucket_of(slot->run, id);

    memmove(slot->record.id, id, strlen(id) + 1);
    slot->next = *bucket;
    *bucket = slot;
}

static void forget_job(struct slot *slot)
{
    struct slot **at = bucket_of(slot->run, slot->record.id);

    if (!*slot->record.id)
        return;
    while (*at != slot)
        at = &(*at)->next;
    *at = slot->next;
    slot->record = (struct record){0};
}

static void free_slot(struct slot *slot)
{
    struct run *run = slot->run;

    forget_job(slot);
    transfer_free(&slot->transfer);
    slot->transfer = (struct transfer){0};
    slot->step = SLOT_FREE;
    slot->next = run->free;
    run->free = slot;
    run->busy--;
}

void slot_leave(struct slot *slot)
{
    struct run *run = slot->run;

    if (slot->step == SLOT_FREE)
        return;
    run->submitting -= slot->step == SLOT_SUBMITTING;
    run->asking -= slot->step == SLOT_ASKING;
    run->fetching -= slot->step == SLOT_FETCHING;
    http_abort(run->config->http, &slot->transfer);
    free_slot(slot);
}

void slot_begin(struct run *run, size_t index)
{
    struct slot *slot = run->free;

    run->free = slot->next;
    run->busy++;
    slot->next = NULL;
    slot->index = index;
    slot->tries = 0;
    slot->record = (struct record){0};
    submit(slot);
}

/* ---- how it goes wrong -------------------------------------------------------------- */

static void fail(struct slot *slot, const char *code, const char *detail)
{
    struct run   *run = slot->run;
    struct ending end = {.started_ms = slot->record.started_ms,
                         .run_us = slot->record.run_us,
                         .worker = slot->record.worker,
                         .code = code,
                         .detail = detail};

    state_note_end(run->config->state, run->config->plan, slot->index, &end);
    run_ended(run, slot->index, &end);
    free_slot(slot);
}

/* The gateway does not take it, or has nothing for it: "422 bad-body: why". A key that it does not know is no fault of
 * the file. */
static void fail_refused(struct slot *slot)
{
    const struct transfer *t = &slot->transfer;
    const char            *detail = *t->code ? strstr(t->reason, ": ") : NULL;

    if (t->status == 401 || t->status == 403)
        run_stop(slot->run, RUN_REFUSED, true, "%s", t->reason);
    else
        fail(slot, *t->code ? t->code : "refused", detail ? detail + 2 : t->reason);
}

/* Its job is no more: the file is submitted under another key. */
static void again(struct slot *slot)
{
    struct run *run = slot->run;
    char        detail[64];

    if (++slot->tries > TRIES_MAX) {
        snprintf(detail, sizeof detail, LOST_SENTENCE, slot->tries);
        fail(slot, "lost", detail);
        return;
    }
    forget_job(slot);
    state_note_again(run->config->state, run->config->plan, slot->index);
    if (state_save(run->config->state, false, run->why))
        run_stop(run, RUN_LOCAL, true, "%s", run->why->detail);
    slot->step = SLOT_TO_SUBMIT;
    slot->due_ms = mono_ms();
}

/* Once more after a while. */
static void wait_for(struct slot *slot, enum slot_step step)
{
    int64_t pause = INT64_C(500) << (slot->tries < 6 ? slot->tries : 6);

    slot->tries++;
    slot->step = step;
    slot->due_ms = mono_ms() + (pause < TRY_MAX_MS ? pause : TRY_MAX_MS);
}

/* What the gateway could not do, or not be asked for. step: where to go on once it can. */
static void judge_away(struct slot *slot, enum slot_step step)
{
    const struct transfer *t = &slot->transfer;

    if (t->status == 501)
        fail_refused(slot);
    else if ((t->status == 500 || t->status == 507) && slot->tries < TRIES_MAX)
        wait_for(slot, step);
    else
        run_stop(slot->run, RUN_AWAY, true, "%s", t->reason);
}

/* ---- submit -------------------------------------------------------------------------- */

static void ask(struct slot *slot);

static void accepted(struct slot *slot)
{
    struct run   *run = slot->run;
    json_t       *doc = json_loadb(slot->transfer.answer.data, slot->transfer.answer.len, 0, NULL);
    struct record record, end;
    uint64_t      position;

    record_read(doc, &record);
    json_decref(doc);
    if (!*record.id || record.state == RECORD_NONE) {
        run_stop(run, RUN_REFUSED, true, "what answers at %s is no gateway of millrace", http_url(run->config->http));
        return;
    }
    enter_job(slot, record.id);
    run->doubts = 0;
    slot->step = SLOT_IN_FLEET;
    slot->pause_ms = ASK_FIRST_MS;
    slot->due_ms = mono_ms() + slot->pause_ms;
    slot->position = run->position;
    if (follow_claim(run, record.id, &end, &position))
        slot_end(slot, &end, position);
    else if (record.state != RECORD_LIVE) /* an earlier client's job, which has ended meanwhile */
        ask(slot);
}

static void refused(struct slot *slot)
{
    struct run            *run = slot->run;
    const struct transfer *t = &slot->transfer;

    if (t->status == 404) { /* the group is lost, or there is no such kind */
        run->is_in_doubt = true;
        run->was_refused |= slot->stamp > run->doubted_stamp;
        fault_set(run->why, ERR_NOT_FOUND, "%.250s", t->reason);
    } else if (t->status == 409) {
        run_stop(run, RUN_REFUSED, false, "the group of the jobs was closed by somebody else");
        slot_leave(slot);
    } else if (!strcmp(t->code, "key-reused")) { /* the file's bytes changed, its size and time did not */
        again(slot);
    } else if (!strcmp(t->code, "bad-parameter")) {
        run_stop(run, RUN_REFUSED, true, "%s", t->reason);
    } else {
        fail_refused(slot);
    }
}

static void on_submitted(struct transfer *t)
{
    struct slot *slot = t->ctx;

    slot->run->submitting--;
    slot->step = SLOT_TO_SUBMIT;
    slot->due_ms = mono_ms();
    slot->run->has_begun |= t->outcome == EXIT_OK || t->outcome == EXIT_AWAY;
    if (t->outcome == EXIT_OK)
        accepted(slot);
    else if (t->outcome == EXIT_REFUSED)
        refused(slot);
    else if (t->outcome == EXIT_AWAY)
        judge_away(slot, SLOT_TO_SUBMIT);
    else
        fail(slot, "io", t->reason);
}

static void start(struct slot *slot, enum slot_step step, void (*done)(struct transfer *t))
{
    slot->step = step;
    slot->transfer.ctx = slot;
    slot->transfer.done = done;
    http_start(slot->run->config->http, &slot->transfer);
}

static void submit(struct slot *slot)
{
    struct run             *run = slot->run;
    const struct state     *st = run->config->state;
    const struct plan_file *file = &run->config->plan->files[slot->index];
    const char             *name = plan_name(run->config->plan, slot->index);
    struct buf              target = {0};

    slot->path.len = 0;
    buf_printf(&slot->path, "%s/%s", st->dataset, name);
    buf_append(&slot->path, "", 1);
    snprintf(slot->key, sizeof slot->key, file->again ? "%s-%zu.%" PRIu32 : "%s-%zu", st->group, slot->index,
             file->again);
    slot->stamp = ++run->stamps;
    run->submitting++;
    transfer_free(&slot->transfer);
    target_put_file(st->target, &st->limits, st->group, name, &target);
    transfer_init(&slot->transfer, "POST", "/jobs/%.*s", (int)target.len, target.data);
    buf_free(&target);
    slot->transfer.idempotency = slot->key;
    slot->transfer.content_type = "application/octet-stream";
    slot->transfer.body_file = slot->path.data;
    start(slot, SLOT_SUBMITTING, on_submitted);
}

/* ---- in the fleet ----------------------------------------------------------------------- */

void slot_end(struct slot *slot, const struct record *record, uint64_t position)
{
    if ((slot->step != SLOT_IN_FLEET && slot->step != SLOT_ASKING) || strcmp(record->id, slot->record.id) != 0)
        return; /* heard of twice */
    if (record->state == RECORD_LIVE || record->state == RECORD_NONE)
        return; /* no end: the next question will tell */
    if (slot->step == SLOT_ASKING) {
        slot->run->asking--;
        http_abort(slot->run->config->http, &slot->transfer);
    }
    slot->record = *record;
    slot->position = position;
    slot->step = SLOT_IN_FLEET;
    switch (record->state) {
    case RECORD_COMPLETED:
        slot->tries = 0;
        fetch(slot);
        break;
    case RECORD_FAILED:
        fail(slot, record->code, record->detail);
        break;
    case RECORD_CANCELLED:
        fail(slot, "cancelled", "the job was cancelled");
        break;
    case RECORD_GONE:
        again(slot);
        break;
    case RECORD_LIVE:
    case RECORD_NONE:
        break;
    }
}

static void on_asked(struct transfer *t)
{
    struct slot  *slot = t->ctx;
    struct record record = {.state = RECORD_NONE};
    json_t       *doc;

    slot->run->asking--;
    slot->step = SLOT_IN_FLEET;
    slot->due_ms = mono_ms() + slot->pause_ms;
    if (t->outcome == EXIT_OK) {
        doc = json_loadb(t->answer.data, t->answer.len, 0, NULL);
        record_read(doc, &record);
        json_decref(doc);
        slot_end(slot, &record, slot->position);
    } else if (t->status == 404 || t->status == 410) {
        again(slot);
    } else if (t->outcome == EXIT_AWAY) {
        judge_away(slot, SLOT_IN_FLEET);
    } else {
        fail_refused(slot);
    }
}

static void ask(struct slot *slot)
{
    slot->pause_ms = slot->pause_ms * 2 < ASK_MAX_MS ? slot->pause_ms * 2 : ASK_MAX_MS;
    transfer_free(&slot->transfer);
    transfer_init(&slot->transfer, "GET", "/jobs/%s", slot->record.id);
    slot->run->asking++;
    start(slot, SLOT_ASKING, on_asked);
}

/* ---- the result ---------------------------------------------------------------------------- */

static void on_fetched(struct transfer *t)
{
    struct slot *slot = t->ctx;
    struct run  *run = slot->run;

    run->fetching--;
    slot->step = SLOT_TO_FETCH;
    slot->due_ms = mono_ms();
    if (t->outcome == EXIT_OK) {
        if (run->batch.count == BATCH_MAX && batch_commit(&run->batch, run->why)) {
            run_stop(run, RUN_LOCAL, true, "%s", run->why->detail);
            return;
        }
        batch_add(&run->batch, slot->index, t->received, t->type, &slot->record);
        free_slot(slot);
    } else if (t->status == 404 || t->status == 410) {
        again(slot);
    } else if (t->outcome == EXIT_AWAY) {
        judge_away(slot, SLOT_TO_FETCH);
    } else if (t->outcome == EXIT_LOCAL) {
        run_stop(run, RUN_LOCAL, true, "%s", t->reason);
    } else {
        fail_refused(slot);
    }
}

static void fetch(struct slot *slot)
{
    slot->temporary.len = 0;
    batch_temporary(slot->run->config->state, slot->index, &slot->temporary);
    slot->run->fetching++;
    transfer_free(&slot->transfer);
    transfer_init(&slot->transfer, "GET", "/jobs/%s/result", slot->record.id);
    slot->transfer.into = slot->temporary.data;
    start(slot, SLOT_FETCHING, on_fetched);
}

void slot_sweep(struct slot *slot, int64_t now)
{
    bool is_due = slot->due_ms <= now;

    if (slot->step == SLOT_TO_SUBMIT && slot->run->stop != RUN_ALL)
        slot_leave(slot); /* nothing new is begun */
    else if (slot->step == SLOT_TO_SUBMIT && is_due && slot->run->submitting < UPLOADS_MAX)
        submit(slot);
    else if (slot->step == SLOT_IN_FLEET && is_due && slot->run->asking < ASKS_MAX)
        ask(slot);
    else if (slot->step == SLOT_TO_FETCH && is_due)
        fetch(slot);
}
