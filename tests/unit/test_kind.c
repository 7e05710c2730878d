/* SPDX-License-Identifier: Apache-2.0 */
/* test_kind.c - the table of kinds; parameters from text and JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/kind.h"
#include "kinds/task.h"
#include "tests/unit/check.h"

static const struct kind_spec *const hash = &hash_spec, *const spin = &spin_spec, *const matrix = &matrix_spec;

static enum err set(const struct kind_spec *kind, const char *name, const char *text, struct args *args,
                    struct fault *why)
{
    args_init(args);
    memset(why, 0, sizeof(*why));
    return args_set(kind, args, name, text, why);
}

static void kind__every_row_of_the_table_is_whole(void **state)
{
    (void)state;
    for (int i = 0; i < KIND_COUNT; i++) {
        const struct kind_spec *kind = kinds[i];
        int                     count = 0;

        assert_int_equal(kind_find(kind->name), i);
        while (kind_param(kind, count)) {
            const struct param *p = kind_param(kind, count);

            assert_int_equal(kind_param_find(kind, p->name), p->type == PARAM_REST ? -1 : count);
            count++;
        }
        assert_in_range(count, 2, PARAMS_MAX);
        assert_non_null(kind->check);
        assert_non_null(kind->intakes);
        assert_non_null(kind->renderings[0].content_type);
        assert_int_equal(task_runs[i] != NULL, kind_programs[i] == PROGRAM_exec);
    }
    assert_int_equal(kind_find("nonsense"), -1);
    assert_int_equal(kind_find(""), -1);
    assert_int_equal(kind_param_find(hash, "m"), -1);
}

static void args__integers_are_plain_decimals_within_their_bounds(void **state)
{
    static const char *const refused[] = {"",
                                          "0",
                                          "-1",
                                          "+1",
                                          " 1",
                                          "1 ",
                                          "1.0",
                                          "1e3",
                                          "0x10",
                                          "abc",
                                          "1,000",
                                          "\xd9\xa1",
                                          "1000000000001",
                                          "99999999999999999999999999"};
    struct args              args;
    struct fault             why;

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_equal(set(hash, "iterations", refused[i], &args, &why), ERR_PARAM);
        assert_non_null(strstr(why.detail, "iterations must be a whole number from 1 to 1000000000000"));
        assert_non_null(strstr(why.detail, refused[i]));
        assert_true(isnan(args.real[0]));
    }
    assert_int_equal(set(hash, "iterations", "1000000000000", &args, &why), ERR_OK);
    assert_int_equal(args.integer[0], 1000000000000);
    assert_int_equal(set(hash, "iterations", "00000000000000000000007", &args, &why), ERR_OK);
    assert_int_equal(args.integer[0], 7);
}

static void args__reals_are_plain_decimals_within_their_bounds(void **state)
{
    static const char *const refused[] = {"", ".5", "5.", "-1", "86400.1", "nan", "inf", "1e2", "0x1p3", "1.5s"};
    struct args              args;
    struct fault             why;

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_equal(set(spin, "seconds", refused[i], &args, &why), ERR_PARAM);
        assert_non_null(strstr(why.detail, "seconds must be a number from 0 to 86400 seconds, not '"));
    }
    assert_int_equal(set(spin, "seconds", "0.25", &args, &why), ERR_OK);
    assert_true(args.real[0] == 0.25);
    assert_int_equal(set(spin, "seconds", "86400", &args, &why), ERR_OK);
}

static void args__unknown_repeated_and_missing_names_are_refused(void **state)
{
    struct args  args;
    struct fault why;

    (void)state;
    assert_int_equal(set(hash, "rounds", "1", &args, &why), ERR_PARAM);
    assert_string_equal(why.detail, "hash has no parameter 'rounds'");
    assert_int_equal(set(hash, "timeout", "60", &args, &why), ERR_OK);
    assert_int_equal(args_set(hash, &args, "timeout", "60", &why), ERR_PARAM);
    assert_string_equal(why.detail, "timeout is given more than once");
    assert_int_equal(args_complete(hash, &args, &why), ERR_PARAM);
    assert_non_null(strstr(why.detail, "iterations is missing"));
}

static void args__the_common_ones_may_be_absent(void **state)
{
    struct args  args;
    struct fault why;

    (void)state;
    assert_int_equal(set(hash, "iterations", "5", &args, &why), ERR_OK);
    assert_int_equal(args_complete(hash, &args, &why), ERR_OK);
    assert_int_equal(args_common(hash, &args, "timeout"), -1);
    assert_int_equal(args_common(hash, &args, "deadline"), -1);
    assert_int_equal(args_set(hash, &args, "deadline", "31536000", &why), ERR_OK);
    assert_int_equal(args_common(hash, &args, "deadline"), 31536000);
    assert_int_equal(args_set(hash, &args, "timeout", "518401", &why), ERR_PARAM);
}

static void args__json_is_canonical_and_reads_back(void **state)
{
    struct args  args, back;
    struct fault why;
    struct buf   out = {0};
    char        *text;

    (void)state;
    args_init(&args);
    assert_int_equal(args_set(spin, &args, "timeout", "9", &why), ERR_OK);
    assert_int_equal(args_set(spin, &args, "seconds", "0.10", &why), ERR_OK);
    args_to_json(spin, &args, &out);
    text = buf_detach(&out);
    assert_string_equal(text, "{\"seconds\":0.1,\"timeout\":9}");
    assert_int_equal(args_from_json(spin, text, &back, &why), ERR_OK);
    assert_true(back.real[0] == 0.1);
    assert_int_equal(args_common(spin, &back, "timeout"), 9);
    free(text);
    args_init(&args);
    args_to_json(hash, &args, &out);
    text = buf_detach(&out);
    assert_string_equal(text, "{}");
    free(text);
}

static void args__bad_json_is_refused_with_its_reason(void **state)
{
    static const struct {
        const char *json, *detail;
    } cases[] = {
        {"", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{\"iterations\":5", "not a JSON object"},
        {"{\"iterations\":\"5\"}", "not '\"5\"'"},
        {"{\"iterations\":0}", "not '0'"},
        {"{\"iterations\":1.5}", "not '1.5'"},
        {"{\"iterations\":9223372036854775807}", "not '9223372036854775807'"},
        {"{\"iterations\":null}", "not 'null'"},
        {"{}", "iterations is missing"},
        {"{\"iterations\":5,\"x\":1}", "no parameter 'x'"},
        {"{\"iterations\":5,\"iterations\":5}", "duplicate"},
    };
    struct args  args;
    struct fault why;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(args_from_json(hash, cases[i].json, &args, &why), ERR_PARAM);
        if (!strstr(why.detail, cases[i].detail))
            fail_msg("%s: %s", cases[i].json, why.detail);
    }
}

static void spin__takes_no_body(void **state)
{
    struct args  args;
    struct fault why;
    uint64_t     bytes;

    (void)state;
    args_init(&args);
    assert_int_equal(
        spin_spec.check(&args, &(struct input){NULL, 1, ""}, &(struct limits){.inline_max = 1024}, &bytes, &why),
        ERR_BODY);
    assert_int_equal(
        spin_spec.check(&args, &(struct input){NULL, 0, ""}, &(struct limits){.inline_max = 1024}, &bytes, &why),
        ERR_OK);
    assert_false(spin->takes_body);
}

static struct args make_args(int64_t m, int64_t k, int64_t n)
{
    struct args args;

    args_init(&args);
    for (int i = 0; i < 3; i++) {
        args.integer[i] = (int64_t[]){m, k, n}[i];
        args.real[i] = (double)args.integer[i];
    }
    return args;
}

static void set_int(struct args *args, int i, int64_t value)
{
    args->integer[i] = value;
    args->real[i] = (double)value;
}

/* Checks m, k, n against a body and a limit. */
static enum err check_sizes(int64_t m, int64_t k, int64_t n, size_t body, size_t limit, struct fault *why)
{
    struct args args = make_args(m, k, n);
    uint64_t    bytes = 0;
    enum err    e =
        matrix->check(&args, &(struct input){NULL, body, ""}, &(struct limits){.inline_max = limit}, &bytes, why);

