/* SPDX-License-Identifier: Apache-2.0 */
/* test_render.c - a product in its forms: every window of small shapes, in one
 * piece and in tiles of odd sizes, of every type of numbers, read in pieces of
 * any size and from any offset; and what is said when a piece is not there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"
#include "tests/unit/check.h"

enum { FORM_JSON, FORM_NPY, FORM_OCTETS };

/* ---- a result in memory ------------------------------------------------------------ */

struct result {
    struct result_face face;
    struct layout      layout;
    struct buf         text;    /* the layout as JSON; empty for one piece */
    struct buf        *pieces;  /* empty: not there */
    int                failing; /* piece that cannot be read, -1: none */
    uint64_t           reads;
};

static uint64_t size_of(void *ctx, int64_t piece)
{
    const struct result *r = ctx;

    assert_in_range(piece, 0, r->face.piece_count - 1);
    return r->pieces[piece].len;
}

static bool read_at(void *ctx, int64_t piece, uint64_t offset, void *out, size_t len)
{
    struct result *r = ctx;

    assert_in_range(piece, 0, r->face.piece_count - 1);
    r->reads++;
    if (piece == r->failing || offset > r->pieces[piece].len || len > r->pieces[piece].len - offset)
        return false;
    memcpy(out, r->pieces[piece].data + offset, len);
    return true;
}

/* Appends a number of this type. */
static void put(struct buf *out, enum dtype type, double value)
{
    float   f4 = (float)value;
    int64_t i8 = type == DTYPE_I8 ? (int64_t)value : 0;
    int32_t i4 = type == DTYPE_I4 ? (int32_t)value : 0;

    switch (type) {
    case DTYPE_F8:
        buf_append(out, &value, sizeof value);
        break;
    case DTYPE_F4:
        buf_append(out, &f4, sizeof f4);
        break;
    case DTYPE_I8:
        buf_append(out, &i8, sizeof i8);
        break;
    default:
        buf_append(out, &i4, sizeof i4);
    }
}

/* The number of each cell unless a test says otherwise. */
static double cell(enum dtype type, uint64_t row, uint64_t col)
{
    double whole = (double)(row * 1000 + col) * (col % 2 ? -1 : 1);

    return type == DTYPE_F8 ? whole / 7 : type == DTYPE_F4 ? (double)(float)(whole / 8) : whole;
}

typedef double cell_fn(enum dtype type, uint64_t row, uint64_t col);

/* The rows and columns of a region as a file. */
static struct buf file_of(const struct region *w, enum dtype type, cell_fn *value)
{
    struct buf out = {0};

    npy_write_header(buf_reserve(&out, NPY_HEADER_BYTES), type, w->rows, w->cols);
    out.len = NPY_HEADER_BYTES;
    for (uint64_t i = 0; i < w->rows; i++)
        for (uint64_t j = 0; j < w->cols; j++)
            put(&out, type, value(type, w->row + i, w->col + j));
    return out;
}

/* tile_rows 0: in one piece. */
static struct result *result_new(struct layout l, cell_fn *value)
{
    struct result *r = xcalloc(1, sizeof *r);
    bool           is_single = !l.tile_rows;
    uint64_t       down, across;

    if (is_single) {
        l.tile_rows = l.rows;
        l.tile_cols = l.cols;
    }
    down = (l.rows + l.tile_rows - 1) / l.tile_rows;
    across = (l.cols + l.tile_cols - 1) / l.tile_cols;
    r->layout = l;
    r->failing = -1;
    r->pieces = xcalloc(down * across, sizeof *r->pieces);
    for (uint64_t i = 0; i < down * across; i++) {
        struct region w = {i / across * l.tile_rows, l.tile_rows, i % across * l.tile_cols, l.tile_cols};

        w.rows = w.row + w.rows > l.rows ? l.rows - w.row : w.rows;
        w.cols = w.col + w.cols > l.cols ? l.cols - w.col : w.cols;
        r->pieces[i] = file_of(&w, l.dtype, value);
    }
    if (!is_single)
        layout_write(&l, &r->text);
    buf_reserve(&r->text, 1)[0] = 0;
    r->face = (struct result_face){r, r->text.data, (int64_t)(down * across), size_of, read_at};
    return r;
}

static void result_free(struct result *r)
{
    for (int64_t i = 0; i < r->face.piece_count; i++)
        buf_free(&r->pieces[i]);
    buf_free(&r->text);
    free(r->pieces);
    free(r);
}

