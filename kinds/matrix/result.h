/* SPDX-License-Identifier: Apache-2.0 */
/* result.h - where a product goes: into the task's output, or through its descriptor into a file. */
#ifndef MILLRACE_RESULT_H
#define MILLRACE_RESULT_H

#include "kinds/matrix/matrix.h"
#include "kinds/task.h"

/* Bytes of the NumPy file of a product; UINT64_MAX when they cannot be counted. */
uint64_t result_bytes(uint64_t rows, uint64_t cols, enum dtype dtype);

/* Where the numbers belong in task->output; NULL when the product goes to a file. */
void *result_place(const struct task *task);

/* Puts the header in front, and writes the file if there is one (then with task->sum): numbers are at
 * result_place or, without one, anywhere. Sets task->output_len. ERR_DISK_FULL, ERR_IO. */
enum err result_write(struct task *task, uint64_t rows, uint64_t cols, enum dtype dtype,
                      const void *numbers) MUST_CHECK;

#endif
