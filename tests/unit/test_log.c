/* SPDX-License-Identifier: Apache-2.0 */
/* test_log.c - every line is one JSON object, whatever its texts are. Jansson is the judge. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/check.h"

/* Owned: the object that the fields make. */
static json_t *read_line(const struct log_field *fields)
{
    char         line[LOG_LINE_BYTES];
    size_t       len = log_format(EVENT_JOB_FAILED, fields, line);
    json_error_t error;
    json_t      *object;

    assert_in_range(len, 2, sizeof line);
    assert_int_equal(line[len - 1], '\n');
    for (size_t i = 0; i < len - 1; i++) {
        assert_in_range((unsigned char)line[i], 0x20, 0xff);
        assert_true(line[i] != 0x7f);
    }
    object = json_loadb(line, len - 1, JSON_REJECT_DUPLICATES, &error);
    if (!object)
        fail_msg("%s at %d: %.*s", error.text, error.position, (int)len, line);
    return object;
}

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

#define FIELDS(...) ((const struct log_field[]){__VA_ARGS__, {.name = NULL}})

static void log__a_line_has_the_keys_in_their_types(void **state)
{
    json_t *o = read_line(FIELDS(LOG_JOB("0193", "hash", 2), LOG_INT("run_ms", -12), LOG_INT("max", INT64_MAX),
                                 LOG_INT("min", INT64_MIN), LOG_TEXT("reason", "it broke")));

    (void)state;
    assert_int_equal(strlen(text_of(o, "time")), WALL_TEXT_BYTES - 1);
    assert_string_equal(text_of(o, "level"), "info");
    assert_string_equal(text_of(o, "program"), "test-log");
    assert_int_equal(json_integer_value(json_object_get(o, "pid")), getpid());
    assert_string_equal(text_of(o, "event"), "job-failed");
    assert_string_equal(text_of(o, "job_id"), "0193");
    assert_string_equal(text_of(o, "kind"), "hash");
    assert_int_equal(json_integer_value(json_object_get(o, "attempt")), 2);
    assert_int_equal(json_integer_value(json_object_get(o, "run_ms")), -12);
    assert_true(json_integer_value(json_object_get(o, "max")) == INT64_MAX);
    assert_true(json_integer_value(json_object_get(o, "min")) == INT64_MIN);
    assert_string_equal(text_of(o, "reason"), "it broke");
    assert_null(json_object_get(o, "cut"));
    json_decref(o);
}

static void log__what_is_not_known_is_left_out(void **state)
{
    json_t *o = read_line(FIELDS(LOG_JOB("", NULL, 0), LOG_BYTES("reason", NULL, 0), LOG_INT("zero", 0)));

    (void)state;
    assert_int_equal(json_object_size(o), 6);
    assert_true(json_is_integer(json_object_get(o, "zero")));
    json_decref(o);
}

static void log__texts_come_back_as_they_were(void **state)
{
    static const char *const texts[] = {
        "\"quoted\" and \\ backslash",
        "two\nlines\r\n\ttab",
        "\x01\x02\x1b[31mred\x7f\x08",
        "h\xc3\xa4tte \xe2\x82\xac \xf0\x9f\x8e\x89",
        "C1 \xc2\x9b"
        "31m and \xc2\xa0 that is none",
        "/ \xe2\x80\xa8 \xe2\x80\xa9 \xe2\x80\xaa {\"a\":1}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        json_t *o = read_line(FIELDS(LOG_TEXT("reason", texts[i])));

        assert_string_equal(text_of(o, "reason"), texts[i]);
        json_decref(o);
    }
}

static void log__damaged_utf8_becomes_the_replacement_character(void **state)
{
    static const struct {
        const char *given, *wanted;
    } cases[] = {
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"a\xc3", "a\xef\xbf\xbd"},                               /* cut short by the end */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* overlong */
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xe2\x82\"", "\xef\xbf\xbd\xef\xbf\xbd\""},             /* does not swallow what follows */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *o = read_line(FIELDS(LOG_TEXT("reason", cases[i].given)));

        assert_string_equal(text_of(o, "reason"), cases[i].wanted);
        json_decref(o);
    }
}

static void log__bytes_may_end_in_the_middle_of_a_character(void **state)
{
    static const char bytes[] = "ab\xe2\x82\xac";
    json_t           *o = read_line(FIELDS(LOG_BYTES("reason", bytes, 4)));

    (void)state;
    assert_string_equal(text_of(o, "reason"), "ab\xef\xbf\xbd\xef\xbf\xbd");
    json_decref(o);
}

static void log__a_nul_among_bytes_is_escaped(void **state)
{
    char   line[LOG_LINE_BYTES];
    size_t len = log_format(EVENT_JOB_FAILED, FIELDS(LOG_BYTES("reason", "a\0b", 3)), line);

    (void)state;
    line[len - 1] = '\0';
    assert_non_null(strstr(line, "\"reason\":\"a\\u0000b\"}"));
}