    if (!e)
        assert_int_equal(bytes, 128 + 8 * m * n);
    return e;
}

static void matrix__sizes_must_agree_and_stay_within_the_limit(void **state)
{
    const int64_t big = 2147483648;
    struct fault  why;

    (void)state;
    assert_int_equal(check_sizes(2, 3, 4, 8 * 18, 8 * 18, &why), ERR_OK);
    assert_int_equal(check_sizes(2, 3, 4, 8 * 18, 8 * 18 - 1, &why), ERR_TOO_LARGE);
    assert_string_equal(why.detail, "the operands take 144 bytes as float64; the limit is 143 bytes");
    assert_int_equal(check_sizes(2, 3, 4, 8 * 18 - 1, 1024, &why), ERR_BODY);
    assert_int_equal(check_sizes(2, 3, 4, 0, 1024, &why), ERR_BODY);
    assert_int_equal(check_sizes(100, 1, 100, 1600, 80000, &why), ERR_OK);
    assert_int_equal(check_sizes(100, 1, 100, 1600, 79999, &why), ERR_RESULT_LARGE);
    assert_string_equal(why.detail, "the product takes 80000 bytes; the limit is 79999 bytes");
    assert_int_equal(check_sizes(big, big, big, 0, 262144, &why), ERR_TOO_LARGE);
    assert_int_equal(check_sizes(big, 1, big, 0, 16 * (size_t)big, &why), ERR_BODY);
    assert_int_equal(check_sizes(100000, 1, 100000, 1600000, 1600000, &why), ERR_RESULT_LARGE);
}

