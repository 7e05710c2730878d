/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.h - which of its kernels the matrix library took for this CPU, and what that is worth. */
#ifndef MILLRACE_KERNEL_H
#define MILLRACE_KERNEL_H

#include <stdbool.h>

struct kernel {
    const char *library; /* "openblas", "blis" */
    const char *core;    /* the kernel's name, as the library has it */
};

struct kernel kernel_name(void);

/* GFLOP/s of one thread in a short product of float64, by its CPU time, the best of a few; some 0.1 s. -1: no
 * memory. */
double kernel_measure(void);

#endif
