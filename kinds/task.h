/* SPDX-License-Identifier: Apache-2.0 */
/* task.h - one job as run.c sees it: no ids, no network, bytes in, bytes out. */
#ifndef MILLRACE_TASK_H
#define MILLRACE_TASK_H

#include <stdatomic.h>
#include <stddef.h>

#include "common/err.h"
#include "kinds/kind.h"

struct task {
    const struct args *args;
    const void        *input; /* borrowed, 64-byte aligned, read only */
    size_t             input_len;
    void              *output; /* borrowed, 64-byte aligned: room for output_max bytes */
    size_t             output_max;
    size_t             output_len; /* set by run */
    int                threads;    /* CPUs this task may use, >= 1 */
    _Atomic double    *progress;   /* 0 to 1, written now and then */
    struct fault       why;        /* set by run when it fails */
};

/* Computes; the supervisor has checked args against the kind's rows and its
 * check function. Returns ERR_OK with output_len, or the error with why. */
typedef enum err task_run(struct task *task);

#define KIND(name) task_run name##_run;
#include "kinds/kinds.def"
#undef KIND

/* The run functions, indexed by enum kind_id. */
extern task_run *const task_runs[KIND_COUNT];

#endif
