/* SPDX-License-Identifier: Apache-2.0 */
/* flip.c - the fault of millrace-exec-flip: in each process the first product of a job has one wrong number, as from
 * bad memory. The product before that is the executor's own, for warming up.
 */
#include <stdint.h>

#include "kinds/matrix/product.h"

void flip_product(void *c, uint64_t count, enum dtype dtype)
{
    static int products; /* of this process */
    uint64_t   at = count / 2;

    if (products++ != 1)
        return;
    switch (dtype) {
    case DTYPE_F8: ((double *)c)[at] = ((double *)c)[at] != 0 ? -((double *)c)[at] : 1; break;
    case DTYPE_F4: ((float *)c)[at] = ((float *)c)[at] != 0 ? -((float *)c)[at] : 1; break;
    case DTYPE_I8: ((uint64_t *)c)[at] ^= 1; break;
    default: ((uint32_t *)c)[at] ^= 1; break;
    }
}
