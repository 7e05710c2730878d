/* SPDX-License-Identifier: Apache-2.0 */
/* result.h - where a product goes: into the task's output, or through its descriptor into a file.
 *
 *   result_begin -> result_write and result_sum, each with all numbers from the first to the last -> result_end
 *
 * The two know nothing of each other: one thread may write while another sums up.
 */
#ifndef MILLRACE_RESULT_H
#define MILLRACE_RESULT_H

#include "kinds/matrix/matrix.h"
#include "kinds/task.h"

struct result {
    struct task     *task;                 /* borrowed */
    uint64_t         len;                  /* of the whole */
    struct checksum *sum;                  /* owned; NULL: numbers are in their place already */
    uint64_t         written, handed_over; /* bytes of the file, and those that the disk was asked to take */
};

/* Bytes of the NumPy file of a product; UINT64_MAX when they cannot be counted. */
uint64_t result_bytes(uint64_t rows, uint64_t cols, enum dtype dtype);

/* Where the numbers belong in task->output; NULL when the product goes to a file. */
void *result_place(const struct task *task);

/* Puts the header in front. ERR_DISK_FULL, ERR_IO: task->why says it. result_end is due in any case. */
enum err result_begin(struct result *r, struct task *task, uint64_t rows, uint64_t cols, enum dtype dtype) MUST_CHECK;

/* The numbers that come next; the disk begins to take them. Nothing to do where they are at result_place.
 * ERR_DISK_FULL, ERR_IO: why says it. */
enum err result_write(struct result *r, const void *numbers, uint64_t len, struct fault *why) MUST_CHECK;
void     result_sum(struct result *r, const void *numbers, uint64_t len);

/* Sets task->output_len and, of a file, task->sum. */
void result_end(struct result *r);

#endif
