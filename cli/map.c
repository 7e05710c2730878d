/* SPDX-License-Identifier: Apache-2.0 */
/* map.c - millrace map DATASET OUTPUT: each file of a folder through the fleet, into another folder.
 *
 *   options -> folders -> the state of an earlier run -> the plan -> the run -> summary and report
 *
 * The plan is in OUTPUT/.millrace before the first file goes out, so that any
 * end, also kill -9, leaves something to go on with.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/http.h"
#include "cli/interrupt.h"
#include "cli/map_batch.h"
#include "cli/map_joblog.h"
#include "cli/map_names.h"
#include "cli/map_options.h"
#include "cli/map_report.h"
#include "cli/map_run.h"
#include "cli/map_summary.h"
#include "cli/map_walk.h"
#include "common/clock.h"

struct map {
    struct cli          *cli;
    struct map_options   options;
    struct state         state;
    struct plan          plan;
    struct walk_left_out left_out;
    char                *dataset; /* owned: its absolute path */
    FILE                *joblog;
    bool                 is_new; /* there was no run to go on with */
    struct fault         why;
};

/* ---- what there is to do ---------------------------------------------------------------- */

/* A state that is there must be wanted, and agree with what was said now. */
static enum err check_state(struct map *m)
{
    const struct map_options *o = &m->options;
    const struct state       *st = &m->state;

    m->is_new = !st->dataset;
    if (m->is_new)
        return o->target ? ERR_OK
                         : fault_set(&m->why, ERR_PARAM,
                                     "what is to be done with the files? --kind, --ops or --command says it");
    if (!o->resumes)
        return fault_set(&m->why, ERR_PARAM,
                         "the output folder has the state of an earlier run: --resume goes on with it; to begin anew, "
                         "remove its folder " STATE_FOLDER);
    if (strcmp(st->dataset, m->dataset) != 0)
        return fault_set(&m->why, ERR_PARAM, "the run in the output folder is over another dataset: %.150s", st->dataset);
    if (o->target && strcmp(st->target, o->target) != 0)
        return fault_set(&m->why, ERR_PARAM, "the run in the output folder is another one: '%.90s', not '%.90s'",
                         st->target, o->target);
    return ERR_OK;
}

/* A file that a later look at the dataset found new or changed. Bases of new ones come with names_assign. */
static void forget_state(void *ctx, size_t index)
{
    (void)ctx;
    (void)index;
}

/* The dataset as it is now into the plan of an earlier run, or as the plan. */
static enum err make_plan(struct map *m)
{
    struct plan now;
    size_t      known = m->plan.count;
    enum err    e;

    plan_init(&now);
    e = walk_dataset(m->dataset, &now, &m->left_out, &m->why);
    if (!e) {
        plan_merge(&m->plan, &now, forget_state, NULL);
        names_assign(&m->plan, known);
    }
    plan_free(&now);
    return e;
}

enum err begin_state(struct map *m);

/* ---- --dry-run ------------------------------------------------------------------------------ */

static void show_plan(struct map *m)
{
    struct buf name = {0};

    for (size_t i = 0; i < m->plan.count; i++) {
        if (m->plan.files[i].state != PLAN_TO_DO || m->plan.files[i].is_gone)
            continue;
        printf("%s\n", plan_name(&m->plan, i));
    }
    buf_free(&name);
}
