/* SPDX-License-Identifier: Apache-2.0 */
/* map_progress.h - how far a run is, on stderr: a bar that changes on a terminal, now and then a line in a log.
 *
 *   [##########..............] 412 of 1000, 3 failed, 41.2/s, 15 s left
 */
#ifndef MILLRACE_CLI_MAP_PROGRESS_H
#define MILLRACE_CLI_MAP_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

#define PROGRESS_MARKS 16

struct progress {
    bool    is_terminal;
    size_t  all, done, failed; /* of the dataset */
    size_t  before;            /* had ended when this session began */
    int64_t shown_ms;          /* mono; when it was last shown */
    struct progress_mark {
        int64_t at_ms;
        size_t  ended;
    } marks[PROGRESS_MARKS]; /* of the last seconds, for the rate: a ring */
    int  mark_count;
    bool is_bar_up; /* the cursor stands behind a bar */
};

/* now: mono, ms. done and failed so far. */
void progress_init(struct progress *p, bool is_terminal, size_t all, size_t done, size_t failed, int64_t now);

void progress_ended(struct progress *p, bool is_done);

/* Shows how far it is, if it is time for that again, or is_last. */
void progress_show(struct progress *p, int64_t now, bool is_last);

/* A line between: of a file that failed, or of trouble. Control characters become '?'. */
void progress_say(struct progress *p, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What is shown: files per second over the last seconds, and the text; columns: of the terminal, which it
 * does not fill, 0: a log. */
double progress_rate(const struct progress *p, int64_t now);
void   progress_text(const struct progress *p, int64_t now, int columns, struct buf *out);

#endif