/* Whatever the length: valid, bounded, what came first is whole, and it says that it was cut. */
static void log__a_line_that_is_too_long_is_cut_and_stays_valid(void **state)
{
    static const char *const units[] = {"x", "\x01", "\xc3\xa4", "\xf0\x9f\x8e\x89", "\"", "\xff"};

    (void)state;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        for (size_t bytes = 3000; bytes < 4300; bytes += 7) {
            size_t  unit = strlen(units[u]), n = bytes / unit;
            char   *text = calloc(n + 1, unit);
            json_t *o;

            for (size_t i = 0; i < n; i++)
                memcpy(text + i * unit, units[u], unit);
            o = read_line(FIELDS(LOG_JOB("0193", "hash", 1), LOG_TEXT("reason", text), LOG_INT("behind", 1)));
            assert_string_equal(text_of(o, "job_id"), "0193");
            assert_true(json_is_true(json_object_get(o, "cut")) || json_object_get(o, "behind"));
            if (*units[u] == 'x' && bytes < 3800)
                assert_null(json_object_get(o, "cut"));
            if (bytes > 4200)
                assert_non_null(json_object_get(o, "cut"));
            json_decref(o);
            free(text);
        }
}

static size_t kept(const json_t *object)
{
    size_t n = 0;
    char   name[8];

    do
        snprintf(name, sizeof name, "n%zu", n++);
    while (json_object_get(object, name));
    return n - 1;
}

static void log__many_fields_beyond_the_bound_leave_a_valid_line(void **state)
{
    struct log_field fields[400];

    (void)state;
    for (size_t n = 0; n < 399; n++) {
        char    names[399][8];
        json_t *o;

        for (size_t i = 0; i < n; i++) {
            snprintf(names[i], sizeof names[i], "n%zu", i);
            fields[i] = (struct log_field)LOG_INT(names[i], (int64_t)i * 1000003);
        }
        fields[n] = (struct log_field){.name = NULL};
        o = read_line(fields);
        assert_int_equal(json_object_size(o), 5 + (json_object_get(o, "cut") ? kept(o) + 1 : n));
        json_decref(o);
    }
}

static void log__random_bytes_make_valid_lines(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        char    text[5000];
        size_t  len = (size_t)rand_r(&seed) % sizeof text;
        json_t *o;

        for (size_t i = 0; i < len; i++)
            text[i] = (char)(1 + rand_r(&seed) % 255); /* not NUL, which jansson refuses */
        o = read_line(FIELDS(LOG_BYTES("reason", text, len), LOG_INT("behind", 1)));
        assert_non_null(o);
        json_decref(o);
    }
}

static void log__levels_below_the_least_are_not_wanted(void **state)
{
    (void)state;
    assert_false(log_wants(EVENT_JOB_CUT));
    assert_true(log_wants(EVENT_JOB_STARTED));
    log_open("test-log", LOG_WARN);
    assert_false(log_wants(EVENT_JOB_STARTED));
    assert_true(log_wants(EVENT_STORE_DOWN));
    log_open("test-log", LOG_INFO);
}

/* The arithmetic of wall_format against that of the C library. */
static void clock__times_are_written_as_the_library_would(void **state)
{
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        int64_t   day = round % 2 ? round / 2 : (int64_t)rand_r(&seed) % 2932896; /* up to the end of the year 9999 */
        int64_t   ms = day * 86400000 + rand_r(&seed) % 86400000;
        time_t    seconds = ms / 1000;
        struct tm tm;
        char      wanted[64], day_text[32], got[WALL_TEXT_BYTES];

        gmtime_r(&seconds, &tm);
        strftime(day_text, sizeof day_text, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(wanted, sizeof wanted, "%s.%03dZ", day_text, (int)(ms % 1000));
        wall_format(ms, got);
        assert_string_equal(got, wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log__a_line_has_the_keys_in_their_types),
        cmocka_unit_test(log__what_is_not_known_is_left_out),
        cmocka_unit_test(log__texts_come_back_as_they_were),
        cmocka_unit_test(log__damaged_utf8_becomes_the_replacement_character),
        cmocka_unit_test(log__bytes_may_end_in_the_middle_of_a_character),
        cmocka_unit_test(log__a_nul_among_bytes_is_escaped),
        cmocka_unit_test(log__a_line_that_is_too_long_is_cut_and_stays_valid),
        cmocka_unit_test(log__many_fields_beyond_the_bound_leave_a_valid_line),
        cmocka_unit_test(log__random_bytes_make_valid_lines),
        cmocka_unit_test(log__levels_below_the_least_are_not_wanted),
        cmocka_unit_test(clock__times_are_written_as_the_library_would),
    };

    log_open("test-log", LOG_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
