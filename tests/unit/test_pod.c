/* SPDX-License-Identifier: Apache-2.0 */
/* test_pod.c - what a pod costs to delete. */
#include "tests/unit/check.h"
#include "worker/pod.h"

static void pod__only_long_jobs_raise_the_cost(void **state)
{
    (void)state;
    assert_int_equal(pod_cost(0, 0, 0), 0);
    assert_int_equal(pod_cost(3, 0, 0), 0);
    assert_int_equal(pod_cost(3, 1, 0), 100);
    assert_int_equal(pod_cost(3, 3, 100), 300);
}

static void pod__a_next_job_keeps_it_up(void **state)
{
    (void)state;
    assert_int_equal(pod_cost(1, 0, 100), 100);
    assert_int_equal(pod_cost(1, 0, 300), 100); /* of three, one is left */
    assert_int_equal(pod_cost(0, 0, 300), 0);
}

static void pod__what_a_predecessor_left_is_not_known(void **state)
{
    (void)state;
    assert_int_equal(pod_cost(0, 0, -1), 0);
    assert_int_equal(pod_cost(2, 0, -1), 0);
    assert_int_equal(pod_cost(2, 2, -1), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pod__only_long_jobs_raise_the_cost),
        cmocka_unit_test(pod__a_next_job_keeps_it_up),
        cmocka_unit_test(pod__what_a_predecessor_left_is_not_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
