/* SPDX-License-Identifier: Apache-2.0 */
/* outcome.h - what the end of an executor, or its answer, means for the attempt.
 *
 * Pure: a wait status, a frame or an error goes in, a fault or a wait comes
 * out. It is the one place where ends are classified.
 */
#ifndef MILLRACE_OUTCOME_H
#define MILLRACE_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "worker/frame.h"

/* Why the supervisor killed an executor. */
enum kill_reason {
    KILL_NOT,     /* it ended by itself, or somebody else killed it */
    KILL_TIMEOUT, /* the attempt's time limit */
    KILL_JOB,     /* the job was cancelled, taken over or handed back */
    KILL_RECYCLE, /* old or grown */
    KILL_REST,    /* nobody needed it for a while */
    KILL_SILENT,  /* did not become ready */
    KILL_GARBLED, /* sent what no executor sends */
    KILL_END,     /* the worker ends */
    KILL_REASON_COUNT
};

/* Whether such an end speaks against the executor: then starts are spaced out. */
bool outcome_is_abnormal(enum kill_reason reason);

/* Fills why with what the executor's end means for the attempt it was at.
 * status: of waitpid. limit_s: the attempt's time limit. */
void outcome_of_end(int status, enum kill_reason reason, int64_t limit_s, struct fault *why);

/* What a result may be. */
struct result_bounds {
    uint64_t room_max;      /* bytes in memory, by the kind and the room; 0 where only a file can be */
    int64_t  file_bytes;    /* of the output file, as it is now; -1: there is none */
    uint64_t file_max;      /* bytes of it by the kind */
    bool     is_open_ended; /* the answer says whether it is in memory or in the file, and of which type; else it is in
                             * the file if there is one, and just file_max long */
};

/* Judges an answer, trusting nothing in it: ERR_OK when output_len bytes are the result, and is_file, sum (of a file's
 * bytes), media (printable, or "") and verified (JSON, or "") may be used; else why. */
enum err outcome_of_done(const struct frame_done *done, const struct result_bounds *bounds,
                         struct fault *why) MUST_CHECK;

/* The delay rung after a failure of this class; errors: transient ones before
 * this. dice in [0, 1). Permanent failures do not come back: 0. */
int outcome_rung(enum err err, int64_t errors, int64_t base_s, int64_t cap_s, double dice);

/* Wait in ms before an executor is started again after so many abnormal ends
 * in a row: none after the first, then 100 doubling to 5,000. */
int64_t outcome_restart_ms(int failures);

#endif
