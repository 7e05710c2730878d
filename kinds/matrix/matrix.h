/* SPDX-License-Identifier: Apache-2.0 */
/* matrix.h - what the parts of the matrix kind share: operands, and the cut of a product into tiles.
 *
 * Raw input without refs: A (m x k), then B (k x n), row by row, float64 little-endian. With refs the operands
 * are described one by one:
 *
 *   {"blobs":["NAME",..],
 *    "A":{"at":"body","offset":0,"dtype":"f8","order":"C"},
 *    "B":{"at":"blob","blob":0,"offset":128,"dtype":"f4","order":"F"}}    or {"at":"random","seed":7}
 *
 * offset: bytes in front of the first number, within the body or the blob. order: C row by row, F column by
 * column. Random operands are float64: the cell (row, col) of an operand with so many cols is
 *   x = Philox4x32-10(key = seed, counter = row * cols + col), u = x[0] | x[1] << 32, (u >> 11) * 2^-53
 * (key words: low, high half of seed; counter words: low, high half, 0, 0). J. Salmon et al., "Parallel random
 * numbers: as easy as 1, 2, 3", 2011.
 */
#ifndef MILLRACE_MATRIX_H
#define MILLRACE_MATRIX_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "kinds/kind.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && sizeof(double) == 8, "operands are used as they travel");

typedef unsigned long long ull; /* what printf knows for uint64_t */

/* Index into struct args. The last three are those of a tile, absent otherwise: the largest rows and columns of
 * a tile, and its number, row by row over the grid. With TILE_M and TILE_N alone they ask for a cut into such. */
enum { MATRIX_M, MATRIX_K, MATRIX_N, MATRIX_TILE_M, MATRIX_TILE_N, MATRIX_TILE, MATRIX_ARGS };
#define MATRIX_SIDES 3 /* M, K, N */

#define MATRIX_SIDE_MAX 2147483648.0 /* 2^31: products of two sides fit int64_t */

enum dtype { DTYPE_F8, DTYPE_F4, DTYPE_I8, DTYPE_I4, DTYPE_COUNT };

size_t      dtype_bytes(enum dtype t);
const char *dtype_name(enum dtype t);                  /* "f8", ... */
enum dtype  dtype_from_name(const char *name);         /* or DTYPE_COUNT */
enum dtype  dtype_promote(enum dtype a, enum dtype b); /* NumPy's: f4 with an integer is f8, i4 with i8 is i8 */

enum operand_at { OPERAND_BODY, OPERAND_BLOB, OPERAND_RANDOM };

struct operand {
    uint64_t        rows, cols;
    enum dtype      dtype;
    bool            is_fortran; /* column by column */
    enum operand_at at;
    int             blob;   /* BLOB: index into the names */
    uint64_t        offset; /* BODY, BLOB: bytes in front of the first number */
    uint64_t        seed;   /* RANDOM */
};

/* A and B of a job; that they lie within the body is checked, blobs are as large as the caller finds them.
 * ERR_BODY, ERR_PARAM. */
enum err operands_read(const struct args *args, const struct input *in, struct operand out[2],
                       struct fault *why) MUST_CHECK;

/* Appends the refs of two operands and the names of their blobs. */
void operands_write(const struct operand operands[2], const char *const *names, int name_count, struct buf *refs);

/* The part of C that a job computes: all of it, or its tile. */
struct region {
    uint64_t row, rows, col, cols;
};
struct region matrix_region(const struct args *args);

/* How the results of a group's tiles make one: JSON {"rows","cols","tile_rows","tile_cols","dtype"}. */
struct layout {
    uint64_t   rows, cols, tile_rows, tile_cols;
    enum dtype dtype;
};
void     layout_write(const struct layout *l, struct buf *out);
enum err layout_read(const char *text, struct layout *out, struct fault *why) MUST_CHECK;

/* render.c: the forms of a product. */
extern const struct rendering matrix_renderings[];

#endif
