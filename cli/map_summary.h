/* SPDX-License-Identifier: Apache-2.0 */
/* map_summary.h - what came of a run, in numbers and by name; read from the journal, so that it holds across resumes.
 */
#ifndef MILLRACE_CLI_MAP_SUMMARY_H
#define MILLRACE_CLI_MAP_SUMMARY_H

#include "cli/map_plan.h"
#include "cli/map_state.h"

struct summary {
    struct plan_counts files;
    size_t             ended;    /* in this session */
    double             wall_s;   /* of this session */
    double             cpu_s;    /* that its files took on the fleet */
    double             speed_up; /* cpu_s / wall_s: over one core that does one file after the other; 0: nothing ran */
    uint64_t           bytes_in, bytes_out; /* of its files */
};

void summary_make(const struct state *st, const struct plan *p, double wall_s, struct summary *out);

/* To standard output: a few lines and each failure by name, or one JSON object. report: its path, "" without. */
void summary_print(const struct summary *s, const struct state *st, const struct plan *p, const char *report,
                   bool is_json);

#endif
