/* SPDX-License-Identifier: Apache-2.0 */
/* test_npy.c - headers of NumPy files: as NumPy writes them, as others may, and as nobody should. */
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "kinds/matrix/npy.h"
#include "tests/unit/check.h"

/* A header of this version around the literal; owned by the caller. */
static struct buf wrap(int version, const char *literal)
{
    size_t     len = strlen(literal);
    struct buf out = {0};

    buf_append(&out, "\x93NUMPY", 6);
    buf_append(&out, (char[]){(char)version, 0, (char)(len & 255), (char)(len >> 8)}, 4);
    if (version > 1)
        buf_append(&out, (char[]){(char)(len >> 16), (char)(len >> 24)}, 2);
    buf_text(&out, literal);
    return out;
}

/* Reads the header as it arrives, each time with as many bytes as were asked for, in an allocation of its own. */
static enum err read_growing(const struct buf *file, struct npy *out, struct fault *why)
{
    size_t   have = 0, need = 0;
    enum err e = ERR_OK;

    do {
        char *copy;

        assert_true(need <= file->len && need <= NPY_HEADER_MAX);
        have = need;
        copy = xmemdup(file->data, have);
        e = npy_read_header(copy, have, out, &need, why);
        free(copy);
    } while (!e && need > have);
    if (!e)
        assert_int_equal(out->data_at, have);
    return e;
}

static void expect_taken(int version, const char *literal, struct npy wanted)
{
    struct buf   file = wrap(version, literal);
    struct npy   got = {0};
    struct fault why;

    if (read_growing(&file, &got, &why))
        fail_msg("%s: %s", literal, why.detail);
    assert_int_equal(got.dtype, wanted.dtype);
    assert_int_equal(got.is_fortran, wanted.is_fortran);
    assert_int_equal(got.rows, wanted.rows);
    assert_int_equal(got.cols, wanted.cols);
    assert_int_equal(got.data_at, file.len);
    buf_free(&file);
}

static void expect_refused(const char *literal, enum err err, const char *detail)
{
    for (int version = 1; version <= 3; version++) {
        struct buf   file = wrap(version, literal);
        struct npy   got = {.rows = 77};
        struct fault why = {0};

        if (read_growing(&file, &got, &why) != err || !strstr(why.detail, detail))
            fail_msg("%s: %s", literal, why.detail);
        assert_int_equal(got.rows, 77);
        buf_free(&file);
    }
}

static void npy__what_is_written_reads_back(void **state)
{
    (void)state;
    for (int t = 0; t < DTYPE_COUNT; t++) {
        struct buf   file = {0};
        struct npy   got;
        struct fault why;

        npy_write_header(buf_reserve(&file, NPY_HEADER_BYTES), (enum dtype)t, 3 + (uint64_t)t, 1234567890123);
        file.len = NPY_HEADER_BYTES;
        assert_int_equal(file.data[NPY_HEADER_BYTES - 1], '\n');
        assert_int_equal(read_growing(&file, &got, &why), ERR_OK);
        assert_int_equal(got.dtype, t);
        assert_false(got.is_fortran);
        assert_int_equal(got.rows, 3 + t);
        assert_int_equal(got.cols, 1234567890123);
        assert_int_equal(got.data_at, NPY_HEADER_BYTES);
        assert_int_equal(npy_data_bytes(&got), (3 + (uint64_t)t) * 1234567890123 * dtype_bytes((enum dtype)t));
        buf_free(&file);
    }
}

static void npy__takes_the_literal_in_every_dress(void **state)
{
    const struct npy plain = {DTYPE_F8, false, 2, 3, 0};

    (void)state;
    for (int version = 1; version <= 3; version++) {
        expect_taken(version, "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }    \n", plain);
        expect_taken(version, "{'shape':(2,3),'fortran_order':False,'descr':'<f8'}", plain);
        expect_taken(version, " \t{ \"shape\" : ( 2 , 3 , ) ,\n\"descr\":\"<f8\", 'fortran_order' :False,}\r\n", plain);
        expect_taken(version, "{'descr': '<i4', 'fortran_order': True, 'shape': (2L, 3L), }\n",
                     (struct npy){DTYPE_I4, true, 2, 3, 0});
        expect_taken(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 100000), }\n",
                     (struct npy){DTYPE_F4, false, 1, 100000, 0});
        expect_taken(version, "{'descr': '<i8', 'fortran_order': True, 'shape': (2147483648, 1), }\n",
                     (struct npy){DTYPE_I8, true, 2147483648, 1, 0});
    }
}

