/* SPDX-License-Identifier: Apache-2.0 */
/* task.c - the run functions, in the order of kinds.def. */
#include "kinds/task.h"

task_run *const task_runs[KIND_COUNT] = {
#define KIND(name, program) name##_run,
#include "kinds/kinds.def"
#undef KIND
};
