/* SPDX-License-Identifier: Apache-2.0 */
/* test_matrix_reader.c - {"A":..,"B":..}: what is taken, what is refused and
 * how, cut into pieces in every way. Each document goes in whole, byte by
 * byte, and in two pieces at every place; all must end alike. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/intake.h"
#include "kinds/matrix/matrix.h"
#include "tests/unit/check.h"

#define LIMIT 4096

struct reading {
    enum err     err;
    struct fault why;
    size_t       sides[MATRIX_SIDES];
    struct buf   input;
};

#define json (&matrix_intakes[0])

static void feed(void *ctx, const char *bytes, size_t len)
{
    char        *copy = xmalloc(len); /* its own allocation: a step beyond it shows under ASan */
    struct fault why;
    enum err     ignored;

    memcpy(copy, bytes, len);
    ignored = json->feed(ctx, NULL, false, copy, len, &why);
    (void)ignored; /* an error stays: end tells it */
    free(copy);
}

static struct reading end(void *ctx)
{
    struct reading got = {0};
    struct taken   taken = {0};
    struct args    args;

    args_init(&args);
    got.err = json->end(ctx, &args, &taken, &got.why);
    for (int i = 0; i < MATRIX_SIDES; i++)
        got.sides[i] = (size_t)args.integer[i];
    got.input = taken.body;
    assert_int_equal(taken.refs.len, 0); /* nothing here is beyond memory */
    return got;
}

/* cut: length of the first piece; 0 for byte by byte. */
static struct reading read_within(const char *text, size_t len, size_t cut, const struct limits *limits)
{
    void *ctx = json->begin(limits, NULL);

    if (cut) {
        feed(ctx, text, cut);
        feed(ctx, text + cut, len - cut);
    } else {
        for (size_t i = 0; i < len; i++)
            feed(ctx, text + i, 1);
    }
    return end(ctx);
}

static struct reading read_cut(const char *text, size_t len, size_t cut, size_t limit)
{
    return read_within(text, len, cut, &(struct limits){.inline_max = limit});
}

static void expect_same(const struct reading *a, const struct reading *b, const char *text)
{
    if (a->err != b->err || (a->err && strcmp(a->why.detail, b->why.detail)))
        fail_msg("%s: %s / %s", text, a->why.detail, b->why.detail);
    assert_int_equal(a->input.len, b->input.len);
    if (a->input.len)
        assert_memory_equal(a->input.data, b->input.data, a->input.len);
    assert_memory_equal(a->sides, b->sides, sizeof(a->sides));
}

static struct reading read_bytes(const char *text, size_t len, size_t limit)
{
    struct reading whole = read_cut(text, len, len, limit);

    for (size_t cut = 0; cut < len; cut++) {
        struct reading other = read_cut(text, len, cut, limit);

        expect_same(&whole, &other, text);
        buf_free(&other.input);
    }
    return whole;
}

static void expect_numbers(const char *text, size_t m, size_t k, size_t n, const double *numbers)
{
    struct reading got = read_bytes(text, strlen(text), LIMIT);

    if (got.err)
        fail_msg("%s: %s", text, got.why.detail);
    assert_int_equal(got.sides[MATRIX_M], m);
    assert_int_equal(got.sides[MATRIX_K], k);
    assert_int_equal(got.sides[MATRIX_N], n);
    assert_int_equal(got.input.len, 8 * (m * k + k * n));
    assert_memory_equal(got.input.data, numbers, got.input.len);
    buf_free(&got.input);
}

static void expect_refused(const char *text, enum err err, const char *detail)
{
    struct reading got = read_bytes(text, strlen(text), LIMIT);

    if (got.err != err || got.why.err != err || !strstr(got.why.detail, detail))
        fail_msg("%s: error %d, %s", text, got.err, got.why.detail);
    assert_int_equal(got.input.len, 0);
}

