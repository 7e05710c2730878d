/* SPDX-License-Identifier: Apache-2.0 */
/* test_map_words.c - what map reads and says: halting rules, records, progress, the pieces of its report. */
#include <string.h>

#include "cli/map_halt.h"
#include "cli/map_html.h"
#include "cli/map_progress.h"
#include "cli/map_record.h"
#include "cli/map_timeline.h"
#include "tests/unit/check.h"

static void halt__rules_are_those_of_gnu_parallel(void **state)
{
    static const char *const wrong[] = {"",
                                        "soon",
                                        "soon,fail=",
                                        "soon,fail=0",
                                        "now,fail=-1",
                                        "later,fail=1",
                                        "now,fail=x",
                                        "soon,fail=101%",
                                        "now,fail=1%%",
                                        "now,fail=1 ",
                                        "2"};
    struct halt              h;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(halt_parse(wrong[i], &h));
    assert_true(halt_parse("never", &h) && h.when == HALT_NEVER);
    assert_false(halt_is_due(&h, 1000, 1000));
    assert_true(halt_parse("soon,fail=3", &h) && h.when == HALT_SOON && h.limit == 3 && !h.is_percent);
    assert_false(halt_is_due(&h, 2, 2));
    assert_true(halt_is_due(&h, 3, 1000));
    assert_true(halt_parse("now,fail=10%", &h) && h.when == HALT_NOW && h.is_percent);
    assert_false(halt_is_due(&h, 2, 2)); /* three at least */
    assert_false(halt_is_due(&h, 3, 31));
    assert_true(halt_is_due(&h, 3, 30));
}

static void record__is_read_as_far_as_it_goes(void **state)
{
    struct record r;
    json_t       *doc = json_loads("{\"id\":\"x\",\"state\":\"failed\",\"started\":\"2026-11-20T22:49:00.123Z\","
                                         "\"run_seconds\":1.5,\"worker\":\"w\",\"error\":{\"code\":\"c\",\"detail\":\"d\"}}",
                                   0, NULL);

    (void)state;
    record_read(doc, &r);
    json_decref(doc);
    assert_int_equal(r.state, RECORD_FAILED);
    assert_int_equal(r.started_ms, INT64_C(1795214940123));
    assert_int_equal(r.run_us, 1500000);
    assert_string_equal(r.code, "c");
    assert_string_equal(r.detail, "d");
    doc = json_loads("{\"id\":\"x\",\"state\":\"expired\"}", 0, NULL);
    record_read(doc, &r);
    json_decref(doc);
    assert_int_equal(r.state, RECORD_GONE);
    record_read(NULL, &r);
    assert_int_equal(r.state, RECORD_NONE);
    assert_int_equal(record_time_ms("2026-11-20 22:49"), 0);
    assert_int_equal(record_time_ms("1970-01-01T00:00:01.000Z"), 1000);
}

static void progress__tells_rate_and_time_left(void **state)
{
    struct progress p;
    struct buf      text = {0};

    (void)state;
    progress_init(&p, false, 100, 10, 0, 1000);
    for (int i = 0; i < 20; i++)
        progress_ended(&p, i != 0);
    assert_int_equal((int)progress_rate(&p, 3000), 10);
    progress_text(&p, 3000, 0, &text);
    buf_append(&text, "", 1);
    assert_string_equal(text.data, "30 of 100, 1 failed, 10.0/s, 7 s left");
    text.len = 0;
    progress_text(&p, 3000, 66, &text);
    assert_int_equal(strncmp(text.data, "[###.......] 30 of 100", 22), 0);
    for (int columns = 1; columns < 130; columns++) { /* what fills a line, or more, could not be wiped */
        text.len = 0;
        progress_text(&p, 3000, columns, &text);
        assert_true(text.len < (size_t)columns);
    }
    buf_free(&text);
}

static void html__escapes_whatever_comes(void **state)
{
    struct buf out = {0};

    (void)state;
    html_text(&out, "<a href=\"x\">&\x01\xff\xc3\xa4\xed\xa0\x80\xc0\xaf");
    buf_append(&out, "", 1);
    assert_string_equal(out.data, "&lt;a href=&quot;x&quot;&gt;&amp;\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4"
                                  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    out.len = 0;
    html_data_uri(&out, "t/t", "Millrac", 7);
    html_data_uri(&out, "t/t", "Millra", 6);
    html_data_uri(&out, "t/t", "Millr", 5);
    buf_append(&out, "", 1);
    assert_string_equal(out.data, "data:t/t;base64,TWlsbHJhYw==data:t/t;base64,TWlsbHJhdata:t/t;base64,TWlsbHI=");
    buf_free(&out);
}

static void timeline__adds_up_to_what_ran(void **state)
{
    struct timeline t;
    double          columns = 0;

    (void)state;
    timeline_init(&t, 0, 6000); /* 10 ms a column */
    timeline_add(&t, "a", 1003, 2500000);
    timeline_add(&t, "a", 1003, 2500000);
    timeline_add(&t, "b", -500, 1000000); /* half of it before */
    assert_int_equal(t.count, 2);
    for (int i = 0; i < TIMELINE_COLUMNS; i++)
        columns += (double)t.rows[0].running[i];
    assert_true(columns > 499.9 && columns < 500.1);
    assert_true(t.rows[0].running[200] == 2);
    columns = 0;
    for (int i = 0; i < TIMELINE_COLUMNS; i++)
        columns += (double)t.rows[1].running[i];
    assert_true(columns > 49.9 && columns < 50.1);
    timeline_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halt__rules_are_those_of_gnu_parallel), cmocka_unit_test(record__is_read_as_far_as_it_goes),
        cmocka_unit_test(progress__tells_rate_and_time_left),    cmocka_unit_test(html__escapes_whatever_comes),
        cmocka_unit_test(timeline__adds_up_to_what_ran),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
