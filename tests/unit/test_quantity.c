/* SPDX-License-Identifier: Apache-2.0 */
/* test_quantity.c - amounts as Kubernetes reads them: what is taken, what it comes to, and how it is rounded. */
#include <stdio.h>
#include <string.h>

#include "cli/place/quantity.h"
#include "tests/unit/check.h"

#define KIBI ((wide)1024)
#define ONE QUANTITY_ONE
#define WHOLE_MAX ((wide)INT64_MAX)

static wide nano_of(const char *text)
{
    struct fault why;
    wide         nano = -1;

    if (quantity_read(text, &nano, &why))
        fail_msg("'%s': %s", text, why.detail);
    return nano;
}

static void check(const char *text, wide nano)
{
    if (nano_of(text) != nano)
        fail_msg("'%s' is read as %lld e-9, not %lld e-9", text, (long long)nano_of(text), (long long)nano);
}

static void quantity__is_a_number_with_a_suffix(void **state)
{
    (void)state;
    check("0", 0);
    check("00", 0);
    check("1", ONE);
    check("+1", ONE);
    check("-1", -ONE);
    check("007", 7 * ONE);
    check("0.1", ONE / 10);
    check(".5", ONE / 2);
    check("5.", 5 * ONE);
    check("500m", ONE / 2);
    check("250u", 250000);
    check("3n", 3);
    check("1k", 1000 * ONE);
    check("2M", 2000000 * ONE);
    check("1.5G", 1500000000 * ONE);
    check("1T", 1000000000000 * ONE);
    check("1P", 1000000000000000 * ONE);
    check("2E", 2000000000000000000 * ONE);
    check("1.5Ki", 1536 * ONE);
    check("64Mi", 64 * KIBI * KIBI * ONE);
    check("3.5Gi", 7 * KIBI * KIBI * KIBI / 2 * ONE);
    check("2Ti", 2 * KIBI * KIBI * KIBI * KIBI * ONE);
    check("1Pi", KIBI * KIBI * KIBI * KIBI * KIBI * ONE);
    check("1Ei", KIBI * KIBI * KIBI * KIBI * KIBI * KIBI * ONE);
}

static void quantity__with_an_exponent(void **state)
{
    (void)state;
    check("1e3", 1000 * ONE);
    check("2e3", 2000 * ONE); /* and 2E is 2 exa */
    check("2E3", 2000 * ONE);
    check("12e6", 12000000 * ONE);
    check("1e+2", 100 * ONE);
    check("1.25e2", 125 * ONE);
    check("15e-1", 3 * ONE / 2);
    check("1E-9", 1);
    check("0e99999999999999999999", 0);
    check("1000000000000e-12", ONE);
}

static void quantity__takes_what_kubernetes_takes_for_nothing(void **state)
{
    (void)state;
    check("-", 0);
    check("+", 0);
    check(".", 0);
    check("-0", 0);
    check("Ki", 0);
    check("m", 0);
    check("0.000Gi", 0);
}

static void quantity__is_rounded_away_from_zero_once(void **state)
{
    (void)state;
    check("0.1n", 1);
    check("-0.1n", -1);
    check("1.0000000001", ONE + 1);
    check("0.0000000010000000000000000000000000001", 2);
    check("1e-99999", 1);
    check("0.0000000001Gi", 107374183); /* 0.1073741824, which ends beyond nano */
    check("1.00000000000000000000000000000000000000000000000000", ONE);
    assert_true(quantity_in(nano_of("0.1m"), QUANTITY_MILLI) == 1);
    assert_true(quantity_in(nano_of("1.0005"), QUANTITY_MILLI) == 1001);
    assert_true(quantity_in(nano_of("1.5"), QUANTITY_ONE) == 2);
    assert_true(quantity_in(nano_of("-1.5"), QUANTITY_ONE) == -2);
    assert_true(quantity_in(nano_of("2"), QUANTITY_ONE) == 2);
}

static void quantity__beyond_its_bound_is_refused_with_a_sentence(void **state)
{
    static const char *const texts[] = {"9223372036854775808",
                                        "-9223372036854775808",
                                        "10E",
                                        "8Ei",
                                        "1e19",
                                        "1e99999999999",
                                        "99999999999999999999999999999999999999999999",
                                        "9223372036854775807.1"};

    (void)state;
    check("9223372036854775807", WHOLE_MAX * ONE);
    check("-9223372036854775807", -WHOLE_MAX * ONE);
    check("9223372036854775806.999999999", WHOLE_MAX * ONE - 1);
    check("7.9Ei", (wide)79 * ((wide)1 << 60) / 10 * ONE + ONE * 2 / 5); /* 2^60 * 7.9 ends in .4 */
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct fault why;
        wide         nano = 7;

        if (quantity_read(texts[i], &nano, &why) != ERR_PARAM || !strstr(why.detail, "9223372036854775807"))
            fail_msg("'%s' is taken", texts[i]);
        assert_true(nano == 7); /* untouched */
    }
}

static void quantity__that_is_none_is_refused(void **state)
{
    static const char *const texts[] = {
        "",    " ",   "1 ",  " 1",  "one",  "1.2.3", "1K",    "1ki",  "1kI", "1KiB", "1MB",      "1g",  "1mm",
        "1nm", "1e",  "1e+", "1e-", "1e3k", "1e1.5", "1e3e3", "--1",  "1-",  "+-1",  "1,5",      "0x1", "1_0",
        "Inf", "NaN", "1i",  "1Zi", "1\n",  "\xff",  "1e 3",  "1Ki3", "1E+", "e",    "1\xc2\xb5"};
    char         endless[1000];
    struct fault why;
    wide         nano;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (quantity_read(texts[i], &nano, &why) != ERR_PARAM || !strstr(why.detail, "is no quantity"))
            fail_msg("'%s' is taken", texts[i]);
    memset(endless, '1', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    assert_int_equal(quantity_read(endless, &nano, &why), ERR_PARAM);
    assert_int_equal(quantity_read("x", &nano, NULL), ERR_PARAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantity__is_a_number_with_a_suffix),
        cmocka_unit_test(quantity__with_an_exponent),
        cmocka_unit_test(quantity__takes_what_kubernetes_takes_for_nothing),
        cmocka_unit_test(quantity__is_rounded_away_from_zero_once),
        cmocka_unit_test(quantity__beyond_its_bound_is_refused_with_a_sentence),
        cmocka_unit_test(quantity__that_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
