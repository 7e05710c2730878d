/* SPDX-License-Identifier: Apache-2.0 */
/* philox.h - the numbers of a random operand (matrix.h has their definition), any run of them, made where they
 * are needed.
 */
#ifndef MILLRACE_PHILOX_H
#define MILLRACE_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* Philox4x32-10: one block of four words. */
void philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* out[i] = the number of the cell `counter + i` in [0, 1), for i < count. out: aligned for double. */
void philox_fill(uint64_t seed, uint64_t counter, double *out, size_t count);

#endif
