/* SPDX-License-Identifier: Apache-2.0 */
/* matrix: the product C = A B of two matrices of float64.
 *
 * Taken as JSON ({"A":[[..]],"B":[[..]]}, read by reader.c) or as raw numbers
 * (matrix.h). The raw result is a NumPy file.
 */
#include "kinds/kind.h"

#include <math.h>
#include <string.h>

#include "common/numtext.h"
#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"
#include "kinds/matrix/reader.h"

static const struct param params[] = {
    [MATRIX_M] = {"m", PARAM_INT, 1, MATRIX_SIDE_MAX, true, NAN, "", "rows of A"},
    [MATRIX_K] = {"k", PARAM_INT, 1, MATRIX_SIDE_MAX, true, NAN, "", "columns of A and rows of B"},
    [MATRIX_N] = {"n", PARAM_INT, 1, MATRIX_SIDE_MAX, true, NAN, "", "columns of B"},
    [MATRIX_TILE_M] = {"tile_m", PARAM_INT, 1, MATRIX_SIDE_MAX, false, NAN, "", "rows of a tile, where the product is cut"},
    [MATRIX_TILE_N] = {"tile_n", PARAM_INT, 1, MATRIX_SIDE_MAX, false, NAN, "", "columns of a tile"},
    [MATRIX_TILE] = {"tile", PARAM_INT, 0, MATRIX_SIDE_MAX, false, NAN, "", "number of the tile that is computed, row by row"},
    [MATRIX_ARGS] = {.type = PARAM_END},
};

/* Bytes of so many numbers, UINT64_MAX when that does not fit. */
static uint64_t bytes_of(uint64_t numbers)
{
    return numbers > UINT64_MAX / sizeof(double) ? UINT64_MAX : numbers * sizeof(double);
}

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    size_t   input_len = in->body_len, inline_max = limits->inline_max;
    uint64_t m = (uint64_t)args->integer[MATRIX_M];
    uint64_t k = (uint64_t)args->integer[MATRIX_K];
    uint64_t n = (uint64_t)args->integer[MATRIX_N];
    uint64_t operands = bytes_of(m * k + k * n); /* sides are at most 2^31 */
    uint64_t result = bytes_of(m * n);

    if (operands > inline_max)
        return fault_set(why, ERR_TOO_LARGE, "the operands take %llu bytes as float64; the limit is %zu bytes",
                         (unsigned long long)operands, inline_max);
    if (result > inline_max)
        return fault_set(why, ERR_RESULT_LARGE, "the product takes %llu bytes as float64; the limit is %zu bytes",
                         (unsigned long long)result, inline_max);
    if (operands != input_len)
        return fault_set(why, ERR_BODY, "operands of %llu x %llu and %llu x %llu are %llu bytes of float64, not %zu",
                         (unsigned long long)m, (unsigned long long)k, (unsigned long long)k, (unsigned long long)n,
                         (unsigned long long)operands, input_len);
    *result_bytes = NPY_HEADER_BYTES + result;
    return ERR_OK;
}

static void *json_begin(const struct limits *limits, const struct blobs_face *blobs)
{
    (void)blobs;
    return matrix_reader_new(limits->inline_max);
}

static enum err json_feed(void *ctx, const char *part, bool is_first, const char *bytes, size_t len, struct fault *why)
{
    (void)part, (void)is_first;
    return matrix_reader_feed(ctx, bytes, len, why);
}

/* A side that the query named too must be the document's. */
static enum err set_side(struct args *args, int i, size_t side, struct fault *why)
{
    if (!isnan(args->real[i]) && (uint64_t)args->integer[i] != side)
        return fault_set(why, ERR_PARAM, "%s is given as %lld, but the document has %zu %s", params[i].name,
                         (long long)args->integer[i], side, params[i].help);
    args->integer[i] = (int64_t)side;
    args->real[i] = (double)side;
    return ERR_OK;
}

static enum err json_end(void *ctx, struct args *args, struct taken *out, struct fault *why)
{
    size_t   sides[MATRIX_SIDES];
    enum err e = matrix_reader_finish(ctx, sides, &out->body, why);

    for (int i = 0; i < MATRIX_SIDES && !e; i++)
        e = set_side(args, i, sides[i], why);
    matrix_reader_free(ctx);
    return e;
}

static void json_abort(void *ctx) { matrix_reader_free(ctx); }

static const struct intake intakes[] = {
    {"application/json", json_begin, json_feed, json_end, json_abort},
    {0},
};

const struct kind_spec matrix_spec = {
    .name = "matrix",
    .help = "the product of two matrices of float64",
    .params = params,
    .intakes = intakes,
    .renderings = matrix_renderings,
    .result_type = "application/x-npy",
    .is_pulled = false,
    .takes_body = true,
    .check = check,
};