static void matrix__run_checks_without_limits(void **state)
{
    const char *refs =
        "{\"blobs\":[\"x\"],\"A\":{\"at\":\"blob\",\"blob\":0,\"offset\":80,\"dtype\":\"f4\",\"order\":\"F\"},"
        "\"B\":{\"at\":\"random\",\"seed\":3}}";
    struct args  args = make_args(100000, 200000, 300000);
    uint64_t     bytes = 0;
    struct fault why;

    (void)state;
    assert_int_equal(
        matrix->check(&args, &(struct input){NULL, 0, refs}, &(struct limits){.inline_max = SIZE_MAX}, &bytes, &why),
        ERR_OK);
    assert_int_equal(bytes, 128 + 8 * 100000ull * 300000);
}

static enum err check_refs(struct args *args, const char *refs, size_t body, uint64_t *bytes, struct fault *why)
{
    const struct limits limits = {.inline_max = 1024, .side_max = 200000, .result_max = 1 << 30, .has_blobs = true};

    memset(why, 0, sizeof(*why));
    return matrix->check(args, &(struct input){NULL, body, refs}, &limits, bytes, why);
}

#define RANDOM_REFS "{\"blobs\":[],\"A\":{\"at\":\"random\",\"seed\":1},\"B\":{\"at\":\"random\",\"seed\":2}}"

static void matrix__referenced_operands_have_limits_of_their_own(void **state)
{
    const char *ints =
        "{\"blobs\":[\"x\"],\"A\":{\"at\":\"blob\",\"blob\":0,\"offset\":80,\"dtype\":\"i4\",\"order\":\"C\"},"
        "\"B\":{\"at\":\"body\",\"offset\":8,\"dtype\":\"i4\",\"order\":\"C\"}}";
    struct args  args = make_args(10, 20, 30);
    uint64_t     bytes = 0;
    struct fault why;

    (void)state;
    assert_int_equal(check_refs(&args, ints, 2408, &bytes, &why), ERR_TOO_LARGE);
    assert_string_equal(why.detail, "the operands take 2408 bytes; the limit is 1024 bytes");
    assert_int_equal(check_refs(&args, ints, 1000, &bytes, &why), ERR_BODY);
    args = make_args(10, 20, 3);
    assert_int_equal(check_refs(&args, ints, 248, &bytes, &why), ERR_OK);
    assert_int_equal(bytes, 128 + 4 * 30);
    assert_int_equal(check_refs(&args, "{\"blobs\":[]}", 0, &bytes, &why), ERR_BODY);
    assert_int_equal(
        check_refs(&args, "{\"A\":{\"at\":\"random\",\"dtype\":\"f4\"},\"B\":{\"at\":\"random\"}}", 0, &bytes, &why),
        ERR_BODY); /* anybody may have written them; random numbers are float64 */
    assert_int_equal(
        check_refs(&args, "{\"A\":{\"at\":\"random\"},\"B\":{\"at\":\"random\",\"order\":\"F\"}}", 0, &bytes, &why),
        ERR_BODY);
    args = make_args(200001, 20, 3);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_TOO_LARGE);
    assert_string_equal(why.detail, "m is 200001; at most 200000 rows of A are taken");
    args = make_args(16384, 1, 8192);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_RESULT_LARGE);
    assert_string_equal(why.detail, "the product takes 1073741824 bytes; the limit is 1073741824 bytes");
    args = make_args(16384, 1, 8191);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_OK);
}