static void npy__refuses_other_numbers_and_names_them(void **state)
{
    (void)state;
    expect_refused("{'descr': '>f8', 'fortran_order': False, 'shape': (2, 3), }", ERR_BODY,
                   "are '>f8', which is big-endian; taken are '<f8', '<f4', '<i8' and '<i4'");
    expect_refused("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3), }", ERR_BODY, "are '|u1'; taken are");
    expect_refused("{'descr': '<c16', 'fortran_order': False, 'shape': (2, 3), }", ERR_BODY, "are '<c16'; taken are");
    expect_refused("{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }", ERR_BODY, "are '<f2'; taken are");
    expect_refused("{'descr': '', 'fortran_order': False, 'shape': (2, 3), }", ERR_BODY, "are ''; taken are");
    expect_refused("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (2, 3), }", ERR_BODY,
                   "records of several fields");
}

static void npy__refuses_other_shapes_and_names_them(void **state)
{
    (void)state;
    expect_refused("{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", ERR_SHAPE,
                   "has 1 dimension; an operand has two, rows and columns");
    expect_refused("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", ERR_SHAPE, "has 0 dimensions");
    expect_refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3, 4), }", ERR_SHAPE, "has 3 dimensions");
    expect_refused("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 3), }", ERR_SHAPE, "is empty: 0 x 3");
    expect_refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 0), }", ERR_SHAPE, "is empty: 2 x 0");
    expect_refused("{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952, 1), }", ERR_SHAPE,
                   "more numbers than any file holds");
    expect_refused("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999999999, 1), }", ERR_SHAPE,
                   "more numbers than any file holds");
}

static void npy__refuses_what_is_no_such_literal(void **state)
{
    static const char *const refused[] = {
        "",
        "{",
        "}",
        "{,}",
        "{'descr'",
        "{'descr': '<f8",
        "{'descr' '<f8'}",
        "{'descr': '<f8' 'shape': (2, 3)}",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (2, 3), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), } x",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3)",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-2, 3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': [2, 3]}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (6)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,,3)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 03)}",
        "{'descr': '<f8', 'fortran_order': False,, 'shape': (2,3)}",
        "{'descr': 8, 'fortran_order': False, 'shape': (2,3)}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
        expect_refused(refused[i], ERR_BODY, "the NumPy header cannot be read: expected ");
    expect_refused("{'descr': '<f8', 'fortran_order': False}", ERR_BODY, "the NumPy header has no 'shape'");
    expect_refused("{}", ERR_BODY, "the NumPy header has no 'descr'");
    expect_refused("{'descr': '<f8', 'descr': '<f8'}", ERR_BODY, "the NumPy header has the key 'descr' twice");
    expect_refused("{'dtype': '<f8'}", ERR_BODY, "has the key 'dtype', which the format does not know");
}

static void npy__tells_another_file_at_its_first_byte(void **state)
{
    struct npy   n;
    struct fault why;
    size_t       need;

    (void)state;
    assert_int_equal(npy_read_header("{\"A\"", 1, &n, &need, &why), ERR_BODY);
    assert_string_equal(why.detail, "this is no NumPy file (.npy): it does not begin as such");
    assert_int_equal(npy_read_header("\x93NUMPX", 6, &n, &need, &why), ERR_BODY);
    assert_int_equal(npy_read_header("\x93NUMPY\x04\x00\x10\x00", 10, &n, &need, &why), ERR_BODY);
    assert_non_null(strstr(why.detail, "version 4.0"));
    assert_int_equal(npy_read_header("\x93NUMPY\x01\x01\x10\x00", 10, &n, &need, &why), ERR_BODY);
    assert_int_equal(npy_read_header("\x93NUMPY\x02\x00\x01\x00\x01\x00", 12, &n, &need, &why), ERR_BODY);
    assert_string_equal(why.detail, "the NumPy header has 65537 bytes; at most 65536 are read");
    assert_int_equal(npy_read_header("\x93NUMPY\x02\x00\x00\x00\x01\x00", 12, &n, &need, &why), ERR_OK);
    assert_int_equal(need, NPY_HEADER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(npy__what_is_written_reads_back),
        cmocka_unit_test(npy__takes_the_literal_in_every_dress),
        cmocka_unit_test(npy__refuses_other_numbers_and_names_them),
        cmocka_unit_test(npy__refuses_other_shapes_and_names_them),
        cmocka_unit_test(npy__refuses_what_is_no_such_literal),
        cmocka_unit_test(npy__tells_another_file_at_its_first_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
