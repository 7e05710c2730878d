/* SPDX-License-Identifier: Apache-2.0 */
/* reader_probe.c - the intakes of matrices on a pipe, for tests that know Python's json and NumPy.
 *
 * In, again and again, all uint32: intake (its row), inline_max, side_max, has_blobs, count of blobs, count of
 * parts; then the blobs that are there and the parts of the body, each as length of name, length, name, bytes.
 * The input is read with the parts whole, byte by byte, and in pieces of several sizes; the program aborts when
 * they differ. Out: uint32 error, then either the detail, or uint64 m, k, n, the refs, the body, uint32 count
 * and the blobs that were made. Texts and bytes have a uint32 length in front.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/matrix.h"
#include "tests/unit/face.h"

struct item {
    char    *name; /* owned, as bytes */
    char    *bytes;
    uint32_t len;
};

struct question {
    uint32_t    intake, inline_max, side_max, has_blobs, blob_count, part_count;
    struct item items[2 * FACE_BLOBS]; /* blobs, then parts */
};

struct reading {
    enum err     err;
    struct fault why;
    struct args  args;
    struct taken taken;
    struct face  face;
};

static struct reading read_pieces(const struct question *q, size_t piece)
{
    const struct limits  limits = {.inline_max = q->inline_max, .side_max = q->side_max, .has_blobs = q->has_blobs};
    const struct intake *intake = &matrix_spec.intakes[q->intake];
    struct reading       got = {0};
    struct blobs_face    face = face_of(&got.face);
    void                *ctx;

    args_init(&got.args);
    for (uint32_t i = 0; i < q->blob_count; i++)
        face_put(&got.face, q->items[i].name, q->items[i].bytes, q->items[i].len);
    ctx = intake->begin(&limits, q->has_blobs ? &face : NULL);
    for (uint32_t i = q->blob_count; i < q->blob_count + q->part_count && !got.err; i++) {
        const struct item *part = &q->items[i];

        for (size_t at = 0; (at < part->len || !at) && !got.err; at += piece)
            got.err = intake->feed(ctx, part->name, !at, part->bytes + at,
                                   part->len - at < piece ? part->len - at : piece, &got.why);
    }
    if (got.err)
        intake->abort(ctx);
    else
        got.err = intake->end(ctx, &got.args, &got.taken, &got.why);
    return got;
}

static bool same_bytes(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0);
}

static void expect_same(const struct reading *a, const struct reading *b, size_t piece)
{
    bool same = a->err == b->err;

    if (same && a->err)
        same = strcmp(a->why.detail, b->why.detail) == 0;
    if (same && !a->err)
        same = memcmp(a->args.integer, b->args.integer, sizeof(a->args.integer)) == 0 &&
               same_bytes(&a->taken.body, &b->taken.body) && same_bytes(&a->taken.refs, &b->taken.refs) &&
               face_same(&a->face, &b->face);
    if (same)
        return;
    fprintf(stderr, "pieces of %zu: error %d '%s', whole: error %d '%s'\n", piece, b->err, b->why.detail, a->err,
            a->why.detail);
    abort();
}

static void write_bytes(const void *bytes, size_t len)
{
    uint32_t n = (uint32_t)len;

    fwrite(&n, sizeof(n), 1, stdout);
    if (len)
        fwrite(bytes, 1, len, stdout);
}

static void answer(const struct question *q, const struct reading *got)
{
    uint32_t err = got->err, count = (uint32_t)got->face.count - q->blob_count;

    fwrite(&err, sizeof(err), 1, stdout);
    if (err) {
        write_bytes(got->why.detail, strlen(got->why.detail));
    } else {
        fwrite(got->args.integer, sizeof(uint64_t), MATRIX_SIDES, stdout);
        write_bytes(got->taken.refs.data, got->taken.refs.len);
        write_bytes(got->taken.body.data, got->taken.body.len);
        fwrite(&count, sizeof(count), 1, stdout);
        for (uint32_t i = q->blob_count; i < (uint32_t)got->face.count; i++) {
            write_bytes(got->face.blobs[i].name, strlen(got->face.blobs[i].name));
            write_bytes(got->face.blobs[i].bytes.data, got->face.blobs[i].bytes.len);
        }
    }
    fflush(stdout);
}

static void forget(struct reading *got)
{
    buf_free(&got->taken.body);
    buf_free(&got->taken.refs);
    face_free(&got->face);
}

static char *read_bytes(uint32_t len)
{
    char *bytes = xcalloc(len + 1, 1);

    if (fread(bytes, 1, len, stdin) != len)
        exit(2);
    return bytes;
}

static bool ask(struct question *q)
{
    if (fread(q, 6 * sizeof(uint32_t), 1, stdin) != 1)
        return false;
    if (q->intake > 1 || q->blob_count > FACE_BLOBS || q->part_count > FACE_BLOBS)
        exit(2);
    for (uint32_t i = 0; i < q->blob_count + q->part_count; i++) {
        uint32_t lengths[2];

        if (fread(lengths, sizeof(lengths), 1, stdin) != 1)
            exit(2);
        q->items[i].name = read_bytes(lengths[0]);
        q->items[i].bytes = read_bytes(lengths[1]);
        q->items[i].len = lengths[1];
    }
    return true;
}

int main(void)
{
    static const size_t pieces[] = {1, 2, 3, 7, 16, 61, 65536};
    struct question     q;

    while (ask(&q)) {
        struct reading whole = read_pieces(&q, SIZE_MAX / 2);

        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            struct reading other = read_pieces(&q, pieces[i]);

            expect_same(&whole, &other, pieces[i]);
            forget(&other);
        }
        answer(&q, &whole);
        forget(&whole);
        for (uint32_t i = 0; i < q.blob_count + q.part_count; i++) {
            free(q.items[i].name);
            free(q.items[i].bytes);
        }
    }
    return 0;
}
