/* SPDX-License-Identifier: Apache-2.0 */
/* map_follow.c - the group of a run: made, followed by its ends, closed, found again when the store lost it.
 *
 * Ends come in the order in which they happened, from a position on. A page is
 * read after the one before; the position that goes into the journal is that of
 * the oldest page with a file whose result is not in place yet (map_run.c).
 */
#include <stdlib.h>
#include <string.h>

#include "cli/map_run_impl.h"
#include "common/clock.h"
#include "common/job.h"

#define PAGE 100
#define WAIT_S 25
#define SHORT_MS 1000 /* an empty answer that took less was no long poll: the group has ended */
#define PAUSE_MS 500
#define LAST_CALL_MS 5000 /* how long the gateway may be away when the group is closed or cancelled */
#define ASK_ORPHANS_MS 1000
#define DOUBTS_MAX 3

/* ---- ends that come before the answer to their submit ---------------------------------- */

static void keep_early(struct run *run, const struct record *record, uint64_t position)
{
    if (!run->submitting)
        return; /* it is nobody's: of an earlier client */
    if (run->early_count == run->early_cap) {
        run->early_cap = run->early_cap ? run->early_cap * 2 : 16;
        run->early = xrealloc(run->early, run->early_cap * sizeof *run->early);
    }
    run->early[run->early_count++] = (struct early){*record, position, run->stamps};
}

/* Drops those that no submit under way can be about. */
static void prune_early(struct run *run)
{
    uint64_t oldest = UINT64_MAX;
    size_t   kept = 0;

    for (unsigned i = 0; run->early_count && i < run->config->jobs; i++)
        if (run->slots[i].step == SLOT_SUBMITTING && run->slots[i].stamp < oldest)
            oldest = run->slots[i].stamp;
    for (size_t i = 0; i < run->early_count; i++)
        if (run->early[i].stamp >= oldest)
            run->early[kept++] = run->early[i];
    run->early_count = kept;
}

bool follow_claim(struct run *run, const char *id, struct record *record, uint64_t *position)
{
    for (size_t i = 0; i < run->early_count; i++) {
        if (strcmp(run->early[i].record.id, id) != 0)
            continue;
        *record = run->early[i].record;
        *position = run->early[i].position;
        run->early[i] = run->early[--run->early_count];
        return true;
    }
    return false;
}

/* ---- following ----------------------------------------------------------------------------- */

static void take_page(struct run *run, const json_t *doc)
{
    const json_t *ends = json_object_get(doc, "ends");
    int64_t       next = json_integer_value(json_object_get(doc, "next"));
    struct record record;

    prune_early(run);
    for (size_t i = 0; i < json_array_size(ends); i++) {
        struct slot *slot;

        record_read(json_array_get(ends, i), &record);
        slot = slot_of_job(run, record.id);
        if (slot)
            slot_end(slot, &record, run->position);
        else
            keep_early(run, &record, run->position);
    }
    run->position = next < 0 || (uint64_t)next < run->position ? 0 : (uint64_t)next; /* less: the list was lost */
    if (!json_array_size(ends) && mono_ms() - run->follow_due_ms < SHORT_MS)
        run->follow_due_ms = mono_ms() + PAUSE_MS;
}

static void on_page(struct transfer *t)
{
    struct run *run = t->ctx;
    json_t     *doc;

    run->is_following = false;
    if (t->outcome == EXIT_OK) {
        doc = json_loadb(t->answer.data, t->answer.len, 0, NULL);
        take_page(run, doc);
        json_decref(doc);
    } else if (t->status == 404) {
        run->is_in_doubt = true;
    } else if (t->status == 500) {
        run->follow_due_ms = mono_ms() + PAUSE_MS;
    } else {
        run_stop(run, t->outcome == EXIT_AWAY ? RUN_AWAY : RUN_REFUSED, true, "%s", t->reason);
    }
}

void follow_group(struct run *run)
{
    const struct run_config *c = run->config;
    int64_t                  now = mono_ms();

    if (run->is_following || run->is_in_doubt || !run->busy || run->fetching >= FETCHES_MAX || now < run->follow_due_ms)
        return;
    run->is_following = true;
    run->follow_due_ms = now; /* when it began, until it ends */
    transfer_free(&run->follow);
    transfer_init(&run->follow, "GET", "/groups/%s/ends?after=%llu&limit=%d&wait=%d", c->state->group,
                  (unsigned long long)run->position, PAGE, WAIT_S);
    run->follow.ctx = run;
    run->follow.done = on_page;
    http_start(c->http, &run->follow);
}

