/* SPDX-License-Identifier: Apache-2.0 */
/* test_job.c - states, ids, and the arithmetic of retries. */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/job.h"
#include "common/retry.h"
#include "tests/unit/check.h"

static void job__terminal_states_are_left_by_a_retry_alone(void **state)
{
    (void)state;
    for (int from = 0; from < JOB_STATE_COUNT; from++)
        for (int to = 0; to < JOB_STATE_COUNT; to++)
            if (job_state_is_terminal(from) && job_state_may_move(from, to)) {
                assert_int_equal(from, JOB_FAILED);
                assert_int_equal(to, JOB_PENDING);
            }
    assert_true(job_state_may_move(JOB_IN_PROGRESS, JOB_PENDING)); /* drain */
    assert_false(job_state_may_move(JOB_PENDING, JOB_COMPLETED));
    assert_false(job_state_may_move(JOB_PENDING, JOB_UNCONFIRMED));
}

static void job__state_names_go_both_ways(void **state)
{
    (void)state;
    for (int s = 0; s < JOB_STATE_COUNT; s++)
        assert_int_equal(job_state_from_name(job_state_name(s)), s);
    assert_int_equal(job_state_from_name("running"), JOB_STATE_COUNT);
    assert_int_equal(job_state_from_name(""), JOB_STATE_COUNT);
}

static void job__ids_are_uuid_v7_and_ascend(void **state)
{
    char before[JOB_ID_BYTES], id[JOB_ID_BYTES];

    (void)state;
    job_id_new(before);
    for (int i = 0; i < 5000; i++) {
        job_id_new(id);
        assert_true(job_id_is_valid(id));
        assert_int_equal(id[14], '7');
        assert_non_null(strchr("89ab", id[19]));
        assert_true(strcmp(id, before) > 0);
        memcpy(before, id, sizeof id);
    }
    assert_true(llabs(job_id_wall_ms(id) - wall_ms()) < 60000);
}

static void job__what_is_no_id_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "0193489c",
        "0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaA",
        "0193489caaaa-7aaa-8aaa-aaaaaaaaaaaa-",
        "0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaaa0",
        "0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaa",
        "../../etc/passwd",
        "0193489c-aaaa-7aaa-8aaa-aaaaaaaaaaa\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(job_id_is_valid(bad[i]));
}

static void job__copies_are_128_bits_in_hex(void **state)
{
    char one[COPY_BYTES], two[COPY_BYTES];

    (void)state;
    job_copy_new(one);
    job_copy_new(two);
    assert_int_equal(strlen(one), 32);
    assert_int_equal(strspn(one, "0123456789abcdef"), 32);
    assert_string_not_equal(one, two);
}

static void retry__waits_double_until_the_cap(void **state)
{
    (void)state;
    /* dice >= 0.5: no jitter */
    for (int errors = 1; errors <= 8; errors++)
        assert_int_equal(retry_backoff_rung(errors, 1, 512, 0.9), errors - 1);
    assert_int_equal(retry_backoff_rung(50, 1, 512, 0.9), RUNG_COUNT - 1);
    assert_int_equal(retry_backoff_rung(50, 1, 60, 0.9), 5); /* 32 s is the largest rung within 60 s */
    assert_int_equal(retry_backoff_rung(1, 3, 512, 0.9), 1);
    assert_int_equal(retry_backoff_rung(1, 512, 1, 0.9), 0);
}

static void retry__jitter_takes_a_neighbour_and_stays_on_the_ladder(void **state)
{
    (void)state;
    assert_int_equal(retry_backoff_rung(3, 1, 512, 0.1), 1);
    assert_int_equal(retry_backoff_rung(3, 1, 512, 0.3), 3);
    assert_int_equal(retry_backoff_rung(1, 1, 512, 0.1), 0);
    assert_int_equal(retry_backoff_rung(10, 1, 512, 0.3), 9);
    assert_int_equal(retry_backoff_rung(10, 1, 4, 0.3), 2);
}

static void retry__an_early_message_waits_on_the_largest_rung_within(void **state)
{
    (void)state;
    assert_int_equal(retry_rung_within(-5), 0);
    assert_int_equal(retry_rung_within(0), 0);
    assert_int_equal(retry_rung_within(1999), 0);
    assert_int_equal(retry_rung_within(2000), 1);
    assert_int_equal(retry_rung_within(15000), 3);
    assert_int_equal(retry_rung_within(INT64_MAX), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(job__terminal_states_are_left_by_a_retry_alone),
        cmocka_unit_test(job__state_names_go_both_ways),
        cmocka_unit_test(job__ids_are_uuid_v7_and_ascend),
        cmocka_unit_test(job__what_is_no_id_is_refused),
        cmocka_unit_test(job__copies_are_128_bits_in_hex),
        cmocka_unit_test(retry__waits_double_until_the_cap),
        cmocka_unit_test(retry__jitter_takes_a_neighbour_and_stays_on_the_ladder),
        cmocka_unit_test(retry__an_early_message_waits_on_the_largest_rung_within),
    };

    return cmocka_run_group_tests_name("job", tests, NULL, NULL);
}
