/* SPDX-License-Identifier: Apache-2.0 */
/* matrix.h - what description, reader and work of matrix share.
 *
 * Raw input: A (m x k), then B (k x n), row by row, float64 little-endian.
 */
#ifndef MILLRACE_MATRIX_H
#define MILLRACE_MATRIX_H

#include <assert.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && sizeof(double) == 8, "operands are used as they travel");

enum { MATRIX_M, MATRIX_K, MATRIX_N, MATRIX_ARGS }; /* index into struct args */

#define MATRIX_SIDE_MAX 2147483648.0 /* 2^31: products of two sides fit int64_t */

#endif