/* ---- reading a form ------------------------------------------------------------------- */

static const char *bounds(char out[64], uint64_t from, uint64_t count)
{
    snprintf(out, 64, "%llu:%llu", (unsigned long long)from, (unsigned long long)(from + count));
    return out;
}

static void *open_form(const struct result *r, int form, const struct region *w, uint64_t *size)
{
    char         rows[64], cols[64];
    void        *stream;
    struct fault why;

    if (matrix_renderings[form].open(&r->face, w ? bounds(rows, w->row, w->rows) : NULL,
                                     w ? bounds(cols, w->col, w->cols) : NULL, &stream, size, &why))
        fail_msg("%s", why.detail);
    return stream;
}

/* Reads from offset to the end, step bytes at most each time, into allocations of their own. */
static struct buf read_from(int form, void *stream, uint64_t offset, size_t step)
{
    struct buf   out = {0};
    struct fault why;
    int64_t      got;

    do {
        char *piece = xmalloc(step);

        got = matrix_renderings[form].read(stream, offset, piece, step, &why);
        assert_in_range(got, 0, step);
        buf_append(&out, piece, (size_t)got);
        offset += (uint64_t)got;
        free(piece);
    } while (got > 0);
    return out;
}

static struct buf read_form(const struct result *r, int form, const struct region *w, size_t step)
{
    uint64_t   size;
    void      *stream = open_form(r, form, w, &size);
    struct buf out = read_from(form, stream, 0, step);

    matrix_renderings[form].close(stream);
    if (form == FORM_JSON)
        assert_true(size == RENDER_SIZE_UNKNOWN);
    else
        assert_int_equal(size, out.len);
    return out;
}

static void expect_bytes(const struct buf *got, const char *wanted, size_t len)
{
    assert_int_equal(got->len, len);
    assert_memory_equal(got->data, wanted, len);
}

static void expect_text(const char **at, const char *wanted)
{
    if (strncmp(*at, wanted, strlen(wanted)) != 0)
        fail_msg("not '%s' but '%.40s'", wanted, *at);
    *at += strlen(wanted);
}

/* The text is the window's numbers, and nothing else, not a blank. */
static void expect_json(struct buf *got, const struct region *w, enum dtype type, cell_fn *value)
{
    const char *at;
    char       *end;

    buf_append(got, "", 1);
    at = got->data;
    expect_text(&at, "{\"C\":[");
    for (uint64_t i = 0; i < w->rows; i++) {
        expect_text(&at, i ? ",[" : "[");
        for (uint64_t j = 0; j < w->cols; j++) {
            double wanted = value(type, w->row + i, w->col + j);
            double read = type == DTYPE_F4 ? (double)strtof(at, &end) : strtod(at, &end);

            if (end == at || memcmp(&read, &wanted, sizeof read) != 0)
                fail_msg("row %d, column %d is %.40s, not %.17g", (int)i, (int)j, at, wanted);
            at = end;
            expect_text(&at, j + 1 < w->cols ? "," : "]");
        }
    }
    expect_text(&at, "]}");
    assert_int_equal(at + 1 - got->data, got->len);
}

static void check_window(const struct result *r, const struct region *w, cell_fn *value)
{
    static const size_t steps[] = {1, 7, 4096};
    struct buf          file = file_of(w, r->layout.dtype, value);

    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        struct buf json = read_form(r, FORM_JSON, w, steps[s]);
        struct buf npy = read_form(r, FORM_NPY, w, steps[s]);
        struct buf octets = read_form(r, FORM_OCTETS, w, steps[s]);

        expect_json(&json, w, r->layout.dtype, value);
        expect_bytes(&npy, file.data, file.len);
        expect_bytes(&octets, file.data + NPY_HEADER_BYTES, file.len - NPY_HEADER_BYTES);
        buf_free(&json);
        buf_free(&npy);
        buf_free(&octets);
    }
    buf_free(&file);
}

/* ---- windows, tiles, types ---------------------------------------------------------------- */

/* Side 0: in one piece. */
static const uint64_t tile_sides[][2] = {{0, 0}, {1, 1}, {2, 3}, {3, 2}, {1, 4}, {9, 9}};
#define TILE_SIDES (sizeof tile_sides / sizeof *tile_sides)

