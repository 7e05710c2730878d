/* SPDX-License-Identifier: Apache-2.0 */
/* test_kind.c - the table of kinds; parameters from text and JSON. */
#include <math.h>
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
            assert_int_equal(kind_param_find(kind, kind_param(kind, count)->name), count);
            count++;
        }
        assert_in_range(count, 2, PARAMS_MAX);
        assert_non_null(kind->check);
        assert_non_null(kind->intakes);
        assert_non_null(kind->renderings[0].content_type);
        assert_non_null(task_runs[i]);
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
    uint64_t       bytes;

    (void)state;
    args_init(&args);
    assert_int_equal(spin_spec.check(&args, &(struct input){NULL, 1, ""}, &(struct limits){.inline_max = 1024}, &bytes, &why), ERR_BODY);
    assert_int_equal(spin_spec.check(&args, &(struct input){NULL, 0, ""}, &(struct limits){.inline_max = 1024}, &bytes, &why), ERR_OK);
    assert_false(spin->takes_body);
}

/* Checks m, k, n against a body and a limit. */
static enum err check_sizes(int64_t m, int64_t k, int64_t n, size_t body, size_t limit, struct fault *why)
{
    struct args args = {.integer = {m, k, n}};
    uint64_t      bytes = 0;
    enum err    e = matrix->check(&args, &(struct input){NULL, body, ""}, &(struct limits){.inline_max = limit}, &bytes, why);

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
    assert_string_equal(why.detail, "the product takes 80000 bytes as float64; the limit is 79999 bytes");
    assert_int_equal(check_sizes(big, big, big, 0, 262144, &why), ERR_TOO_LARGE);
    assert_int_equal(check_sizes(big, 1, big, 0, 16 * (size_t)big, &why), ERR_RESULT_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kind__every_row_of_the_table_is_whole),
        cmocka_unit_test(args__integers_are_plain_decimals_within_their_bounds),
        cmocka_unit_test(args__reals_are_plain_decimals_within_their_bounds),
        cmocka_unit_test(args__unknown_repeated_and_missing_names_are_refused),
        cmocka_unit_test(args__the_common_ones_may_be_absent),
        cmocka_unit_test(args__json_is_canonical_and_reads_back),
        cmocka_unit_test(args__bad_json_is_refused_with_its_reason),
        cmocka_unit_test(spin__takes_no_body),
        cmocka_unit_test(matrix__sizes_must_agree_and_stay_within_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
