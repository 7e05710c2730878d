/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.c - sums of products that may be too large to count. */
#include "kinds/matrix/blocks.h"

#define BLOCK_LEAST 16            /* below, most of the time goes into reading and writing C */
#define BLOCK_BEST 384            /* from here on the library gains nothing, it cuts into such pieces itself ... */
#define OPERANDS_BEST (16u << 20) /* ... unless the operands are so narrow that a block has few bytes */
#define VECTORS_PER_ROW 3         /* verify.h */
#define VECTORS_PER_COLUMN 3
#define VECTORS_PER_K 3

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }
static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }

static uint64_t counted(unsigned __int128 bytes) { return bytes > UINT64_MAX ? UINT64_MAX : (uint64_t)bytes; }

uint64_t blocks_bytes(const struct blocks *b, uint64_t block)
{
    unsigned __int128 fixed = (unsigned __int128)b->rows * b->cols * b->c_bytes +
                              (unsigned __int128)b->rows * VECTORS_PER_ROW * sizeof(double) +
                              (unsigned __int128)b->cols * VECTORS_PER_COLUMN * sizeof(double) + BLOCKS_RESERVE;
    unsigned __int128 each = (unsigned __int128)b->rows * b->a_bytes + (unsigned __int128)b->cols * b->b_bytes +
                             VECTORS_PER_K * sizeof(double);

    if (fixed > UINT64_MAX || each > UINT64_MAX)
        return UINT64_MAX;
    return counted(fixed + each * block);
}

uint64_t blocks_least(const struct blocks *b) { return blocks_bytes(b, smaller(b->k, BLOCK_LEAST)); }

uint64_t blocks_plan(const struct blocks *b, uint64_t memory_max)
{
    uint64_t least = smaller(b->k, BLOCK_LEAST);
    uint64_t best = smaller(b->k, larger(BLOCK_BEST, OPERANDS_BEST / ((b->rows + b->cols) * sizeof(double))));
    uint64_t fixed = blocks_bytes(b, 0), each;

    if (blocks_least(b) > memory_max)
        return 0;
    each = blocks_bytes(b, 1) - fixed;
    return larger(least, smaller(best, (memory_max - fixed) / each));
}