static void check_every_window(const struct result *r)
{
    for (uint64_t row = 0; row < r->layout.rows; row++)
        for (uint64_t rows = 1; row + rows <= r->layout.rows; rows++)
            for (uint64_t col = 0; col < r->layout.cols; col++)
                for (uint64_t cols = 1; col + cols <= r->layout.cols; cols++)
                    check_window(r, &(struct region){row, rows, col, cols}, cell);
}

static void render__every_window_of_every_cut_is_that_part_of_the_product(void **state)
{
    static const uint64_t shapes[][2] = {{1, 1}, {1, 5}, {5, 1}, {3, 4}, {5, 3}};

    (void)state;
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (size_t t = 0; t < TILE_SIDES; t++)
            for (int type = 0; type < DTYPE_COUNT; type++) {
                struct result *r = result_new(
                    (struct layout){shapes[s][0], shapes[s][1], tile_sides[t][0], tile_sides[t][1], (enum dtype)type},
                    cell);

                check_every_window(r);
                result_free(r);
            }
}

static void render__products_beyond_one_block_are_whole(void **state)
{
    static const struct region windows[] = {{0, 301, 0, 97}, {13, 260, 0, 97}, {0, 301, 5, 90}, {299, 2, 0, 1}};

    (void)state;
    for (int type = 0; type < DTYPE_COUNT; type++)
        for (uint64_t tile = 0; tile < 120; tile += 40) {
            struct result *r = result_new((struct layout){301, 97, tile, tile ? tile - 3 : 0, (enum dtype)type}, cell);

            for (size_t w = 0; w < sizeof windows / sizeof *windows; w++)
                check_window(r, &windows[w], cell);
            result_free(r);
        }
}

static void render__seekable_forms_can_be_read_from_every_offset(void **state)
{
    static const size_t        steps[] = {1, 7, 4096};
    static const struct region w = {1, 4, 2, 5};

    (void)state;
    for (size_t t = 0; t < TILE_SIDES; t++)
        for (int form = FORM_NPY; form <= FORM_OCTETS; form++) {
            struct result *r = result_new((struct layout){6, 7, tile_sides[t][0], tile_sides[t][1], DTYPE_F4}, cell);
            struct buf     whole = read_form(r, form, &w, 4096);
            uint64_t       size;
            void          *stream = open_form(r, form, &w, &size);

            for (uint64_t offset = 0; offset <= size + 3; offset++)
                for (size_t s = 0; s < 3; s++) {
                    struct buf rest = read_from(form, stream, offset, steps[s]);

                    if (offset < size)
                        expect_bytes(&rest, whole.data + offset, size - offset);
                    else
                        assert_int_equal(rest.len, 0);
                    buf_free(&rest);
                }
            matrix_renderings[form].close(stream);
            buf_free(&whole);
            result_free(r);
        }
}

static void render__narrow_windows_of_long_rows_come_in_short_reads(void **state)
{
    struct result *r = result_new((struct layout){2000, 3, 0, 0, DTYPE_F8}, cell);
    struct region  w = {0, 2000, 1, 1};
    uint64_t       size;
    void          *stream = open_form(r, FORM_OCTETS, &w, &size);
    char           bytes[2000 * 8];
    struct fault   why;
    uint64_t       before = r->reads;
    int64_t        got;

    (void)state;
    got = matrix_renderings[FORM_OCTETS].read(stream, 0, bytes, sizeof bytes, &why);
    assert_int_equal(got, 8 * (r->reads - before));
    assert_in_range(got, 1, sizeof bytes / 2);
    matrix_renderings[FORM_OCTETS].close(stream);
    check_window(r, &w, cell);
    result_free(r);
}

/* ---- numbers --------------------------------------------------------------------------- */

static const char *json_text(struct buf *out, enum dtype type, cell_fn *value, uint64_t cols)
{
    struct result *r = result_new((struct layout){1, cols, 0, 0, type}, value);

    *out = read_form(r, FORM_JSON, NULL, 4096);
    buf_append(out, "", 1);
    result_free(r);
    return out->data;
}

static double special(enum dtype type, uint64_t row, uint64_t col)
{
    static const double values[] = {-0.0, 0, 0.1, 5e-324, -1.7976931348623157e308, 1e22, 123456789};

    (void)row;
    return type == DTYPE_F4 ? (double[]){-0.0, 0, 0.1F, 1e-45F, -3.4028235e38F, 16777216, -7}[col] : values[col];
}

