/* SPDX-License-Identifier: Apache-2.0 */
/* test_numtext.c - numbers to text and back, at the ends of the range. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/numtext.h"
#include "tests/unit/check.h"

static bool read_text(const char *text, double *out) { return numtext_read(text, text + strlen(text), out); }

static void expect_bits(const char *text, double wanted)
{
    double got = 42;

    assert_true(read_text(text, &got));
    assert_memory_equal(&got, &wanted, sizeof(got));
}

static void numtext__reads_what_strtod_reads(void **state)
{
    static const char *const texts[] = {
        "0",
        "1",
        "-1",
        "0.1",
        "1e23",
        "-2.5E-3",
        "123456789012345678901234567890",
        "4.9e-324",
        "2.4703282292062328e-324",
        "2.2250738585072011e-308",
        "1.7976931348623157e308",
        "9007199254740993",
        "1E+2",
        "0.000001",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        expect_bits(texts[i], strtod(texts[i], NULL));
}

static void numtext__an_underflow_is_a_zero_with_its_sign(void **state)
{
    (void)state;
    expect_bits("1e-400", 0.0);
    expect_bits("-1e-400", -0.0);
    expect_bits("-0", -0.0);
    expect_bits("0e999999999999", 0.0);
    expect_bits("1e-99999999999999999999", 0.0);
}

static void numtext__an_overflow_is_refused(void **state)
{
    double value;

    (void)state;
    assert_false(read_text("1e309", &value));
    assert_false(read_text("-1.8e308", &value));
    assert_false(read_text("1e99999999999999999999", &value));
}

static void numtext__a_very_long_literal_is_exact(void **state)
{
    enum { ZEROS = 5000 };
    char text[ZEROS + 16] = "0.";

    (void)state;
    memset(text + 2, '0', ZEROS);
    strcpy(text + 2 + ZEROS, "15e5001");
    expect_bits(text, 1.5);
    memset(text, '9', ZEROS);
    strcpy(text + ZEROS, "e-5000");
    expect_bits(text, 1.0);
}

static void numtext__all_of_the_text_must_be_a_number(void **state)
{
    double value;

    (void)state;
    assert_false(read_text("", &value));
    assert_false(read_text("1x", &value));
    assert_false(read_text("-", &value));
}

static void numtext__scan_stops_where_the_number_does(void **state)
{
    const char text[] = "12.5e1,7";
    double     value;

    (void)state;
    assert_ptr_equal(numtext_scan(text, text + strlen(text), &value), text + 6);
    assert_true(value == 125);
    assert_null(numtext_scan("x", "x" + 1, &value));
    assert_null(numtext_scan("1e999", "1e999" + 5, &value));
}

static void numtext__prints_the_shortest_text_that_reads_back(void **state)
{
    static const double values[] = {0.1, 1.0, -2.5, 1e22, 1e23, 5e-324, DBL_MAX, DBL_MIN, 1.0 / 3, 123456789};
    char                text[NUMTEXT_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        size_t len = numtext_print(values[i], text);
        double back;

        assert_in_range(len, 1, 24);
        assert_true(numtext_read(text, text + len, &back));
        assert_true(back == values[i]);
    }
    assert_int_equal(numtext_print(0.1, text), 3);
    assert_memory_equal(text, "0.1", 3);
}

static void numtext__random_bits_survive_the_round_trip(void **state)
{
    uint64_t bits = 88172645463325252u;
    char     text[NUMTEXT_BYTES];

    (void)state;
    for (int i = 0; i < 100000; i++) {
        double value, back;

        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&value, &bits, sizeof(value));
        if (!isfinite(value))
            continue;
        assert_true(numtext_read(text, text + numtext_print(value, text), &back));
        assert_memory_equal(&back, &value, sizeof(back));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numtext__reads_what_strtod_reads),
        cmocka_unit_test(numtext__an_underflow_is_a_zero_with_its_sign),
        cmocka_unit_test(numtext__an_overflow_is_refused),
        cmocka_unit_test(numtext__a_very_long_literal_is_exact),
        cmocka_unit_test(numtext__all_of_the_text_must_be_a_number),
        cmocka_unit_test(numtext__scan_stops_where_the_number_does),
        cmocka_unit_test(numtext__prints_the_shortest_text_that_reads_back),
        cmocka_unit_test(numtext__random_bits_survive_the_round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
