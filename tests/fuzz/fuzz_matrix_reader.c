/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_matrix_reader.c - any bytes as a document of two matrices, whole and in pieces, with room in memory and
 * with so little that they go into blobs: no crash, the same end, and numbers only where all fits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/matrix.h"
#include "tests/unit/face.h"

#define ROOMY 2048
#define TIGHT 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    enum err     err;
    struct fault why;
    struct args  args;
    struct taken taken;
    struct face  face;
};

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

static void forget(struct reading *got)
{
    buf_free(&got->taken.body);
    buf_free(&got->taken.refs);
    face_free(&got->face);
}

static bool same_bytes(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

static void compare(const uint8_t *data, size_t size, size_t limit)
{
    struct reading whole = read_pieces(data, size, size ? size : 1, limit);
    struct reading cut = read_pieces(data, size, 1 + (size ? data[size - 1] % 7 : 0), limit);

    if (whole.err != cut.err || (whole.err && strcmp(whole.why.detail, cut.why.detail)))
        abort();
    if (!whole.err && (!same_bytes(&whole.taken.body, &cut.taken.body) ||
                       !same_bytes(&whole.taken.refs, &cut.taken.refs) || !face_same(&whole.face, &cut.face)))
        abort();
    if (whole.err ? whole.taken.body.len || whole.taken.refs.len : whole.taken.body.len > limit)
        abort();
    if (!whole.err) { /* what comes out is an input: described, and all there */
        struct operand operands[2];
        struct fault   why;

        buf_append(&whole.taken.refs, "", 1);
        if (operands_read(&whole.args,
                          &(struct input){whole.taken.body.data, whole.taken.body.len, whole.taken.refs.data}, operands,
                          &why))
            abort();
    }
    forget(&whole);
    forget(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    compare(data, size, ROOMY);
    compare(data, size, TIGHT);
    return 0;
}
