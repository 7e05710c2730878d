/* SPDX-License-Identifier: Apache-2.0 */
/* test_ground.c - buffers, errors, times, metrics. */
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/metrics.h"
#include "common/text.h"
#include "tests/unit/check.h"

static void expect_json(const char *text, const char *json)
{
    struct buf b = {0};
    char      *got;

    buf_json(&b, text);
    got = buf_detach(&b);
    assert_string_equal(got, json);
    free(got);
}

static void buf__json_strings_are_escaped_and_always_utf8(void **state)
{
    (void)state;
    expect_json("plain", "\"plain\"");
    expect_json("a\"b\\c\n\x01", "\"a\\\"b\\\\c\\u000a\\u0001\"");
    expect_json("\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    expect_json("\xff", "\"\\ufffd\"");
    expect_json("\xc3", "\"\\ufffd\"");                       /* cut short */
    expect_json("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
    expect_json("\xc0\xaf", "\"\\ufffd\\ufffd\"");            /* overlong */
}

static void text__is_tamed_for_a_terminal(void **state)
{
    char text[] =
        "a\n\t\x1b[31m\x7f\xc3\xa4\xc2\x9b\xc2\xa0\xc2\x80\xc2"; /* CSI and PAD beyond ASCII; a blank that is none */

    (void)state;
    text_tame(text, strlen(text));
    assert_string_equal(text, "a???[31m?\xc3\xa4??\xc2\xa0??\xc2");
    text_tame(text, 0);
}

static void buf__grows_and_detaches(void **state)
{
    struct buf b = {0};
    char      *text;

    (void)state;
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    assert_int_equal(b.len, 3890);
    text = buf_detach(&b);
    assert_int_equal(strlen(text), 3890);
    assert_null(b.data);
    free(text);
    text = buf_detach(&b);
    assert_string_equal(text, "");
    free(text);
    buf_free(&b);
}

static void err__codes_go_both_ways(void **state)
{
    (void)state;
    for (int e = 0; e < ERR_COUNT; e++)
        assert_int_equal(err_from_code(err_code(e)), e);
    assert_int_equal(err_from_code("nonsense"), ERR_INTERNAL);
    assert_int_equal(err_http(ERR_METHOD), 405);
    assert_int_equal(err_class(ERR_EXECUTOR), ERR_CLASS_LOSS);
}

static void err__a_long_reason_is_cut_not_spilled(void **state)
{
    struct fault why;
    char         big[2000];

    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_int_equal(fault_set(&why, ERR_PARAM, "%s", big), ERR_PARAM);
    assert_int_equal(strlen(why.detail), sizeof why.detail - 1);
    assert_int_equal(fault_set(NULL, ERR_PARAM, "nobody listens"), ERR_PARAM);
}

static void clock__formats_rfc3339_with_milliseconds(void **state)
{
    char text[WALL_TEXT_BYTES];

    (void)state;
    wall_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    wall_format(1763679000123, text);
    assert_string_equal(text, "2025-11-20T22:50:00.123Z");
    wall_format(WALL_MAX_MS, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    wall_format(WALL_MAX_MS + 1, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    wall_format(INT64_MAX, text); /* no year that gmtime_r knows */
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    wall_format(-1, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}

static void metrics__renders_counters_and_cumulated_buckets(void **state)
{
    struct metrics *m = metrics_new();
    struct buf      out = {0};
    char           *text;

    (void)state;
    series_add(metrics_series(m, METRIC_HTTP_REQUESTS, "route=\"/x\",code=\"202\""), 2);
    series_add(metrics_series(m, METRIC_HTTP_REQUESTS, "route=\"/x\",code=\"202\""), 1);
    series_observe(metrics_series(m, METRIC_HTTP_SECONDS, ""), 0.0007);
    series_observe(metrics_series(m, METRIC_HTTP_SECONDS, ""), 1e9);
    metrics_render(m, &out);
    text = buf_detach(&out);
    assert_non_null(strstr(text, "# TYPE millrace_http_requests_total counter\n"));
    assert_non_null(strstr(text, "millrace_http_requests_total{route=\"/x\",code=\"202\"} 3\n"));
    assert_non_null(strstr(text, "millrace_http_request_seconds_bucket{le=\"0.0005\"} 0\n"));
    assert_non_null(strstr(text, "millrace_http_request_seconds_bucket{le=\"0.001\"} 1\n"));
    assert_non_null(strstr(text, "millrace_http_request_seconds_bucket{le=\"3600\"} 1\n"));
    assert_non_null(strstr(text, "millrace_http_request_seconds_bucket{le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(text, "millrace_http_request_seconds_count 2\n"));
    free(text);
    metrics_free(m);
    metrics_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf__json_strings_are_escaped_and_always_utf8),
        cmocka_unit_test(text__is_tamed_for_a_terminal),
        cmocka_unit_test(buf__grows_and_detaches),
        cmocka_unit_test(err__codes_go_both_ways),
        cmocka_unit_test(err__a_long_reason_is_cut_not_spilled),
        cmocka_unit_test(clock__formats_rfc3339_with_milliseconds),
        cmocka_unit_test(metrics__renders_counters_and_cumulated_buckets),
    };

    return cmocka_run_group_tests_name("ground", tests, NULL, NULL);
}
