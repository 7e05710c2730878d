/* SPDX-License-Identifier: Apache-2.0 */
/* matrix: the product C = A B of two matrices.
 *
 * Taken as JSON, as a form with two NumPy files (intake.c), or as raw numbers
 * (matrix.h). The raw result is a NumPy file. What takes too much memory or
 * too many flops for one job is cut into tiles of C (plan.c).
 */
#include "kinds/kind.h"

#include <math.h>

#include "kinds/matrix/intake.h"
#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"
#include "kinds/matrix/plan.h"

static const struct param params[] = {
    [MATRIX_M] = {"m", PARAM_INT, 1, MATRIX_SIDE_MAX, true, NAN, "", "rows of A"},
    [MATRIX_K] = {"k", PARAM_INT, 1, MATRIX_SIDE_MAX, true, NAN, "", "columns of A and rows of B"},
    [MATRIX_N] = {"n", PARAM_INT, 1, MATRIX_SIDE_MAX, true, NAN, "", "columns of B"},
    [MATRIX_TILE_M] = {"tile_m", PARAM_INT, 1, MATRIX_SIDE_MAX, false, NAN, "",
                       "rows of a tile, where the product is cut"},
    [MATRIX_TILE_N] = {"tile_n", PARAM_INT, 1, MATRIX_SIDE_MAX, false, NAN, "", "columns of a tile"},
    [MATRIX_TILE] = {"tile", PARAM_INT, 0, MATRIX_SIDE_MAX, false, NAN, "",
                     "number of the tile that is computed, row by row"},
    [MATRIX_ARGS] = {.type = PARAM_END},
};

/* Bytes of so many numbers, UINT64_MAX when that does not fit. */
static uint64_t bytes_of(uint64_t numbers, enum dtype dtype)
{
    return numbers > UINT64_MAX / dtype_bytes(dtype) ? UINT64_MAX : numbers * dtype_bytes(dtype);
}

static enum err check_sides(const struct args *args, const struct limits *limits, struct fault *why)
{
    for (int i = 0; i < MATRIX_SIDES; i++)
        if (limits->side_max && args->integer[i] > limits->side_max)
            return fault_set(why, ERR_TOO_LARGE, "%s is %lld; at most %lld %s are taken", params[i].name,
                             (long long)args->integer[i], (long long)limits->side_max, params[i].help);
    return ERR_OK;
}

/* The tile that is asked for is one of those that the product is cut into. */
static enum err check_tiles(const struct args *args, struct fault *why)
{
    bool        has_rows = args->integer[MATRIX_TILE_M], has_cols = args->integer[MATRIX_TILE_N]; /* absent: 0 */
    bool        has_tile = !isnan(args->real[MATRIX_TILE]);
    struct grid g;

    if (has_rows != has_cols || (has_tile && !has_rows))
        return fault_set(why, ERR_PARAM, "tile_m and tile_n belong together%s",
                         has_tile ? ", and tile needs both" : "");
    if (!has_rows)
        return ERR_OK;
    g = plan_grid((uint64_t)args->integer[MATRIX_M], (uint64_t)args->integer[MATRIX_N],
                  (uint64_t)args->integer[MATRIX_TILE_M], (uint64_t)args->integer[MATRIX_TILE_N]);
    if (g.count > MATRIX_TILES_MAX)
        return fault_set(why, ERR_PARAM, "tiles of %lld x %lld are %lld; at most %d are taken",
                         (long long)args->integer[MATRIX_TILE_M], (long long)args->integer[MATRIX_TILE_N],
                         (long long)g.count, MATRIX_TILES_MAX);
    if (has_tile && args->integer[MATRIX_TILE] >= g.count)
        return fault_set(why, ERR_PARAM, "tile is %lld; the product has %lld, counted from 0",
                         (long long)args->integer[MATRIX_TILE], (long long)g.count);
    return ERR_OK;
}

/* A body without refs is A and B, no more and no less. */
static enum err check_plain(const struct args *args, size_t body_len, struct fault *why)
{
    uint64_t m = (uint64_t)args->integer[MATRIX_M], k = (uint64_t)args->integer[MATRIX_K];
    uint64_t n = (uint64_t)args->integer[MATRIX_N];
    uint64_t bytes = bytes_of(m * k + k * n, DTYPE_F8); /* sides are at most 2^31 */