static double extreme(enum dtype type, uint64_t row, uint64_t col)
{
    double low = type == DTYPE_I8 ? -9223372036854775808.0 : -2147483648.0;

    (void)row;
    return col == 0 ? low : col == 1 ? -1 : 0;
}

static void render__numbers_are_the_shortest_that_read_back(void **state)
{
    struct buf text;

    (void)state;
    assert_string_equal(json_text(&text, DTYPE_F8, special, 7),
                        "{\"C\":[[-0.0,0,0.1,5e-324,-1.7976931348623157e+308,1e+22,123456789]]}");
    buf_free(&text);
    assert_string_equal(json_text(&text, DTYPE_F4, special, 7),
                        "{\"C\":[[-0.0,0,0.1,1e-45,-3.4028235e+38,16777216,-7]]}");
    buf_free(&text);
    assert_string_equal(json_text(&text, DTYPE_I8, extreme, 3), "{\"C\":[[-9223372036854775808,-1,0]]}");
    buf_free(&text);
    assert_string_equal(json_text(&text, DTYPE_I4, extreme, 3), "{\"C\":[[-2147483648,-1,0]]}");
    buf_free(&text);
}

static double one_hole(enum dtype type, uint64_t row, uint64_t col)
{
    return row == 2 && col == 3 ? (double)NAN : cell(type, row, col);
}

static void render__json_refuses_what_it_cannot_say_and_names_the_place(void **state)
{
    (void)state;
    for (int type = DTYPE_F8; type <= DTYPE_F4; type++)
        for (uint64_t tile = 0; tile < 3; tile++) {
            struct result *r = result_new((struct layout){5, 5, tile, tile, (enum dtype)type}, one_hole);
            struct buf     npy;
            struct region  clean = {3, 2, 0, 5}, clear = {0, 5, 4, 1};
            void          *stream;
            uint64_t       size;
            struct fault   why;

            assert_int_equal(matrix_renderings[FORM_JSON].open(&r->face, "1:4", "2:", &stream, &size, &why),
                             ERR_ACCEPT);
            assert_non_null(strstr(why.detail, "row 2, column 3 "));
            check_window(r, &clean, one_hole);
            check_window(r, &clear, one_hole);
            npy = read_form(r, FORM_NPY, NULL, 4096); /* which can */
            buf_free(&npy);
            result_free(r);
        }
}

static double last_hole(enum dtype type, uint64_t row, uint64_t col)
{
    return row == 1023 && col == 599 ? (double)INFINITY : cell(type, row % 3, col);
}

static void render__json_of_a_large_product_breaks_off_at_what_it_cannot_say(void **state)
{
    struct result *r = result_new((struct layout){1024, 600, 100, 600, DTYPE_F8}, last_hole);
    char          *bytes = xmalloc(65536);
    uint64_t       size, offset = 0;
    void          *stream = open_form(r, FORM_JSON, NULL, &size);
    struct fault   why;
    int64_t        got;

    (void)state;
    while ((got = matrix_renderings[FORM_JSON].read(stream, offset, bytes, 65536, &why)) > 0)
        offset += (uint64_t)got;
    assert_int_equal(got, -1);
    assert_int_equal(why.err, ERR_ACCEPT);
    assert_non_null(strstr(why.detail, "row 1023, column 599 "));
    assert_true(offset > 1000000);
    matrix_renderings[FORM_JSON].close(stream);
    free(bytes);
    result_free(r);
}

/* ---- what is refused --------------------------------------------------------------------- */

static void expect_open(const struct result *r, const char *rows, const char *cols, enum err err, const char *detail)
{
    for (int form = FORM_JSON; form <= FORM_OCTETS; form++) {
        void        *stream;
        uint64_t     size;
        struct fault why = {0};
        enum err     e = matrix_renderings[form].open(&r->face, rows, cols, &stream, &size, &why);

        if (e != err || !strstr(why.detail, detail))
            fail_msg("rows=%s cols=%s: %d %s", rows ? rows : "", cols ? cols : "", e, why.detail);
        if (!e)
            matrix_renderings[form].close(stream);
    }
}