static void matrix__a_tile_is_one_of_those_there_are(void **state)
{
    enum { TILE_M = 3, TILE_N, TILE };
    struct args  args = make_args(100, 7, 90);
    uint64_t     bytes = 0;
    struct fault why;

    (void)state;
    set_int(&args, TILE_M, 30);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_PARAM);
    assert_string_equal(why.detail, "tile_m and tile_n belong together");
    set_int(&args, TILE_N, 40);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_OK);
    assert_int_equal(bytes, 128 + 8 * 9000);
    set_int(&args, TILE, 11); /* of 4 x 3: what is left, 10 x 10 */
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_OK);
    assert_int_equal(bytes, 128 + 8 * 100);
    set_int(&args, TILE, 12);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_PARAM);
    assert_string_equal(why.detail, "tile is 12; the product has 12, counted from 0");
    set_int(&args, TILE_M, 1);
    set_int(&args, TILE_N, 2);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_PARAM);
    assert_string_equal(why.detail, "tiles of 1 x 2 are 4500; at most 4096 are taken");
    args = make_args(100, 7, 90);
    set_int(&args, TILE, 0);
    assert_int_equal(check_refs(&args, RANDOM_REFS, 0, &bytes, &why), ERR_PARAM);
}

static int64_t split(struct args *args, const char *refs, struct buf *layout)
{
    layout->len = 0;
    return matrix->split(args, &(struct input){NULL, 0, refs}, &(struct share){512u << 20, 2}, layout);
}

static void matrix__a_large_product_is_cut_once_and_for_all(void **state)
{
    enum { TILE_M = 3, TILE_N, TILE };
    struct args args = make_args(20000, 20000, 20000);
    struct buf  layout = {0};
    int64_t     count = split(&args, RANDOM_REFS, &layout);
    struct args later = args;
    char        wanted[160];

    (void)state;
    assert_in_range(count, 60, 100);
    snprintf(wanted, sizeof(wanted),
             "{\"rows\":20000,\"cols\":20000,\"tile_rows\":%d,\"tile_cols\":%d,\"dtype\":\"f8\"}",
             (int)args.integer[TILE_M], (int)args.integer[TILE_N]);
    assert_int_equal(layout.len, strlen(wanted));
    assert_memory_equal(layout.data, wanted, layout.len);
    assert_true(args.real[TILE_M] == (double)args.integer[TILE_M]);
    assert_int_equal(
        matrix->split(&later, &(struct input){NULL, 0, RANDOM_REFS}, &(struct share){64u << 20, 50}, &layout),
        count); /* whatever the fleet has become */
    assert_memory_equal(&later, &args, sizeof(args));
    set_int(&args, TILE, 5);
    assert_int_equal(split(&args, RANDOM_REFS, &layout), 1);
    assert_int_equal(layout.len, 0);
    assert_int_equal(matrix->member_param, TILE);

    args = make_args(100, 100, 100);
    assert_int_equal(split(&args, RANDOM_REFS, &layout), 1);
    assert_true(isnan(args.real[TILE_M]));
    set_int(&args, TILE_M, 30); /* as the user wants it */
    set_int(&args, TILE_N, 50);
    assert_int_equal(split(&args, RANDOM_REFS, &layout), 8);
    args = make_args(20000, 20000, 20000);
    assert_int_equal(split(&args, "{\"blobs\":[]}", &layout), 1); /* its run says what is wrong */
    buf_free(&layout);
}

/* A kind of the test's own: a text, and a row for all names that no row has. */
static const struct param texts_params[] = {
    {"name", PARAM_TEXT, 1, 8, true, NAN, "", "what it is called"},
    {"note", PARAM_TEXT, 0, 1000, false, NAN, "", "what else there is to say"},
    {"values", PARAM_REST, 0, 600, false, NAN, "", "whatever it takes"},
    {.type = PARAM_END},
};
static const struct kind_spec texts = {.name = "texts", .params = texts_params};

