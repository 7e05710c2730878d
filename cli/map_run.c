/* SPDX-License-Identifier: Apache-2.0 */
/* map_run.c - see the header: the loop over all slots, and why it ends. */
#include "cli/map_run.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/map_joblog.h"
#include "cli/map_run_impl.h"
#include "common/clock.h"

#define BATCH_MS 50 /* the first of a batch waits no longer */
#define SWEEP_MS 100
#define ROUND_MS 200
#define NOTICE_MS 10000

void run_stop(struct run *run, enum run_end how, bool is_abrupt, const char *fmt, ...)
{
    char    detail[sizeof run->why->detail];
    va_list args;

    run->is_abrupt |= is_abrupt;
    if (run->stop != RUN_ALL)
        return;
    run->stop = how;
    if (!fmt)
        return;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args); /* apart: fmt's arguments may lie in why */
    va_end(args);
    fault_set(run->why, ERR_IO, "%s", detail);
}

void run_ended(void *ctx, size_t index, const struct ending *end)
{
    struct run              *run = ctx;
    const struct run_config *c = run->config;

    run->ended++;
    run->failed += !end->is_done;
    progress_ended(c->progress, end->is_done);
    if (c->joblog)
        joblog_put(c->joblog, c->plan, index, end);
    if (!end->is_done) {
        progress_say(c->progress, "%s: %s: %s", plan_name(c->plan, index), end->code, end->detail);
        if (halt_is_due(&c->halt, run->failed, run->ended))
            run_stop(run, RUN_HALTED, c->halt.when == HALT_NOW, "%zu of %zu files failed", run->failed, run->ended);
    }
}

/* ---- one round ------------------------------------------------------------------------ */

/* The next file that is to be done; plan->count: none. */
static size_t find_next(struct run *run)
{
    const struct plan *p = run->config->plan;

    while (run->next_index < p->count &&
           (p->files[run->next_index].state != PLAN_TO_DO || p->files[run->next_index].is_gone))
        run->next_index++;
    return run->next_index;
}

static void fill(struct run *run)
{
    while (run->stop == RUN_ALL && !run->is_in_doubt && run->free && run->submitting < UPLOADS_MAX &&
           find_next(run) < run->config->plan->count)
        slot_begin(run, run->next_index++);
}

/* What is before it in the group's ends is in the journal. */
static uint64_t settled_position(const struct run *run)
{
    uint64_t least = run->position;

    for (unsigned i = 0; i < run->config->jobs; i++) {
        const struct slot *slot = &run->slots[i];

        if ((slot->step == SLOT_FETCHING || slot->step == SLOT_TO_FETCH) && slot->position < least)
            least = slot->position;
    }
    return least;
}

static void commit(struct run *run)
{
    const struct run_config *c = run->config;

    if (batch_commit(&run->batch, run->why))
        run_stop(run, RUN_LOCAL, true, NULL);
    state_note_position(c->state, settled_position(run)); /* is written with the next */
    if (c->joblog)
        fflush(c->joblog);
}

static void sweep(struct run *run, int64_t now)
{
    if (now - run->swept_ms < SWEEP_MS)
        return;
    run->swept_ms = now;
    for (unsigned i = 0; i < run->config->jobs; i++)
        slot_sweep(&run->slots[i], now);
    if (!run->batch.count)
        commit(run); /* failures wait no longer, either */
}

static void heed_signals(struct run *run)
{
    if (interrupt_count() >= 1 && run->stop == RUN_ALL) {
        run_stop(run, RUN_INTERRUPTED, false, "interrupted");
        if (run->busy)
            progress_say(run->config->progress, "stopping: %u files are still under way; Ctrl-C once more cancels them",
                         run->busy);
    }
    if (interrupt_count() >= 2) {
        run->stop = RUN_CANCELLED;
        run->is_abrupt = true;
    }
}

static void go_round(struct run *run)
{
    const struct run_config *c = run->config;
    int64_t                  now = mono_ms(), wait = ROUND_MS;

    follow_resolve(run);
    fill(run);
    follow_group(run);
    if (run->batch.count)
        wait = run->batch.since_ms + BATCH_MS - now;
    http_run(c->http, wait > 0 ? wait : 0);
    now = mono_ms();
    if (run->batch.count && (now - run->batch.since_ms >= BATCH_MS || run->batch.count == BATCH_MAX))
        commit(run);
    sweep(run, now);
    progress_show(c->progress, now, false);
    heed_signals(run);
}

static bool goes_on(struct run *run)
{
    if (run->is_abrupt)
        return false;
    return run->busy || (run->stop == RUN_ALL && find_next(run) < run->config->plan->count);
}

/* ---- from the first to the last ----------------------------------------------------------- */

struct troubled {
    struct progress *progress;
    int64_t          said_ms;
};

static void notice(void *ctx, const char *reason)
{
    struct troubled *t = ctx;

    if (t->said_ms && mono_ms() - t->said_ms < NOTICE_MS)
        return;
    t->said_ms = mono_ms();
    progress_say(t->progress, "%s; trying again", reason);
}

static void open_slots(struct run *run)
{
    run->slots = xcalloc(run->config->jobs, sizeof *run->slots);
    for (unsigned i = run->config->jobs; i-- > 0;) {
        run->slots[i].run = run;
        run->slots[i].next = run->free;
        run->free = &run->slots[i];
    }
}

/* What was under way and is not waited for: to be done by the next client. */
static void leave_all(struct run *run)
{
    if (run->stop == RUN_CANCELLED || (run->stop == RUN_HALTED && run->is_abrupt))
        follow_cancel(run);
    for (unsigned i = 0; i < run->config->jobs; i++) {
        slot_leave(&run->slots[i]);
        buf_free(&run->slots[i].path);
        buf_free(&run->slots[i].temporary);
    }
    free(run->slots);
}

enum run_end map_run(const struct run_config *config, bool *has_begun, struct fault *why)
{
    struct troubled troubled = {.progress = config->progress};
    struct run      run = {.config = config, .why = why, .is_in_doubt = true, .position = config->state->position};

    run.batch = (struct batch){.plan = config->plan, .state = config->state, .ended = run_ended, .ctx = &run};
    http_set_patience(config->http, config->patience_ms, notice, &troubled);
    open_slots(&run);
    heed_signals(&run); /* one may have come while the plan was made */
    while (goes_on(&run))
        go_round(&run);
    if (run.stop != RUN_LOCAL)
        commit(&run);
    leave_all(&run);
    if ((run.stop == RUN_ALL || (run.stop == RUN_REFUSED && !run.has_begun)) && *config->state->group)
        follow_close(&run);
    follow_free(&run);
    progress_show(config->progress, mono_ms(), true);
    http_set_patience(config->http, 0, NULL, NULL);
    *has_begun = run.has_begun;
    return run.stop;
}