static void reader__takes_rectangles_in_either_order(void **state)
{
    (void)state;
    expect_numbers("{\"A\":[[1,2],[3,4]],\"B\":[[5],[6]]}", 2, 2, 1, (double[]){1, 2, 3, 4, 5, 6});
    expect_numbers("{\"B\":[[5],[6]],\"A\":[[1,2],[3,4]]}", 2, 2, 1, (double[]){1, 2, 3, 4, 5, 6});
    expect_numbers("{\"A\":[[1]],\"B\":[[2,3,4]]}", 1, 1, 3, (double[]){1, 2, 3, 4});
}

static void reader__takes_white_space_everywhere(void **state)
{
    (void)state;
    expect_numbers(" \t\r\n{ \"A\" : [ [ 1 ,\n2 ] ] , \"B\"\n:\n[\t[ 3 ]\r,\n[ 4 ] ] } \n ", 1, 2, 1,
                   (double[]){1, 2, 3, 4});
}

static void reader__takes_numbers_as_json_writes_them(void **state)
{
    (void)state;
    expect_numbers("{\"A\":[[0,-0,0.5,-1e3,2E+2,5e-1,0e5,-0.0]],\"B\":[[1],[1],[1],[1],[1],[1],[1],[1]]}", 1, 8, 1,
                   (double[]){0, -0.0, 0.5, -1000, 200, 0.5, 0, -0.0, 1, 1, 1, 1, 1, 1, 1, 1});
    expect_numbers("{\"A\":[[1e-999]],\"B\":[[-1e-999]]}", 1, 1, 1, (double[]){0, -0.0});
    expect_numbers("{\"A\":[[4.9406564584124654e-324]],\"B\":[[1.7976931348623157e308]]}", 1, 1, 1,
                   (double[]){4.9406564584124654e-324, 1.7976931348623157e308});
}

static void reader__honours_escapes_in_keys(void **state)
{
    (void)state;
    expect_numbers("{\"\\u0041\":[[1]],\"\\u0042\":[[2]]}", 1, 1, 1, (double[]){1, 2});
    expect_refused("{\"\\u0061\":[[1]]}", ERR_JSON, "byte 1: unknown key \"\\u0061\"; there are only \"A\" and \"B\"");
    expect_refused("{\"A\\u0000\":[[1]]}", ERR_JSON, "unknown key \"A\\u0000\"");
    expect_refused("{\"\\x\":1}", ERR_JSON, "byte 3: no escape starts with 'x'");
    expect_refused("{\"\\u00g1\":1}", ERR_JSON, "byte 6: expected a hex digit, found 'g'");
    expect_refused("{\"a\nb\":1}", ERR_JSON, "byte 3: a control character (0x0a) in a key");
}

static void reader__refuses_unknown_repeated_and_missing_keys(void **state)
{
    (void)state;
    expect_refused("{\"A\":[[1]],\"C\":[[1]]}", ERR_JSON, "byte 11: unknown key \"C\"");
    expect_refused("{\"\":[[1]]}", ERR_JSON, "unknown key \"\"");
    expect_refused("{\"AB\":[[1]]}", ERR_JSON, "unknown key \"AB\"");
    expect_refused("{\"A\":[[1]],\"\\u0041\":[[1]]}", ERR_JSON, "byte 11: the key \"A\" is given twice");
    expect_refused("{\"A\":[[1]]}", ERR_JSON, "the key \"B\" is missing");
    expect_refused("{\"B\":[[1]]}", ERR_JSON, "the key \"A\" is missing");
    expect_refused("{}", ERR_JSON, "the key \"A\" is missing");
}

