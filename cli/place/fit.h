/* SPDX-License-Identifier: Apache-2.0 */
/* fit.h - whether a node takes a pod of a job, by the scheduler's rules for taints, labels and amounts; pure. */
#ifndef MILLRACE_CLI_PLACE_FIT_H
#define MILLRACE_CLI_PLACE_FIT_H

#include "cli/place/batch.h"
#include "common/buf.h"

enum fit {
    FIT_YES,
    FIT_NOT_READY,
    FIT_CORDONED,
    FIT_TAINTED,
    FIT_OTHER_LABELS,
    FIT_TOO_SMALL, /* the node could not take it if it were empty */
};

/* Whether the node can ever take a pod of the job, as the node is now. */
enum fit fit_of(const struct task *t, const struct node *n);

/* Why it does not, appended; for FIT_YES, that there is no room now. */
void fit_say(enum fit fit, const struct task *t, const struct node *n, const struct amount *free, struct buf *out);

/* How many such pods there is room for; at most as many as one can ask for. */
int64_t fit_count(const struct amount *need, const struct amount *free);

/* Taints of the kind PreferNoSchedule that the job does not tolerate. */
int fit_discouraged(const struct task *t, const struct node *n);

#endif