static void args__texts_and_other_names_come_back_from_their_json(void **state)
{
    struct args  args, again;
    struct fault why;
    struct buf   json = {0};

    (void)state;
    args_init(&args);
    assert_int_equal(args_set(&texts, &args, "size", "10 x 20", &why), ERR_OK);
    assert_int_equal(args_set(&texts, &args, "name", "a\"\\b", &why), ERR_OK);
    assert_int_equal(args_set(&texts, &args, "angle", "", &why), ERR_OK);
    assert_int_equal(args_complete(&texts, &args, &why), ERR_OK);
    args_to_json(&texts, &args, &json);
    buf_append(&json, "", 1);
    assert_string_equal(json.data, "{\"name\":\"a\\\"\\\\b\",\"angle\":\"\",\"size\":\"10 x 20\"}");
    assert_int_equal(args_from_json(&texts, json.data, &again, &why), ERR_OK);
    assert_memory_equal(args.rest, again.rest, sizeof(args.rest));
    assert_string_equal(args_text(&again, 0), "a\"\\b");
    assert_null(args_text(&again, 1));
    assert_string_equal(args_rest(&again, "size"), "10 x 20");
    assert_string_equal(args_rest(&again, "angle"), "");
    assert_null(args_rest(&again, "name"));
    buf_free(&json);
}

static void args__texts_are_refused_beyond_their_bounds(void **state)
{
    static const struct {
        const char *name, *text, *says;
    } refused[] = {
        {"name", "", "name must be text of 1 to 8 bytes"},
        {"name", "123456789", "name must be text of 1 to 8 bytes"},
        {"name", "a\nb", "without control characters"},
        {"name", "\xff", "name must be text"},
        {"angle", "\x7f", "angle must be text of 0 to 600 bytes"},
        {"Angle", "1", "texts has no parameter 'Angle'"},
        {"", "1", "has no parameter ''"},
    };
    char         most[600];
    struct args  args;
    struct fault why;

    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        assert_int_equal(set(&texts, refused[i].name, refused[i].text, &args, &why), ERR_PARAM);
        assert_non_null(strstr(why.detail, refused[i].says));
    }
    memset(most, 'x', sizeof(most) - 1);
    most[sizeof(most) - 1] = '\0';
    args_init(&args);
    assert_int_equal(args_set(&texts, &args, "a", most, &why), ERR_OK);
    assert_int_equal(args_set(&texts, &args, "b", most, &why), ERR_PARAM);
    assert_non_null(strstr(why.detail, "at most 1024 bytes in all"));
    assert_int_equal(args_set(&texts, &args, "a", "again", &why), ERR_PARAM);
    assert_non_null(strstr(why.detail, "more than once"));
    assert_int_equal(args_set(&texts, &args, "note", most, &why), ERR_OK);
    assert_int_equal(args_complete(&texts, &args, &why), ERR_PARAM);
    assert_string_equal(why.detail, "name is missing: what it is called");
    assert_int_equal(args_from_json(&texts, "{\"name\":\"x\\u0000y\"}", &args, &why), ERR_PARAM);
    assert_int_equal(args_from_json(&texts, "{\"name\":\"x\",\"a\":1}", &args, &why), ERR_PARAM);
    assert_non_null(strstr(why.detail, "a must be a string"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kind__every_row_of_the_table_is_whole),
        cmocka_unit_test(args__integers_are_plain_decimals_within_their_bounds),
        cmocka_unit_test(args__reals_are_plain_decimals_within_their_bounds),
        cmocka_unit_test(args__texts_and_other_names_come_back_from_their_json),
        cmocka_unit_test(args__texts_are_refused_beyond_their_bounds),
        cmocka_unit_test(args__unknown_repeated_and_missing_names_are_refused),
        cmocka_unit_test(args__the_common_ones_may_be_absent),
        cmocka_unit_test(args__json_is_canonical_and_reads_back),
        cmocka_unit_test(args__bad_json_is_refused_with_its_reason),
        cmocka_unit_test(spin__takes_no_body),
        cmocka_unit_test(matrix__sizes_must_agree_and_stay_within_the_limit),
        cmocka_unit_test(matrix__run_checks_without_limits),
        cmocka_unit_test(matrix__referenced_operands_have_limits_of_their_own),
        cmocka_unit_test(matrix__a_tile_is_one_of_those_there_are),
        cmocka_unit_test(matrix__a_large_product_is_cut_once_and_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
