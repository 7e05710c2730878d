/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_matrix_reader.c - any bytes as a document of two matrices, whole and in pieces, with room in memory and
 * with so little that they go into blobs: no crash, the same end, and numbers only where all fits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/reading.h"

#define ROOMY 2048
#define TIGHT 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* piece: bytes of each feed. Each piece has an allocation of its own, so that ASan sees a step beyond it. */
static struct reading read_pieces(const uint8_t *data, size_t size, size_t piece, size_t limit)
{
    const struct intake *json = &matrix_spec.intakes[0];
    struct reading       got = {0};
    struct blobs_face    face = face_of(&got.face);
    void                *ctx = json->begin(&(struct limits){.inline_max = limit, .has_blobs = limit == TIGHT}, &face);

    args_init(&got.args);
    for (size_t at = 0; at < size && !got.err; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        char  *copy = malloc(len);

        memcpy(copy, data + at, len);
        got.err = json->feed(ctx, NULL, false, copy, len, &got.why);
        free(copy);
    }
    if (got.err)
        json->abort(ctx);
    else
        got.err = json->end(ctx, &got.args, &got.taken, &got.why);
    return got;
}

static void compare(const uint8_t *data, size_t size, size_t limit)
{
    struct reading whole = read_pieces(data, size, size ? size : 1, limit);
    struct reading cut = read_pieces(data, size, 1 + (size ? data[size - 1] % 7 : 0), limit);

    reading_compare(&whole, &cut, limit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    compare(data, size, ROOMY);
    compare(data, size, TIGHT);
    return 0;
}
