/* SPDX-License-Identifier: Apache-2.0 */
/* product.h - a region of C, computed within the task's memory, checked, and written.
 *
 *   C grows by blocks of k; each is mapped, made or converted, multiplied, and used for the check while it is
 *   at hand:    sources -> blocks -> blas or integer -> verify -> result
 */
#ifndef MILLRACE_PRODUCT_H
#define MILLRACE_PRODUCT_H

#include "kinds/matrix/matrix.h"
#include "kinds/task.h"

struct product {
    struct operand operands[2];
    struct region  region;
    uint64_t       k;
    enum dtype     dtype; /* of C */
    void          *c;     /* rows side by side: where result.h wants them, or in memory of its own */
    void          *owned; /* C while it has no other place; NULL */
};

/* Computes p->c, whose operands, region, k and dtype are set, and makes it the task's result; tells progress.
 * ERR_MEMORY, ERR_OVERFLOW, ERR_UNVERIFIED, and what source.h and result.h have. */
enum err product_compute(struct product *p, struct task *task) MUST_CHECK;
void     product_close(struct product *p);

#ifdef MILLRACE_FLIP
/* Of a test build: spoils one number of the first product that a job computes in this process. */
void flip_product(void *c, uint64_t count, enum dtype dtype);
#endif

#endif
