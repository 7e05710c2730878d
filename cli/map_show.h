/* SPDX-License-Identifier: Apache-2.0 */
/* map_show.h - --dry-run: what would be submitted and written. */
#ifndef MILLRACE_CLI_MAP_SHOW_H
#define MILLRACE_CLI_MAP_SHOW_H

#include "cli/map_options.h"
#include "cli/map_plan.h"
#include "cli/map_state.h"

/* To standard output: a line for each file that is to be done, and a last one that says how many and where. */
void map_show_plan(const struct plan *p, const struct map_options *o, const struct state *st, bool is_json);

#endif
