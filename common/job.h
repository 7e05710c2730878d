/* SPDX-License-Identifier: Apache-2.0 */
/* job.h - what a job is called and which states it passes through.
 *
 *   (new) --submit--> pending --claim--> in-progress --finish--> completed
 *                        ^ |                |  |  |
 *                  drain | +--deadline------|--|--+--> failed
 *                        +------------------+  +-----> retrying --claim--> ...
 *
 * The store's scripts guard these moves atomically; this table is their
 * statement, checked against the scripts by the tests.
 */
#ifndef MILLRACE_JOB_H
#define MILLRACE_JOB_H

#include <stdbool.h>
#include <stdint.h>

#define JOB_ID_BYTES 37 /* "0193489c-...": UUID text and NUL */
#define COPY_BYTES 33   /* 128 random bits in hex and NUL */

enum job_state {
    JOB_UNCONFIRMED, /* exists, but no 202 was given: uncounted, short-lived */
    JOB_PENDING,
    JOB_IN_PROGRESS,
    JOB_RETRYING,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_CANCELLED,
    JOB_STATE_COUNT
};

/* "pending", "in-progress", ...; static. */
const char *job_state_name(enum job_state state);

/* The state of this name, or JOB_STATE_COUNT. */
enum job_state job_state_from_name(const char *name);

bool job_state_is_terminal(enum job_state state);

/* Whether the contract knows a move between the two. */
bool job_state_may_move(enum job_state from, enum job_state to);

/* Writes a new UUIDv7 (RFC 9562): 48 bits of wall time in ms, the rest random.
 * Ids made by one process ascend. */
void job_id_new(char out[JOB_ID_BYTES]);

/* Whether text is a UUID in lower-case hex with its dashes. */
bool job_id_is_valid(const char *text);

/* The wall time in ms inside a valid UUIDv7. */
int64_t job_id_wall_ms(const char *id);

/* Writes 128 fresh random bits in hex: the mark of one published copy. */
void job_copy_new(char out[COPY_BYTES]);

#endif