static void reader__refuses_what_is_not_json(void **state)
{
    (void)state;
    expect_refused("", ERR_JSON, "byte 0: the document ends too early");
    expect_refused("  ", ERR_JSON, "byte 2: the document ends too early");
    expect_refused("[[1]]", ERR_JSON, "byte 0: expected '{', found '['");
    expect_refused("\xef\xbb\xbf{}", ERR_JSON, "byte order mark");
    expect_refused("{\"A\":[[1]],\"B\":[[1]]", ERR_JSON, "byte 20: the document ends too early");
    expect_refused("{\"A\":[[1", ERR_JSON, "byte 8: the document ends too early");
    expect_refused("{\"A\":[[1]],\"B\":[[1]]}x", ERR_JSON, "byte 21: expected nothing more, found 'x'");
    expect_refused("{\"A\":[[1]],\"B\":[[1]]}{}", ERR_JSON, "byte 21: expected nothing more, found '{'");
    expect_refused("{\"A\":[[1],],\"B\":[[1]]}", ERR_JSON, "byte 10: expected '[', a row, found ']'");
    expect_refused("{\"A\":[[1,]]}", ERR_JSON, "byte 9: expected a number, found ']'");
    expect_refused("{\"A\":[[1 2]]}", ERR_JSON, "byte 9: expected ',' or ']', found '2'");
    expect_refused("{\"A\":[[1]],}", ERR_JSON, "byte 11: expected a key in quotes, found '}'");
    expect_refused("{\"A\" [[1]]}", ERR_JSON, "byte 5: expected ':', found '['");
    expect_refused("{A:[[1]]}", ERR_JSON, "byte 1: expected a key in quotes, found 'A'");
    expect_refused("{\"A\":[[1]];\"B\":[[1]]}", ERR_JSON, "byte 10: expected ',' or '}', found ';'");
}

static void reader__refuses_what_is_not_two_matrices(void **state)
{
    (void)state;
    expect_refused("{\"A\":1}", ERR_JSON, "byte 5: expected '[', an array of rows, or '{', found '1'");
    expect_refused("{\"A\":\"x\"}", ERR_JSON, "expected '[', an array of rows, or '{', found '\"'");
    expect_refused("{\"A\":[1,2]}", ERR_JSON, "byte 6: expected '[', a row, found '1'");
    expect_refused("{\"A\":[[[1]]]}", ERR_JSON, "byte 7: expected a number, found '['");
    expect_refused("{\"A\":[[\"1\"]]}", ERR_JSON, "byte 7: expected a number, found '\"'");
    expect_refused("{\"A\":[[true]]}", ERR_JSON, "byte 7: expected a number, found 't'");
}

static void reader__refuses_numbers_that_json_does_not_know(void **state)
{
    static const char *const refused[] = {"01",        "-01",   "00",   "1.",   ".5",    "-.5",  "+1",  "1e",
                                          "1e+",       "-",     "1.e3", "1..2", "1e5.5", "--1",  "1-2", "0x10",
                                          "1e1e1",     "1_000", "-a",   "00.5", "1+",    "1.5.", "NaN", "Infinity",
                                          "-Infinity", "-NaN",  "inf",  "nan",  "null",  "1e5e"};

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char text[64];

        snprintf(text, sizeof(text), "{\"A\":[[%s]],\"B\":[[1]]}", refused[i]);
        expect_refused(text, ERR_JSON, "byte ");
        snprintf(text, sizeof(text), "{\"A\":[[2,%s ,3]],\"B\":[[1]]}", refused[i]);
        expect_refused(text, ERR_JSON, "byte ");
    }
    expect_refused("{\"A\":[[NaN]]}", ERR_JSON, "byte 7: expected a number; NaN and Infinity are not JSON numbers");
    expect_refused("{\"A\":[[-Infinity]]}", ERR_JSON, "NaN and Infinity are not JSON numbers");
    expect_refused("{\"A\":[[5,012]]}", ERR_JSON, "byte 10: '012' is not a number as JSON writes them");
}

static void reader__refuses_numbers_beyond_float64(void **state)
{
    (void)state;
    expect_refused("{\"A\":[[1, 1e309]],\"B\":[[1]]}", ERR_JSON,
                   "byte 10: the number 1e309 lies beyond the range of float64");
    expect_refused("{\"A\":[[-1e999999999999]],\"B\":[[1]]}", ERR_JSON, "byte 7: the number -1e999999999999 lies");
}

