/* SPDX-License-Identifier: Apache-2.0 */
/* overflow.h - numbers of C that are not what mathematics says, since their type ends before. */
#ifndef MILLRACE_OVERFLOW_H
#define MILLRACE_OVERFLOW_H

#include "kinds/matrix/source.h"

/* ERR_OVERFLOW with a sentence about row i, column j of the region. */
enum err overflow_at(enum dtype dtype, const struct region *region, uint64_t i, uint64_t j, struct fault *why);

/* Looks through C, whose rows lie side by side, for the first number that is not finite although its row of A
 * and its column of B are: infinities and NaNs that came in with an operand may go out with the product. a, b: the
 * operands as they lie, numbers NULL when all are known to be finite. ERR_OVERFLOW, ERR_MEMORY. */
enum err overflow_refuse(const struct view *a, const struct view *b, enum dtype dtype, const struct region *region,
                         const void *c, struct fault *why) MUST_CHECK;

#endif
