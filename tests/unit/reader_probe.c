/* SPDX-License-Identifier: Apache-2.0 */
/* reader_probe.c - the matrix reader on a pipe, for tests that know Python's json.
 *
 * In, again and again: uint32 limit, uint32 length, the document. It is read
 * whole, byte by byte, and in pieces of several sizes; the program aborts when
 * they differ. Out: uint32 error, and then either uint32 length and the
 * detail, or uint64 m, k, n and the numbers.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/reader.h"

struct reading {
    enum err     err;
    struct fault why;
    size_t       sides[MATRIX_SIDES];
    struct buf   input;
};

static struct reading read_pieces(const char *text, size_t len, size_t piece, size_t limit)
{
    struct matrix_reader *r = matrix_reader_new(limit);
    struct reading        got = {0};

    for (size_t at = 0; at < len && !got.err; at += piece)
        got.err = matrix_reader_feed(r, text + at, len - at < piece ? len - at : piece, &got.why);
    if (!got.err)
        got.err = matrix_reader_finish(r, got.sides, &got.input, &got.why);
    matrix_reader_free(r);
    return got;
}

static void expect_same(const struct reading *a, const struct reading *b, size_t piece)
{
    bool same = a->err == b->err && a->input.len == b->input.len;

    if (same && a->err)
        same = strcmp(a->why.detail, b->why.detail) == 0;
    if (same && !a->err)
        same = memcmp(a->sides, b->sides, sizeof(a->sides)) == 0 &&
               memcmp(a->input.data, b->input.data, a->input.len) == 0;
    if (same)
        return;
    fprintf(stderr, "pieces of %zu: error %d '%s', whole: error %d '%s'\n", piece, b->err, b->why.detail, a->err,
            a->why.detail);
    abort();
}

static void answer(const struct reading *got)
{
    uint32_t err = got->err, len = (uint32_t)strlen(got->why.detail);

    fwrite(&err, sizeof(err), 1, stdout);
    if (err) {
        fwrite(&len, sizeof(len), 1, stdout);
        fwrite(got->why.detail, 1, len, stdout);
    } else {
        uint64_t sides[MATRIX_SIDES] = {got->sides[0], got->sides[1], got->sides[2]};

        fwrite(sides, sizeof(sides), 1, stdout);
        fwrite(got->input.data, 1, got->input.len, stdout);
    }
    fflush(stdout);
}

int main(void)
{
    static const size_t pieces[] = {1, 2, 3, 7, 16, 61};
    uint32_t            head[2];

    while (fread(head, sizeof(head), 1, stdin) == 1) {
        char          *text = xmalloc(head[1]);
        struct reading whole;

        if (fread(text, 1, head[1], stdin) != head[1])
            return 2;
        whole = read_pieces(text, head[1], head[1], head[0]);
        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
            struct reading other = read_pieces(text, head[1], pieces[i], head[0]);

            expect_same(&whole, &other, pieces[i]);
            buf_free(&other.input);
        }
        answer(&whole);
        buf_free(&whole.input);
        free(text);
    }
    return 0;
}