/* ---- the group ----------------------------------------------------------------------------- */

/* Makes a new one; the jobs of the old one are asked for one by one. */
static void make_group(struct run *run)
{
    const struct run_config *c = run->config;
    struct transfer          t;
    json_t                  *doc = NULL;
    const char              *id;
    char                     key[JOB_ID_BYTES];

    job_id_new(key);
    transfer_init(&t, "POST", "/groups");
    t.idempotency = key; /* may be repeated: a group of which the answer was lost stays empty, and harms nobody */
    if (http_do(c->http, &t) == EXIT_OK)
        doc = json_loadb(t.answer.data, t.answer.len, 0, NULL);
    id = json_string_value(json_object_get(doc, "id"));
    if (id && strlen(id) < GROUP_BYTES) {
        state_note_group(c->state, id);
        if (state_save(c->state, true, run->why))
            run_stop(run, RUN_LOCAL, true, "%s", run->why->detail);
        run->is_in_doubt = run->was_refused = false;
        run->position = 0;
        run->follow_due_ms = 0;
    } else if (t.outcome != EXIT_INTERRUPTED) {
        run_stop(run, t.outcome == EXIT_AWAY ? RUN_AWAY : RUN_REFUSED, true, "%s",
                 t.outcome ? t.reason : "the gateway's answer to POST /groups is no group");
    }
    json_decref(doc);
    transfer_free(&t);
    for (unsigned i = 0; i < c->jobs; i++)
        if (run->slots[i].step == SLOT_IN_FLEET) {
            run->slots[i].pause_ms = ASK_ORPHANS_MS;
            run->slots[i].due_ms = mono_ms();
        }
}

static bool is_open(const struct transfer *t)
{
    json_t     *doc = json_loadb(t->answer.data, t->answer.len, 0, NULL);
    const char *state = json_string_value(json_object_get(doc, "state"));
    bool        answer = state && !strcmp(state, "open");

    json_decref(doc);
    return answer;
}

void follow_resolve(struct run *run)
{
    const struct run_config *c = run->config;
    struct transfer          t;

    if (!run->is_in_doubt)
        return;
    run->doubted_stamp = run->stamps;
    http_forgive(c->http); /* a run that is to stop needs its group to hear of what is under way */
    if (!*c->state->group) {
        make_group(run);
        return;
    }
    transfer_init(&t, "GET", "/groups/%s", c->state->group);
    http_do(c->http, &t);
    if (t.outcome == EXIT_OK && is_open(&t)) {
        /* Not for the group's sake, unless a worker brought it back meanwhile; why has the reason. */
        if (run->was_refused && ++run->doubts >= DOUBTS_MAX)
            run_stop(run, RUN_REFUSED, true, NULL);
        run->is_in_doubt = run->was_refused = false;
    } else if (t.outcome == EXIT_OK || t.status == 404) {
        make_group(run);
    } else if (t.outcome != EXIT_INTERRUPTED) {
        run_stop(run, t.outcome == EXIT_AWAY ? RUN_AWAY : RUN_REFUSED, true, "%s", t.reason);
    }
    transfer_free(&t);
}

/* below: behind the group's own path. */
static void call(struct run *run, const char *method, const char *below)
{
    struct transfer t;

    http_set_patience(run->config->http, LAST_CALL_MS, NULL, NULL);
    transfer_init(&t, method, "/groups/%s%s", run->config->state->group, below);
    http_do(run->config->http, &t); /* a group that stays open, or is gone, does no harm */
    transfer_free(&t);
}

void follow_close(struct run *run) { call(run, "POST", "/close"); }

void follow_cancel(struct run *run)
{
    http_forgive(run->config->http);
    call(run, "DELETE", "");
}

void follow_free(struct run *run)
{
    if (run->is_following)
        http_abort(run->config->http, &run->follow);
    transfer_free(&run->follow);
    free(run->early);
}
