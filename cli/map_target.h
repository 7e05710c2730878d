/* SPDX-License-Identifier: Apache-2.0 */
/* map_target.h - what each file is posted to, and all that map knows of kinds.
 *
 * A target is KIND?QUERY as it stands behind /jobs/: what is computed. Two runs
 * of one target give the same. How long and how often the fleet tries is apart
 * from it, so that it may be another when a run is gone on with.
 */
#ifndef MILLRACE_CLI_MAP_TARGET_H
#define MILLRACE_CLI_MAP_TARGET_H

#include <stdint.h>

#include "common/buf.h"

/* Of each job; 0: none is said. */
struct try_limits {
    int64_t attempts, timeout_s;
};

/* Appends the target with its limits: "hash?iterations=7&timeout=60". */
void target_put(const char *target, const struct try_limits *limits, struct buf *out);

/* The same for one file, as a member of a group. A program goes by the extension of what it is given: a command finds
 * the file under the last part of its name, unless the target has a name for all. */
void target_put_file(const char *target, const struct try_limits *limits, const char *group, const char *name,
                     struct buf *out);

/* The content type of the results, as far as the target tells; "": as the file's. */
const char *target_result_type(const char *target);

#endif
