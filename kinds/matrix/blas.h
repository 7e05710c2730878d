/* SPDX-License-Identifier: Apache-2.0 */
/* blas.h - the matrix library: OpenBLAS, or BLIS where the build asks for it. Nobody else knows it. */
#ifndef MILLRACE_BLAS_H
#define MILLRACE_BLAS_H

#include <stdbool.h>
#include <stddef.h>

#include "kinds/matrix/source.h"

void blas_set_threads(int threads);

/* C = A B, or C += A B with is_more. A, B: of one float type, such views as source.h calls direct; so is C, its
 * rows side by side. Sides of at most INT_MAX. */
void blas_multiply(const struct view *a, const struct view *b, void *c, bool is_more);

#endif