    if (bytes == body_len)
        return ERR_OK;
    return fault_set(why, ERR_BODY, "operands of %llu x %llu and %llu x %llu are %llu bytes of float64, not %zu",
                     (ull)m, (ull)k, (ull)k, (ull)n, (ull)bytes, body_len);
}

/* What travels within the message. */
static enum err check_inline(const struct args *args, const struct input *in, size_t inline_max, struct fault *why)
{
    uint64_t m = (uint64_t)args->integer[MATRIX_M], k = (uint64_t)args->integer[MATRIX_K];
    uint64_t n = (uint64_t)args->integer[MATRIX_N];
    uint64_t bytes = *in->refs ? in->body_len : bytes_of(m * k + k * n, DTYPE_F8);

    if (bytes > inline_max)
        return fault_set(why, ERR_TOO_LARGE, "the operands take %llu bytes%s; the limit is %zu bytes", (ull)bytes,
                         *in->refs ? "" : " as float64", inline_max);
    return *in->refs ? ERR_OK : check_plain(args, in->body_len, why);
}

/* The product, or the tile of it, can be kept. */
static enum err check_result(const struct args *args, enum dtype dtype, const struct limits *limits,
                             uint64_t *result_bytes, struct fault *why)
{
    struct region r = matrix_region(args);
    uint64_t      whole = bytes_of((uint64_t)args->integer[MATRIX_M] * (uint64_t)args->integer[MATRIX_N], dtype);
    uint64_t      part = bytes_of(r.rows * r.cols, dtype);

    if (!limits->has_blobs && part > limits->inline_max)
        return fault_set(why, ERR_RESULT_LARGE, "the product takes %llu bytes; the limit is %zu bytes", (ull)part,
                         limits->inline_max);
    if (limits->result_max && whole > limits->result_max - NPY_HEADER_BYTES)
        return fault_set(why, ERR_RESULT_LARGE, "the product takes %llu bytes; the limit is %llu bytes", (ull)whole,
                         (ull)limits->result_max);
    *result_bytes = NPY_HEADER_BYTES + part;
    return ERR_OK;
}

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    struct operand operands[2];
    enum err       e = check_sides(args, limits, why);

    if (!e)
        e = check_tiles(args, why);
    if (!e)
        e = check_inline(args, in, limits->inline_max, why);
    if (!e)
        e = operands_read(args, in, operands, why);
    return e ? e : check_result(args, dtype_promote(operands[0].dtype, operands[1].dtype), limits, result_bytes, why);
}

/* Tiles that the job names, or those that fit the fleet. A job that is a tile is never cut. */
static int64_t split(struct args *args, const struct input *in, const struct share *share, struct buf *layout)
{
    uint64_t       m = (uint64_t)args->integer[MATRIX_M], k = (uint64_t)args->integer[MATRIX_K];
    uint64_t       n = (uint64_t)args->integer[MATRIX_N];
    struct operand operands[2];
    enum dtype     dtype;
    struct grid    g;

    if (!isnan(args->real[MATRIX_TILE]) || operands_read(args, in, operands, NULL))
        return 1;
    dtype = dtype_promote(operands[0].dtype, operands[1].dtype);
    if (!args->integer[MATRIX_TILE_M])
        g = plan_cut(m, k, n, dtype, share);
    else
        g = plan_grid(m, n, (uint64_t)args->integer[MATRIX_TILE_M], (uint64_t)args->integer[MATRIX_TILE_N]);
    if (g.count == 1)
        return 1;
    args->integer[MATRIX_TILE_M] = (int64_t)g.tile_rows;
    args->integer[MATRIX_TILE_N] = (int64_t)g.tile_cols;
    args->real[MATRIX_TILE_M] = (double)g.tile_rows;
    args->real[MATRIX_TILE_N] = (double)g.tile_cols;
    layout_write(&(struct layout){m, n, g.tile_rows, g.tile_cols, dtype}, layout);
    return g.count;
}

const struct kind_spec matrix_spec = {
    .name = "matrix",
    .help = "the product of two matrices",
    .params = params,
    .intakes = matrix_intakes,
    .renderings = matrix_renderings,
    .result_type = "application/x-npy",
    .is_pulled = false,
    .takes_body = true,
    .check = check,
    .split = split,
    .member_param = MATRIX_TILE,
};
