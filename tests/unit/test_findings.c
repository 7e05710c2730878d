/* SPDX-License-Identifier: Apache-2.0 */
/* What an audit makes of what it found: pure. */
#include "api/findings.h"

#include <stdio.h>

#include "tests/unit/check.h"

static void add(struct findings *f, const char *id, const char *mark, int64_t since, bool is_bare)
{
    struct finding found = {.kind = 0, .since = since, .is_bare = is_bare};

    snprintf(found.id, sizeof found.id, "%s", id);
    snprintf(found.mark, sizeof found.mark, "%s", mark);
    snprintf(found.state, sizeof found.state, "%s", is_bare ? "in-progress" : "pending");
    findings_add(f, &found, "why");
}

static void findings__what_moves_between_two_looks_is_dropped(void **state)
{
    struct findings f = {0};

    (void)state;
    add(&f, "stays", "1", 0, false);
    add(&f, "moves", "1", 0, false);
    add(&f, "goes", "1", 0, false);
    add(&f, "stays", "1", 0, false);
    assert_int_equal(f.count, 3);
    findings_look(&f);
    findings_see(&f, "moves", 0, "2");
    findings_see(&f, "stays", 0, "1");
    findings_see(&f, "stranger", 0, "1");
    findings_see(&f, "goes", 1, "1"); /* of another kind */
    findings_keep(&f);
    assert_int_equal(f.count, 1);
    assert_string_equal(f.each[0].id, "stays");
    findings_clear(&f);
    findings_clear(&f);
}

static void findings__what_is_final_needs_no_second_look(void **state)
{
    struct findings f = {0};

    (void)state;
    add(&f, "sum", "", 0, false);
    f.each[0].is_final = true;
    findings_look(&f);
    findings_keep(&f);
    assert_int_equal(f.count, 1);
    findings_clear(&f);
}

static void findings__the_oldest_bare_jobs_are_suspected_behind_the_faults(void **state)
{
    struct findings f = {0};
    struct balance  b = {.bare = {5}, .ready = {3}};

    (void)state;
    add(&f, "young", "1", 30, true);
    add(&f, "oldest", "1", 10, true);
    add(&f, "fault", "1", 99, false);
    add(&f, "old", "1", 20, true);
    assert_int_equal(findings_lost(&f, 0), 3);
    assert_int_equal(balance_missing(&b), 2);
    findings_suspect(&f, &b, 2);
    assert_int_equal(f.count, 3);
    assert_string_equal(f.each[0].id, "fault");
    assert_string_equal(f.each[1].id, "oldest");
    assert_string_equal(f.each[2].id, "old");
    assert_int_equal(f.more, 0);
    findings_clear(&f);
}

static void findings__a_kind_with_messages_enough_is_not_suspected(void **state)
{
    struct findings f = {0};
    struct balance  b = {.bare = {2, 7}, .ready = {2, 1}};

    (void)state;
    add(&f, "job", "1", 10, true);
    findings_suspect(&f, &b, balance_missing(&b));
    assert_int_equal(f.count, 0);
    findings_clear(&f);
}

static void balance__messages_on_their_way_may_be_anybodys(void **state)
{
    struct balance b = {.bare = {4, 3}, .ready = {1, 9}, .delayed = 2, .outbox = 1};

    (void)state;
    assert_int_equal(balance_missing(&b), 0); /* what one kind has too many of is of no use to another */
    b.delayed = 0;
    assert_int_equal(balance_missing(&b), 2);
}

static void findings__beyond_the_bound_they_are_counted(void **state)
{
    struct findings f = {0};
    char            id[16];

    (void)state;
    for (int i = 0; i < FINDINGS_MAX + 3; i++) {
        snprintf(id, sizeof id, "%d", i);
        add(&f, id, "1", 0, false);
    }
    assert_int_equal(f.count, FINDINGS_MAX);
    assert_int_equal(f.more, 3);
    findings_clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings__what_moves_between_two_looks_is_dropped),
        cmocka_unit_test(findings__what_is_final_needs_no_second_look),
        cmocka_unit_test(findings__the_oldest_bare_jobs_are_suspected_behind_the_faults),
        cmocka_unit_test(findings__a_kind_with_messages_enough_is_not_suspected),
        cmocka_unit_test(balance__messages_on_their_way_may_be_anybodys),
        cmocka_unit_test(findings__beyond_the_bound_they_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
