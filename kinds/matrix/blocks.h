/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.h - how much of k a job takes at a time, so that it stays within its memory. Pure.
 *
 * A region of C is held as a whole and grows by the products of blocks: rows x block numbers of A with
 * block x cols of B. An operand that lies as the matrix library wants it costs nothing; one that must be made or
 * converted costs its block.
 */
#ifndef MILLRACE_BLOCKS_H
#define MILLRACE_BLOCKS_H

#include "kinds/matrix/matrix.h"

#define BLOCKS_RESERVE (256u << 10) /* bytes for all that is small, and what the heap loses to its order */

struct blocks {
    uint64_t rows, cols, k;
    unsigned c_bytes; /* of one number of C as it is held; 0: it is held elsewhere */
    unsigned a_bytes; /* of one number in A's buffer; 0: used in place */
    unsigned b_bytes;
};

/* Bytes that the job allocates with blocks of this many; UINT64_MAX when they cannot be counted. */
uint64_t blocks_bytes(const struct blocks *b, uint64_t block);

/* The block to take, at most k: large enough for the library's speed, no larger than is of use. 0: even the
 * smallest worth while does not fit. */
uint64_t blocks_plan(const struct blocks *b, uint64_t memory_max);

/* What the smallest worth while takes. */
uint64_t blocks_least(const struct blocks *b);

#endif
