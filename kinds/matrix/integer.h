/* SPDX-License-Identifier: Apache-2.0 */
/* integer.h - products of integers: exact, or refused by name.
 *
 * Where no sum can leave the 53 bits of a float64, the matrix library computes them exactly as floats
 * (integer_fits_floats, then integer_narrow); the rest goes through integer_multiply, slow and wide enough for
 * any operands.
 */
#ifndef MILLRACE_INTEGER_H
#define MILLRACE_INTEGER_H

#include "kinds/matrix/source.h"

/* Whether every sum of products of the two stays within 2^53, by the largest numbers of each. */
bool integer_fits_floats(const struct view *a, const struct view *b);

/* Turns a region of C from float64 (all of them whole) into dtype, to the same place or another one: rows side by
 * side in both. ERR_OVERFLOW. */
enum err integer_narrow(const double *from, const struct region *region, enum dtype dtype, void *to,
                        struct fault *why) MUST_CHECK;

/* C = A B with sums as wide as they get. c: room for the region as dtype. progress: 0 to 1. ERR_OVERFLOW, ERR_MEMORY.
 */
enum err integer_multiply(const struct view *a, const struct view *b, const struct region *region, enum dtype dtype,
                          void *c, _Atomic double *progress, struct fault *why) MUST_CHECK;

#endif
