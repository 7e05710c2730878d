/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - into which tiles a product is cut, if any.
 *
 * Pure arithmetic. A tile takes its part of C, and blocks of A and B of PLAN_DEPTH of its k columns and rows where
 * they must be made or converted (counted always: that operands can be used as they lie is luck).
 */
#ifndef MILLRACE_MATRIX_PLAN_H
#define MILLRACE_MATRIX_PLAN_H

#include <stdint.h>

#include "kinds/kind.h"
#include "kinds/matrix/matrix.h"

#define MATRIX_TILES_MAX 4096
#define PLAN_DEPTH 512           /* of a block of k; run may take more where memory is left */
#define PLAN_RESERVE (32u << 20) /* bytes of an executor that are not a tile's: the library's buffers, the program */
#define PLAN_TILE_FLOPS 2.6e11   /* of one tile: seconds of a core; more only where the tiles would be too many */
#define PLAN_WHOLE_FLOPS 1e11    /* a product of no more is never cut for its flops */

struct grid {
    uint64_t tile_rows, tile_cols; /* of all tiles but those at the end, which may be smaller */
    int64_t  count;
};

/* Tiles of this size over C of m x n; count is INT64_MAX when it does not fit. */
struct grid plan_grid(uint64_t m, uint64_t n, uint64_t tile_rows, uint64_t tile_cols);

/* Bytes that a tile of so many rows and columns takes, the reserve included. */
uint64_t plan_memory(uint64_t rows, uint64_t cols, uint64_t k, enum dtype dtype);

/* The cut of an m x k by k x n product of this type. count is 1 when it needs none, and MATRIX_TILES_MAX at most.
 * Every tile fits into share->memory_bytes, unless MATRIX_TILES_MAX tiles of C cannot. */
struct grid plan_cut(uint64_t m, uint64_t k, uint64_t n, enum dtype dtype, const struct share *share);

#endif