static void render__windows_outside_or_malformed_are_refused_with_the_shape(void **state)
{
    static const char *const bad[] = {"",
                                      "3",
                                      "3:3",
                                      "5:3",
                                      "0:8",
                                      "7:",
                                      "8:9",
                                      "-1:3",
                                      "1:-1",
                                      "0:0",
                                      "a:b",
                                      "1:2:",
                                      " 1:2",
                                      "1: 2",
                                      "99999999999999999999:",
                                      ":99999999999999999999999"};
    struct result           *r = result_new((struct layout){7, 9, 2, 4, DTYPE_I4}, cell);

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_open(r, bad[i], NULL, ERR_PARAM, "7 x 9");
    expect_open(r, NULL, "4:10", ERR_PARAM, "cols is '4:10'");
    expect_open(r, "1:2", "0:", ERR_OK, "");
    expect_open(r, ":", ":", ERR_OK, "");
    expect_open(r, ":5", "5:", ERR_OK, "");
    expect_open(r, "6:7", "8:9", ERR_OK, "");
    result_free(r);
}

static void render__a_missing_piece_is_told_before_the_first_byte(void **state)
{
    struct result *r = result_new((struct layout){5, 6, 2, 3, DTYPE_F8}, cell); /* 3 x 2 tiles */

    (void)state;
    buf_free(&r->pieces[3]);
    expect_open(r, NULL, NULL, ERR_RESULT_GONE, "piece 3 ");
    expect_open(r, "3:4", "2:4", ERR_RESULT_GONE, "piece 3 ");
    check_window(r, &(struct region){0, 2, 0, 6}, cell);
    check_window(r, &(struct region){0, 5, 0, 3}, cell);
    result_free(r);
}

static void render__what_is_not_what_was_written_is_gone(void **state)
{
    struct result *r = result_new((struct layout){5, 6, 2, 3, DTYPE_F8}, cell);

    (void)state;
    r->pieces[4].len -= 1;
    expect_open(r, NULL, NULL, ERR_RESULT_GONE, "piece 4 ");
    r->pieces[4].len += 1;
    r->face.piece_count = 5;
    expect_open(r, NULL, NULL, ERR_RESULT_GONE, "5 results");
    r->face.piece_count = 6;
    r->face.layout = "{}";
    expect_open(r, NULL, NULL, ERR_INTERNAL, "layout");
    result_free(r);

    r = result_new((struct layout){5, 6, 0, 0, DTYPE_F8}, cell);
    for (size_t len = 0; len < r->pieces[0].len; len += 31) {
        size_t whole = r->pieces[0].len;

        r->pieces[0].len = len;
        expect_open(r, NULL, NULL, ERR_RESULT_GONE, "piece 0 ");
        r->pieces[0].len = whole;
    }
    r->pieces[0].data[1] = 'X';
    expect_open(r, NULL, NULL, ERR_RESULT_GONE, "piece 0 ");
    result_free(r);
}

static void render__a_piece_that_goes_later_breaks_the_stream_off(void **state)
{
    (void)state;
    for (int form = FORM_JSON; form <= FORM_OCTETS; form++) {
        struct result *r = result_new((struct layout){400, 200, 40, 200, DTYPE_I8}, cell);
        char          *bytes = xmalloc(8192);
        uint64_t       size, offset = 0;
        void          *stream = open_form(r, form, NULL, &size);
        struct fault   why;
        int64_t        got;

        r->failing = 5;
        while ((got = matrix_renderings[form].read(stream, offset, bytes, 8192, &why)) > 0)
            offset += (uint64_t)got;
        assert_int_equal(got, -1);
        assert_int_equal(why.err, ERR_RESULT_GONE);
        assert_non_null(strstr(why.detail, "piece 5 "));
        assert_true(offset > 100000);
        matrix_renderings[form].close(stream);
        free(bytes);
        result_free(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(render__every_window_of_every_cut_is_that_part_of_the_product),
        cmocka_unit_test(render__products_beyond_one_block_are_whole),
        cmocka_unit_test(render__seekable_forms_can_be_read_from_every_offset),
        cmocka_unit_test(render__narrow_windows_of_long_rows_come_in_short_reads),
        cmocka_unit_test(render__numbers_are_the_shortest_that_read_back),
        cmocka_unit_test(render__json_refuses_what_it_cannot_say_and_names_the_place),
        cmocka_unit_test(render__json_of_a_large_product_breaks_off_at_what_it_cannot_say),
        cmocka_unit_test(render__windows_outside_or_malformed_are_refused_with_the_shape),
        cmocka_unit_test(render__a_missing_piece_is_told_before_the_first_byte),
        cmocka_unit_test(render__what_is_not_what_was_written_is_gone),
        cmocka_unit_test(render__a_piece_that_goes_later_breaks_the_stream_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