static void reader__refuses_shapes_that_do_not_fit(void **state)
{
    (void)state;
    expect_refused("{\"A\":[[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4,5],[1,2,3,4]],\"B\":[[1]]}", ERR_SHAPE,
                   "row 3 of A has 4 numbers, row 0 has 5");
    expect_refused("{\"A\":[[1]],\"B\":[[1,2],[1]]}", ERR_SHAPE, "row 1 of B has 1 number, row 0 has 2");
    expect_refused("{\"A\":[[1],[1,2]],\"B\":[[1]]}", ERR_SHAPE, "row 1 of A has 2 numbers, row 0 has 1");
    expect_refused("{\"A\":[],\"B\":[[1]]}", ERR_SHAPE, "A is empty");
    expect_refused("{\"A\":[[1]],\"B\":[[ ]]}", ERR_SHAPE, "row 0 of B is empty");
    expect_refused("{\"A\":[[1],[]],\"B\":[[1]]}", ERR_SHAPE, "row 1 of A is empty");
    expect_refused("{\"A\":[[1,2]],\"B\":[[1,2],[3,4],[5,6]]}", ERR_SHAPE,
                   "A is 1 x 2 and B is 3 x 2: A must have as many columns as B rows");
}

static void reader__stops_at_the_limit_of_numbers(void **state)
{
    const char    *text = "{\"A\":[[1,2]],\"B\":[[3],[4]]}";
    struct reading got = read_bytes(text, strlen(text), 32);

    (void)state;
    assert_int_equal(got.err, ERR_OK);
    buf_free(&got.input);
    got = read_bytes(text, strlen(text), 31);
    assert_int_equal(got.err, ERR_TOO_LARGE);
    assert_string_equal(got.why.detail, "the operands take more than 31 bytes, which is the limit");
}

static void reader__stops_at_the_limit_of_text(void **state)
{
    enum { LIMIT_TEXT = 200 };
    const struct limits limits = {.inline_max = 16, .upload_max = LIMIT_TEXT};
    char                text[LIMIT_TEXT + 1];
    struct reading      got;

    (void)state;
    memset(text, ' ', sizeof(text));
    memcpy(text, "{\"A\":[[1]],\"B\":[[2]]}", 21);
    got = read_within(text, LIMIT_TEXT, 0, &limits);
    assert_int_equal(got.err, ERR_OK);
    buf_free(&got.input);
    for (size_t cut = 0; cut <= LIMIT_TEXT; cut++) {
        got = read_within(text, LIMIT_TEXT + 1, cut, &limits);
        assert_int_equal(got.err, ERR_TOO_LARGE);
        assert_string_equal(got.why.detail, "the document is longer than 200 bytes of text");
    }
}

static void reader__stops_at_the_limit_of_sides(void **state)
{
    static const struct {
        const char *text, *detail;
    } beyond[] = {
        {"{\"A\":[[1,2,3,4", "row 0 of A has more than 3 numbers, which is the limit"},
        {"{\"B\":[[1],[1,2,3,4", "row 1 of B has more than 3 numbers, which is the limit"},
        {"{\"A\":[[1],[2],[3],[", "A has more than 3 rows, which is the limit"},
    };
    const struct limits limits = {.inline_max = LIMIT, .side_max = 3};

    (void)state;
    for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
        void          *ctx = json->begin(&limits, NULL);
        struct reading got;

        feed(ctx, beyond[i].text, strlen(beyond[i].text));
        feed(ctx, " ", 1); /* ends the number */
        got = end(ctx);
        assert_int_equal(got.err, ERR_TOO_LARGE);
        assert_string_equal(got.why.detail, beyond[i].detail);
    }
}

enum { LITERAL_MAX = 4096 };

/* A document in which the number at byte 7 is start, filled up with fill to so many characters. */
static struct reading read_literal(const char *start, char fill, size_t chars, const char *rest)
{
    struct buf     text = {0};
    struct reading got;

    buf_text(&text, "{\"A\":[[");
    buf_text(&text, start);
    while (text.len < 7 + chars)
        buf_append(&text, &fill, 1);
    buf_text(&text, rest);
    buf_append(&text, "", 1);
    got = read_bytes(text.data, text.len - 1, LIMIT);
    buf_free(&text);
    return got;
}

static void reader__takes_literals_up_to_their_bound(void **state)
{
    struct reading got = read_literal("0.", '3', LITERAL_MAX, "]],\"B\":[[3]]}");

    (void)state;
    assert_int_equal(got.err, ERR_OK);
    assert_memory_equal(got.input.data, ((double[]){1.0 / 3, 3}), 16);
    buf_free(&got.input);
}

