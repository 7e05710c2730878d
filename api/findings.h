/* SPDX-License-Identifier: Apache-2.0 */
/* findings.h - what an audit has found so far, and what is left of it when it is
 * looked at again. Pure: no clock, no I/O.
 *
 * A finding is a fault, or a bare job: one that should have a message in the
 * broker. Which job a message is of only a worker learns, so bare jobs are held
 * against a count: where there are more of them than messages, in each of
 * several looks, the oldest of those that nothing happened to meanwhile are
 * suspected. What moves between two looks is no finding.
 */
#ifndef MILLRACE_FINDINGS_H
#define MILLRACE_FINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "kinds/kind.h"

#define FINDINGS_MAX 2000 /* that are kept; more are counted */

struct finding {
    char    id[64];
    int     kind; /* -1: of none */
    char    state[16];
    char    mark[96]; /* the same as long as nothing happens to it */
    char   *why;      /* owned */
    int64_t since;    /* of a bare job, ms */
    bool    is_bare;
    bool    is_final; /* true whatever happens: not looked at again */
    bool    is_seen;  /* in the look that is under way */
};

struct findings {
    struct finding *each; /* owned */
    size_t          count, room;
    int64_t         more; /* that were not kept */
};

/* Messages and jobs at one moment. */
struct balance {
    int64_t bare[KIND_COUNT];  /* live jobs that nobody has a lease of */
    int64_t ready[KIND_COUNT]; /* messages in the work queue */
    int64_t delayed;           /* messages in the delay queues, of any kind */
    int64_t outbox;            /* entries of any kind */
};

void findings_clear(struct findings *f);

/* Copies a finding, once. */
void findings_add(struct findings *f, const struct finding *found, const char *why);

/* Another look begins; this was found in it; it is over: what was not found again is dropped. */
void findings_look(struct findings *f);
void findings_see(struct findings *f, const char *id, int kind, const char *mark);
void findings_keep(struct findings *f);

/* Bare jobs of the kind that are in-progress: their leases are over. */
int64_t findings_lost(const struct findings *f, int kind);

/* Jobs beyond the messages that could be theirs; <= 0: there may be one for each. */
int64_t balance_missing(const struct balance *b);

/* Leaves of the bare jobs the `missing` oldest of kinds that have more of them than messages, the oldest first;
 * those beyond that were never found are counted in `more`. */
void findings_suspect(struct findings *f, const struct balance *b, int64_t missing);

#endif
