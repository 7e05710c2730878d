/* SPDX-License-Identifier: Apache-2.0 */
/* map_run.h - the run itself: files out, results in, a window of them at a time.
 *
 * Each file that is to be done takes a slot and goes
 *
 *   submit -> in the fleet -> ended -> fetch -> batch -> done
 *                   \-> lost: submit again   \-> failed
 *
 * all on one thread. Memory follows from the number of slots: files are
 * streamed from disk and to disk. Ends are learnt from the group's list by one
 * long poll; a job that is silent for long is asked for by itself.
 */
#ifndef MILLRACE_CLI_MAP_RUN_H
#define MILLRACE_CLI_MAP_RUN_H

#include <stdio.h>

#include "cli/http.h"
#include "cli/map_halt.h"
#include "cli/map_plan.h"
#include "cli/map_progress.h"
#include "cli/map_state.h"

struct run_config {
    struct http     *http;
    struct plan     *plan;
    struct state    *state;
    struct progress *progress;
    FILE            *joblog; /* NULL: none */
    unsigned         jobs;
    struct halt      halt;
    int64_t          patience_ms; /* how long the gateway may be away */
};

enum run_end {
    RUN_ALL,         /* nothing is left to do */
    RUN_HALTED,      /* --halt */
    RUN_INTERRUPTED, /* one signal: what was under way ended */
    RUN_CANCELLED,   /* two: the group was cancelled */
    RUN_REFUSED,     /* the gateway takes no file at all; why says it */
    RUN_AWAY,        /* the gateway was away for longer than the patience */
    RUN_LOCAL,       /* the output folder cannot be written */
};

/* Does all files of the plan that are to be done. All else is borrowed. why is filled for the last three ends.
 * has_begun: whether the gateway took a job, as far as can be known. */
enum run_end map_run(const struct run_config *config, bool *has_begun, struct fault *why);

#endif
