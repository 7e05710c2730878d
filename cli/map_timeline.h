/* SPDX-License-Identifier: Apache-2.0 */
/* map_timeline.h - how many jobs each worker ran at each moment, drawn.
 *
 * Time is cut into as many pieces as there are columns, so the memory depends
 * on the workers alone, and a run of a million files is as easy to draw as one
 * of ten.
 */
#ifndef MILLRACE_CLI_MAP_TIMELINE_H
#define MILLRACE_CLI_MAP_TIMELINE_H

#include <stdint.h>

#include "common/buf.h"

#define TIMELINE_COLUMNS 600
#define TIMELINE_ROWS 64 /* workers beyond share the last row */

struct timeline {
    int64_t from_ms, to_ms; /* wall */
    struct timeline_row {
        char   worker[96];
        size_t files;
        double busy_s;
        float  running[TIMELINE_COLUMNS]; /* jobs, on average over the column */
    } * rows;                             /* owned */
    size_t count;
};

void timeline_init(struct timeline *t, int64_t from_ms, int64_t to_ms);
void timeline_free(struct timeline *t);

/* A job: what lies outside of the time is cut off. */
void timeline_add(struct timeline *t, const char *worker, int64_t started_ms, int64_t run_us);

/* Appends an inline SVG element, a row for each worker. */
void timeline_draw(const struct timeline *t, struct buf *out);

#endif
