/* SPDX-License-Identifier: Apache-2.0 */
/* task.c - the run functions of millrace-exec. */
#include "kinds/task.h"

/* One line for each program: an empty one where it is another. */
#define RUN_BY_exec(name) [KIND_ID_##name] = name##_run,
#define RUN_BY_image(name)
#define RUN_BY_command(name)

task_run *const task_runs[KIND_COUNT] = {
#define KIND(name, program) RUN_BY_##program(name)
#include "kinds/kinds.def"
#undef KIND
};
