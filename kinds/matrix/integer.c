/* SPDX-License-Identifier: Apache-2.0 */
/* integer.c - bounds, and the loop with wide sums.
 *
 * A sum of products of 64-bit numbers needs up to 126 bits and one more for each doubling of their count. It is
 * kept in 128 bits, and how often that wrapped beside it: so what is refused does not fit, and what fits is not
 * refused, whatever the sums were on the way.
 */
#include "kinds/matrix/integer.h"

#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/overflow.h"
#include "kinds/matrix/wide.h"

#define FLOAT_EXACT ((uint64_t)1 << 53)

/* The loop works on C in tiles of HEIGHT x WIDTH, each over blocks of DEPTH: some 400 KiB, what a core's second
 * cache holds. */
#define HEIGHT 32
#define WIDTH 256
#define DEPTH 64

typedef __int128 wide;

/* ---- bounds ---------------------------------------------------------------------- */

#define DEFINE_MAGNITUDE(name, raw, unsigned_type)                                                                     \
    WIDE static uint64_t name(const raw *numbers, size_t count)                                                        \
    {                                                                                                                  \
        unsigned_type most = 0;                                                                                        \
                                                                                                                       \
        for (size_t i = 0; i < count; i++) {                                                                           \
            unsigned_type bits = (unsigned_type)numbers[i], x = numbers[i] < 0 ? (unsigned_type)0 - bits : bits;       \
                                                                                                                       \
            most = x > most ? x : most;                                                                                \
        }                                                                                                              \
        return most;                                                                                                   \
    }
DEFINE_MAGNITUDE(magnitude_i8, raw_i8, uint64_t)
DEFINE_MAGNITUDE(magnitude_i4, raw_i4, uint32_t)

/* The largest absolute value. */
static uint64_t magnitude(const struct view *m)
{
    uint64_t lines = m->is_fortran ? m->cols : m->rows, len = m->is_fortran ? m->rows : m->cols, most = 0;

    for (uint64_t i = 0; i < lines; i++) {
        const char *line = (const char *)m->numbers + i * m->ld * dtype_bytes(m->dtype);
        uint64_t    here =
            m->dtype == DTYPE_I8 ? magnitude_i8((const raw_i8 *)line, len) : magnitude_i4((const raw_i4 *)line, len);

        most = here > most ? here : most;
    }
    return most;
}

bool integer_fits_floats(const struct view *a, const struct view *b)
{
    unsigned __int128 product = (unsigned __int128)magnitude(a) * magnitude(b);

    return product <= FLOAT_EXACT && product * a->cols <= FLOAT_EXACT;
}

enum err integer_narrow(const double *from, const struct region *region, enum dtype dtype, void *to, struct fault *why)
{
    uint64_t count = region->rows * region->cols;
    char    *out = to; /* by bytes: it may lie over `from`, always behind what is still to be read */

    for (uint64_t i = 0; i < count; i++) {
        int64_t exact = (int64_t)from[i];
        int32_t half = (int32_t)exact;

        if (dtype == DTYPE_I8)
            memcpy(out + i * sizeof exact, &exact, sizeof exact);
        else if (half == exact)
            memcpy(out + i * sizeof half, &half, sizeof half);
        else
            return overflow_at(dtype, region, i / region->cols, i % region->cols, why);
    }
    return ERR_OK;
}

/* ---- wide sums --------------------------------------------------------------------- */

struct tile {
    wide    sums[HEIGHT][WIDTH];
    int32_t wraps[HEIGHT][WIDTH]; /* times 2^128 that the sum is more */
    int64_t a[HEIGHT][DEPTH];
    int64_t b[DEPTH][WIDTH];
};

/* Copies a block of m into rows of `width` numbers. */
static void pack(const struct view *m, uint64_t row, uint64_t rows, uint64_t col, uint64_t cols, int64_t *out,
                 size_t width)
{
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < cols; j++) {
            uint64_t at = m->is_fortran ? (col + j) * m->ld + row + i : (row + i) * m->ld + col + j;

            out[i * width + j] =
                m->dtype == DTYPE_I8 ? ((const raw_i8 *)m->numbers)[at] : ((const raw_i4 *)m->numbers)[at];
        }
}

static void add_block(struct tile *t, uint64_t rows, uint64_t depth, uint64_t cols)
{
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t l = 0; l < depth; l++) {
            wide factor = t->a[i][l];

            for (uint64_t j = 0; j < cols; j++) {
                wide product = factor * t->b[l][j];

                if (__builtin_add_overflow(t->sums[i][j], product, &t->sums[i][j]))
                    t->wraps[i][j] += product < 0 ? -1 : 1;
            }
        }
}

/* Stores a tile whose first number is row, col of the region. */
static enum err store(const struct tile *t, const struct region *region, uint64_t row, uint64_t rows, uint64_t col,
                      uint64_t cols, enum dtype dtype, void *c, struct fault *why)
{
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < cols; j++) {
            uint64_t at = (row + i) * region->cols + col + j;
            int64_t  exact = (int64_t)t->sums[i][j];
            int32_t  half = (int32_t)exact;

            if (t->wraps[i][j] || exact != t->sums[i][j] || (dtype == DTYPE_I4 && half != exact))
                return overflow_at(dtype, region, row + i, col + j, why);
            if (dtype == DTYPE_I8)
                ((int64_t *)c)[at] = exact;
            else
                ((int32_t *)c)[at] = half;
        }
    return ERR_OK;
}

static uint64_t rest(uint64_t all, uint64_t at, uint64_t most) { return all - at < most ? all - at : most; }

enum err integer_multiply(const struct view *a, const struct view *b, const struct region *region, enum dtype dtype,
                          void *c, _Atomic double *progress, struct fault *why)
{
    struct tile *t = malloc(sizeof *t);
    enum err     e = t ? ERR_OK : fault_set(why, ERR_MEMORY, "no memory for the sums of a product of integers");

    for (uint64_t row = 0; row < region->rows && !e; row += HEIGHT)
        for (uint64_t col = 0; col < region->cols && !e; col += WIDTH) {
            uint64_t rows = rest(region->rows, row, HEIGHT), cols = rest(region->cols, col, WIDTH);

            memset(t->sums, 0, sizeof t->sums);
            memset(t->wraps, 0, sizeof t->wraps);
            for (uint64_t at = 0; at < a->cols; at += DEPTH) {
                uint64_t depth = rest(a->cols, at, DEPTH);

                pack(a, row, rows, at, depth, t->a[0], DEPTH);
                pack(b, at, depth, col, cols, t->b[0], WIDTH);
                add_block(t, rows, depth, cols);
            }
            e = store(t, region, row, rows, col, cols, dtype, c, why);
            atomic_store_explicit(progress,
                                  ((double)row * (double)region->cols + (double)rows * (double)col) /
                                      ((double)region->rows * (double)region->cols),
                                  memory_order_relaxed);
        }
    free(t);
    return e;
}
