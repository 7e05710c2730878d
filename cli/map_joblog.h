/* SPDX-License-Identifier: Apache-2.0 */
/* map_joblog.h - --joblog FILE: a line for each file that ended, with the columns of GNU parallel.
 *
 *   Seq Host Starttime JobRuntime Send Receive Exitval Signal Command
 *
 * Seq is the file's place in the plan, from 1; Host the worker; Send and Receive
 * are the bytes of input and output; Exitval is 0 or 1; Command is the file.
 */
#ifndef MILLRACE_CLI_MAP_JOBLOG_H
#define MILLRACE_CLI_MAP_JOBLOG_H

#include <stdio.h>

#include "cli/map_plan.h"
#include "cli/map_state.h"

/* Opens the file: emptied and with a header, or, goes_on, as it is. NULL: errno says why. */
FILE *joblog_open(const char *path, bool goes_on);

void joblog_put(FILE *log, const struct plan *p, size_t index, const struct ending *end);

#endif
