/* SPDX-License-Identifier: Apache-2.0 */
/* task.h - one job as run.c sees it: no ids, no network, bytes in, bytes out. */
#ifndef MILLRACE_TASK_H
#define MILLRACE_TASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/checksum.h"
#include "common/err.h"
#include "kinds/kind.h"

struct task {
    const struct args     *args;
    const struct commands *commands; /* of the kind command; else NULL */
    const void            *input;    /* borrowed, 64-byte aligned, read only */
    size_t                 input_len;
    const char            *refs;                      /* "" or JSON, kinds/kind.h */
    int                    blob_count;                /* of those that refs name, in their order: */
    int                    blob_fds[INPUT_BLOBS_MAX]; /* read only, borrowed */
    uint64_t               blob_bytes[INPUT_BLOBS_MAX];
    void                  *output; /* borrowed, 64-byte aligned: room for output_max bytes. NULL: to output_fd */
    int      output_fd; /* borrowed: a file of output_max bytes, to be written from its start; -1: to output */
    uint64_t output_max;
    /* A kind that is_open_ended has output for room_max bytes, and for a larger result output_fd, empty, which grows
     * (-1: there is no place for one); output_max bounds either. */
    uint64_t        room_max;
    bool            is_file;                  /* set by run of such a kind: the result is in output_fd */
    char            type[RESULT_TYPE_BYTES];  /* set by run of such a kind: content type; "": the kind's own */
    uint64_t        output_len;               /* set by run */
    char            sum[CHECKSUM_BYTES];      /* set by run when it wrote to output_fd: of all its bytes */
    char            verified[VERIFIED_BYTES]; /* set by run: JSON for the record, "" without a check */
    uint64_t        memory_max;               /* bytes that run may allocate */
    int             threads;                  /* CPUs this task may use, >= 1 */
    struct crew    *crew;                     /* borrowed: threads for what no library shares out; NULL: none */
    _Atomic double *progress;                 /* 0 to 1, written now and then */
    struct fault    why;                      /* set by run when it fails */
};

/* Computes; the supervisor has checked args against the kind's rows and its
 * check function. Returns ERR_OK with output_len, or the error with why. */
typedef enum err task_run(struct task *task);

#define KIND(name, program) task_run name##_run;
#include "kinds/kinds.def"
#undef KIND

/* The run functions, indexed by enum kind_id; NULL for what another program computes. Each program has its own. */
extern task_run *const task_runs[KIND_COUNT];

#endif
