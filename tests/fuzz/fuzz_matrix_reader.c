/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_matrix_reader.c - any bytes into the matrix reader, whole and in
 * pieces: no crash, the same end, and numbers only where all fits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/reader.h"

#define LIMIT 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    enum err     err;
    struct fault why;
    size_t       sides[MATRIX_SIDES];
    struct buf   input;
};

/* piece: bytes of each feed. Each piece has an allocation of its own, so that ASan sees a step beyond it. */
static struct reading read_pieces(const uint8_t *data, size_t size, size_t piece)
{
    struct matrix_reader *r = matrix_reader_new(LIMIT);
    struct reading        got = {0};

    for (size_t at = 0; at < size && !got.err; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        char  *copy = malloc(len);

        memcpy(copy, data + at, len);
        got.err = matrix_reader_feed(r, copy, len, &got.why);
        free(copy);
    }
    if (!got.err)
        got.err = matrix_reader_finish(r, got.sides, &got.input, &got.why);
    matrix_reader_free(r);
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole = read_pieces(data, size, size ? size : 1);
    struct reading cut = read_pieces(data, size, 1 + (size ? data[size - 1] % 7 : 0));

    if (whole.err != cut.err || (whole.err && strcmp(whole.why.detail, cut.why.detail)) ||
        whole.input.len != cut.input.len ||
        (whole.input.len && memcmp(whole.input.data, cut.input.data, whole.input.len)))
        abort();
    if (!whole.err && whole.input.len != 8 * whole.sides[MATRIX_K] * (whole.sides[MATRIX_M] + whole.sides[MATRIX_N]))
        abort();
    if (whole.input.len > LIMIT || (whole.err && whole.input.len))
        abort();
    buf_free(&whole.input);
    buf_free(&cut.input);
    return 0;
}
