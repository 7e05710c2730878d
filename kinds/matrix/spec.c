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
    [MATRIX_ARGS] = {.type = PARAM_END},
};

/* Bytes of so many numbers, UINT64_MAX when that does not fit. */
static uint64_t bytes_of(uint64_t numbers)
{
    return numbers > UINT64_MAX / sizeof(double) ? UINT64_MAX : numbers * sizeof(double);
}

static enum err check(const struct args *args, size_t input_len, size_t inline_max, size_t *result_bytes,
                      struct fault *why)
{
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

static void *json_begin(size_t inline_max) { return matrix_reader_new(inline_max); }

static enum err json_feed(void *ctx, const char *bytes, size_t len, struct fault *why)
{
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

static enum err json_end(void *ctx, struct args *args, struct buf *input, struct fault *why)
{
    size_t   sides[MATRIX_ARGS];
    enum err e = matrix_reader_finish(ctx, sides, input, why);

    for (int i = 0; i < MATRIX_ARGS && !e; i++)
        e = set_side(args, i, sides[i], why);
    matrix_reader_free(ctx);
    return e;
}

static void json_abort(void *ctx) { matrix_reader_free(ctx); }

static const struct intake intakes[] = {
    {"application/json", json_begin, json_feed, json_end, json_abort},
    {0},
};

/* Prints one row, with its brackets, straight into out. */
static enum err render_row(const char *numbers, size_t row, size_t cols, struct buf *out, struct fault *why)
{
    char *p = buf_reserve(out, cols * (NUMTEXT_BYTES + 1) + 2);

    *p++ = '[';
    for (size_t j = 0; j < cols; j++) {
        double value;

        memcpy(&value, numbers + (row * cols + j) * sizeof(value), sizeof(value));
        if (!isfinite(value))
            return fault_set(why, ERR_ACCEPT,
                             "row %zu, column %zu is not finite, which JSON cannot say; ask for application/x-npy", row,
                             j);
        p += numtext_print(value, p);
        if (value == 0 && signbit(value)) { /* "-0" reads as the integer 0 in many a language */
            *p++ = '.';
            *p++ = '0';
        }
        *p++ = ',';
    }
    p[-1] = ']';
    out->len = (size_t)(p - out->data);
    return ERR_OK;
}

static enum err render_json(const void *raw, size_t len, struct buf *out, struct fault *why)
{
    size_t      rows, cols, before = out->len;
    const char *numbers;
    enum err    e;

    e = npy_read(raw, len, &rows, &cols, &numbers, why);
    if (e)
        return e;
    buf_text(out, "{\"C\":[");
    for (size_t i = 0; i < rows && !e; i++) {
        if (i)
            buf_append(out, ",", 1);
        e = render_row(numbers, i, cols, out, why);
    }
    buf_text(out, "]}");
    if (e)
        out->len = before;
    return e;
}

static enum err render_octets(const void *raw, size_t len, struct buf *out, struct fault *why)
{
    size_t      rows, cols;
    const char *numbers;
    enum err    e;

    e = npy_read(raw, len, &rows, &cols, &numbers, why);
    if (!e)
        buf_append(out, numbers, rows * cols * sizeof(double));
    return e;
}

static const struct rendering renderings[] = {
    {"application/json", render_json},
    {"application/x-npy", NULL},
    {"application/octet-stream", render_octets},
    {0},
};

const struct kind_spec matrix_spec = {
    .name = "matrix",
    .help = "the product of two matrices of float64",
    .params = params,
    .intakes = intakes,
    .renderings = renderings,
    .result_type = "application/x-npy",
    .is_pulled = false,
    .takes_body = true,
    .check = check,
};
