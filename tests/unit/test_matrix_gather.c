/* SPDX-License-Identifier: Apache-2.0 */
/* test_matrix_gather.c - operands that are larger than memory may be: its bound, the pieces they are written in,
 * and a disk that fills. What is read right, tests/behave knows better: it has Python's json and NumPy. */
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/gather.h"
#include "kinds/matrix/intake.h"
#include "kinds/matrix/reader.h"
#include "tests/unit/check.h"
#include "tests/unit/face.h"

#define INLINE_MAX 65536
#define ROWS 400
#define COLS 500

static const struct limits limits = {.inline_max = INLINE_MAX, .has_blobs = true};

static size_t memory_of(const struct gather *g)
{
    size_t bytes = 0;

    for (int i = 0; i < OPERANDS; i++)
        bytes += g->parts[i].numbers.cap + g->parts[i].header.cap;
    return bytes;
}

/* A row of so many ones, brackets included. */
static struct buf make_row(int cols, const char *before)
{
    struct buf row = {0};

    buf_text(&row, before);
    for (int i = 0; i < cols; i++)
        buf_text(&row, i ? ",1" : "[1");
    buf_text(&row, "]");
    return row;
}

static void feed(struct matrix_reader *r, const char *bytes, size_t len)
{
    struct fault why;

    if (matrix_reader_feed(r, bytes, len, &why))
        fail_msg("%s", why.detail);
}

static void gather__memory_is_bounded_whatever_comes(void **state)
{
    struct face           face = {0};
    struct blobs_face     blobs = face_of(&face);
    struct gather         g;
    struct matrix_reader *r;
    struct buf            first = make_row(COLS, ""), row = make_row(COLS, ",");

    (void)state;
    gather_init(&g, &limits, &blobs);
    r = matrix_reader_new(&g);
    for (int i = 0; i < OPERANDS; i++) {
        const char *start = i ? ",\"B\":[" : "{\"A\":[";

        feed(r, start, strlen(start));
        feed(r, first.data, first.len);
        for (int j = 1; j < (i ? COLS : ROWS); j++) {
            feed(r, row.data, row.len);
            assert_in_range(memory_of(&g), 0, INLINE_MAX + GATHER_CHUNK);
        }
        feed(r, "]", 1);
        assert_int_equal(memory_of(&g), 0); /* what is complete is written */
    }
    for (int i = 0; i < OPERANDS; i++) {
        const struct face_blob *b = &face.blobs[i];

        assert_true(b->has_head);
        assert_int_equal(b->bytes.len, NPY_HEADER_BYTES + (i ? COLS : ROWS) * COLS * 8);
        assert_in_range(b->appends, 1, b->bytes.len / GATHER_CHUNK + 2);
    }
    matrix_reader_free(r);
    gather_fini(&g);
    face_free(&face);
    buf_free(&first);
    buf_free(&row);
}

/* A part of a form with a matrix of zeros, cut into pieces of this size. */
static enum err feed_file(void *ctx, const char *name, uint64_t rows, uint64_t cols, size_t piece, struct fault *why)
{
    char     header[NPY_HEADER_BYTES];
    char    *zeros = xcalloc(1, piece);
    enum err e;

    npy_write_header(header, DTYPE_F8, rows, cols);
    e = matrix_intakes[1].feed(ctx, name, true, header, sizeof(header), why);
    for (uint64_t left = rows * cols * 8; left && !e;) {
        size_t len = left < piece ? left : piece;

        e = matrix_intakes[1].feed(ctx, name, false, zeros, len, why);
        left -= len;
    }
    free(zeros);
    return e;
}

static void gather__files_are_written_in_large_pieces(void **state)
{
    static const size_t pieces[] = {100, 4096, 30000, 100000, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct face       face = {0};
        struct blobs_face blobs = face_of(&face);
        void             *ctx = matrix_intakes[1].begin(&limits, &blobs);
        struct taken      taken = {0};
        struct args       args;
        struct fault      why;

        args_init(&args);
        assert_int_equal(feed_file(ctx, "A", ROWS, COLS, pieces[i], &why), ERR_OK);
        assert_int_equal(feed_file(ctx, "B", COLS, 3, pieces[i], &why), ERR_OK);
        assert_int_equal(matrix_intakes[1].end(ctx, &args, &taken, &why), ERR_OK);
        assert_int_equal(face.blobs[0].bytes.len, NPY_HEADER_BYTES + ROWS * COLS * 8);
        assert_in_range(face.blobs[0].appends, 2, 2 * face.blobs[0].bytes.len / GATHER_CHUNK + 14);
        assert_int_equal(face.count, 2);
        buf_free(&taken.refs);
        face_free(&face);
    }
}

static void gather__a_full_disk_is_told_as_such(void **state)
{
    struct face       face = {.is_full = true};
    struct blobs_face blobs = face_of(&face);
    struct limits     tight = {.inline_max = 8, .has_blobs = true};
    const char       *text = "{\"A\":[[1,2]],\"B\":[[3],[4]]}";
    struct taken      taken = {0};
    struct args       args;
    struct fault      why = {0};
    void             *ctx = matrix_intakes[0].begin(&tight, &blobs);

    (void)state;
    args_init(&args);
    assert_int_equal(matrix_intakes[0].feed(ctx, NULL, false, text, strlen(text), &why), ERR_DISK_FULL);
    assert_string_equal(why.detail, "no room");
    assert_int_equal(matrix_intakes[0].end(ctx, &args, &taken, &why), ERR_DISK_FULL);
    assert_int_equal(taken.body.len + taken.refs.len, 0);

    ctx = matrix_intakes[1].begin(&tight, &blobs);
    assert_int_equal(feed_file(ctx, "A", 20, 30, 100, &why), ERR_DISK_FULL);
    matrix_intakes[1].abort(ctx);
    face_free(&face);
}

static void gather__what_is_broken_off_is_forgotten(void **state)
{
    const char  *text = "{\"A\":[[1,2],[5,6]],\"B\":{\"random\":{\"rows\":2";
    struct fault why;

    (void)state;
    for (size_t len = 0; len <= strlen(text); len++) { /* ASan sees what is left */
        struct face       face = {0};
        struct blobs_face blobs = face_of(&face);
        void             *ctx = matrix_intakes[0].begin(&(struct limits){.inline_max = 16, .has_blobs = true}, &blobs);

        assert_int_equal(matrix_intakes[0].feed(ctx, NULL, false, text, len, &why), ERR_OK);
        matrix_intakes[0].abort(ctx);
        face_free(&face);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather__memory_is_bounded_whatever_comes),
        cmocka_unit_test(gather__files_are_written_in_large_pieces),
        cmocka_unit_test(gather__a_full_disk_is_told_as_such),
        cmocka_unit_test(gather__what_is_broken_off_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