static void reader__refuses_literals_beyond_their_bound(void **state)
{
    /* also where they have another fault, or more: what is said must not depend on the cuts */
    static const struct {
        const char *start;
        char        fill;
        const char *rest;
    } beyond[] = {
        {"0.", '0', "]],\"B\":[[3]]}"}, {"0.", '0', ""}, {"1e", '9', ", 2]]"}, {"1", '-', "]]"}, {"01", '0', "N"}};

    (void)state;
    for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
        struct reading got = read_literal(beyond[i].start, beyond[i].fill, LITERAL_MAX + 1, beyond[i].rest);

        assert_int_equal(got.err, ERR_JSON);
        assert_string_equal(got.why.detail, "byte 7: a number of more than 4096 characters, which is the limit");
    }
}

static void reader__refuses_a_long_literal_before_its_end(void **state)
{
    void        *ctx = json->begin(&(struct limits){.inline_max = LIMIT}, NULL);
    struct fault why;

    (void)state;
    assert_int_equal(json->feed(ctx, NULL, false, "{\"A\":[[0.", 9, &why), ERR_OK);
    for (int i = 0; i < LITERAL_MAX - 2; i++)
        assert_int_equal(json->feed(ctx, NULL, false, "0", 1, &why), ERR_OK);
    assert_int_equal(json->feed(ctx, NULL, false, "0", 1, &why), ERR_JSON);
    json->abort(ctx);
}

static void intake__sets_the_sides_and_knows_contradictions(void **state)
{
    const char  *text = "{\"A\":[[1,2]],\"B\":[[3],[4]]}";
    struct taken input = {0};
    struct args  args;
    struct fault why;
    void        *ctx = json->begin(&(struct limits){.inline_max = LIMIT}, NULL);

    (void)state;
    assert_string_equal(json->content_type, "application/json");
    args_init(&args);
    assert_int_equal(json->feed(ctx, NULL, false, text, strlen(text), &why), ERR_OK);
    assert_int_equal(json->end(ctx, &args, &input, &why), ERR_OK);
    assert_int_equal(args_complete(&matrix_spec, &args, &why), ERR_OK);
    assert_int_equal(args.integer[MATRIX_K], 2);
    buf_free(&input.body);

    args_init(&args);
    assert_int_equal(args_set(&matrix_spec, &args, "k", "3", &why), ERR_OK);
    ctx = json->begin(&(struct limits){.inline_max = LIMIT}, NULL);
    assert_int_equal(json->feed(ctx, NULL, false, text, strlen(text), &why), ERR_OK);
    assert_int_equal(json->end(ctx, &args, &input, &why), ERR_PARAM);
    assert_string_equal(why.detail, "k is given as 3, but there are 2 columns of A and rows of B");
    buf_free(&input.body);
    ctx = json->begin(&(struct limits){.inline_max = LIMIT}, NULL);
    json->abort(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reader__takes_rectangles_in_either_order),
        cmocka_unit_test(reader__takes_white_space_everywhere),
        cmocka_unit_test(reader__takes_numbers_as_json_writes_them),
        cmocka_unit_test(reader__honours_escapes_in_keys),
        cmocka_unit_test(reader__refuses_unknown_repeated_and_missing_keys),
        cmocka_unit_test(reader__refuses_what_is_not_json),
        cmocka_unit_test(reader__refuses_what_is_not_two_matrices),
        cmocka_unit_test(reader__refuses_numbers_that_json_does_not_know),
        cmocka_unit_test(reader__refuses_numbers_beyond_float64),
        cmocka_unit_test(reader__refuses_shapes_that_do_not_fit),
        cmocka_unit_test(reader__stops_at_the_limit_of_numbers),
        cmocka_unit_test(reader__stops_at_the_limit_of_text),
        cmocka_unit_test(reader__stops_at_the_limit_of_sides),
        cmocka_unit_test(reader__takes_literals_up_to_their_bound),
        cmocka_unit_test(reader__refuses_literals_beyond_their_bound),
        cmocka_unit_test(reader__refuses_a_long_literal_before_its_end),
        cmocka_unit_test(intake__sets_the_sides_and_knows_contradictions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
