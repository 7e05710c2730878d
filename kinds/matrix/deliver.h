/* SPDX-License-Identifier: Apache-2.0 */
/* deliver.h - the last pass over C: checked, summed up and written while it is at hand, by all threads there are. */
#ifndef MILLRACE_DELIVER_H
#define MILLRACE_DELIVER_H

#include "kinds/matrix/verify.h"
#include "kinds/task.h"

/* c: v's region row by row, of v->dtype; in its place already where the result has one. Sets task->verified,
 * output_len and sum. What was written counts only with ERR_OK. is_infinite: as in verify.h. ERR_UNVERIFIED, and
 * what result.h has. */
enum err deliver(const struct verify *v, const void *c, struct task *task, bool *is_infinite) MUST_CHECK;

#endif
