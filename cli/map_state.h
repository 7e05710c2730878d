/* SPDX-License-Identifier: Apache-2.0 */
/* map_state.h - OUTPUT/.millrace: what a run must know to be gone on with.
 *
 *   lock      held by the client that works there
 *   journal   the dataset, what is computed, the plan, each end; see map_state.c
 *   tmp/      results that are not whole yet; emptied when a run begins
 *
 * The journal is there when the whole plan is. A file that it calls done has its
 * output under its final name. Lines are gathered and written by state_save.
 */
#ifndef MILLRACE_CLI_MAP_STATE_H
#define MILLRACE_CLI_MAP_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/map_plan.h"
#include "cli/map_target.h"
#include "common/err.h"

#define STATE_FOLDER ".millrace"
#define GROUP_BYTES 64

struct state {
    char             *output;  /* owned: absolute path */
    char             *dataset; /* owned: absolute path; NULL: there is no run yet */
    char             *target;  /* owned: what is computed: "image?ops=rotate%3A45" */
    struct try_limits limits;
    char              group[GROUP_BYTES]; /* of the jobs; "": none yet */
    uint64_t          position;           /* in the group's ends: all before it are in the journal */
    int               lock_fd, journal_fd;
    uint64_t          size;       /* bytes of the journal, the gathered ones too */
    uint64_t          session_at; /* where in it this client's own lines begin */
    struct buf        gathered;
};

/* How a file ended. */
struct ending {
    bool        is_done;
    int64_t     started_ms;    /* wall time; 0: it never ran */
    int64_t     run_us;        /* from claim to end: CPU time where each slot has a core */
    const char *worker;        /* "" unless it ran */
    uint64_t    bytes;         /* done: of the output */
    const char *output;        /* done: its name, relative to the output folder */
    const char *code, *detail; /* failed: why */
};

/* Opens the folder of `output` (taken), made where it is missing, and locks it; p gets the plan of an earlier run, if
 * there is one. is_dry: nothing is made, locked or changed. ERR_BUSY: another client works there. */
enum err state_open(char *output, bool is_dry, struct state *st, struct plan *p, struct fault *why) MUST_CHECK;
void     state_close(struct state *st);

/* Removes what a killed client had not finished to write. */
void state_empty_temporaries(const struct state *st);

/* Writes the journal of a new run, of the dataset and target in st: the plan as a whole or nothing. */
enum err state_begin(struct state *st, const struct plan *p, struct fault *why) MUST_CHECK;

/* Removes the journal of a run that never began: what is said next may be something else. */
void state_forget(const struct state *st);

void state_note_session(struct state *st, int64_t wall);                    /* a client begins, or goes on */
void state_note_limits(struct state *st, const struct try_limits *limits);  /* from here on */
void state_note_file(struct state *st, const struct plan *p, size_t index); /* new or changed: to be done */
void state_note_again(struct state *st, struct plan *p, size_t index);      /* its last job does not count any more */
void state_note_group(struct state *st, const char *group);                 /* a new one, with a position of 0 */
void state_note_position(struct state *st, uint64_t position);
void state_note_end(struct state *st, struct plan *p, size_t index, const struct ending *end);

/* Writes what was gathered. is_durable: it survives a power cut from now on. */
enum err state_save(struct state *st, bool is_durable, struct fault *why) MUST_CHECK;

/* How a file ended that did, from the journal; out borrows from memory. */
bool state_read_end(const struct state *st, const struct plan *p, size_t index, struct buf *memory, struct ending *out);

/* Whether the file ended in this session. */
bool state_is_of_session(const struct state *st, const struct plan_file *file);

/* OUTPUT/.millrace/tmp/NAME, or OUTPUT/NAME; appended with a NUL. */
void state_path_temporary(const struct state *st, const char *name, struct buf *out);
void state_path_output(const struct state *st, const char *name, struct buf *out);

#endif
