/* SPDX-License-Identifier: Apache-2.0 */
/* test_consume.c - which kind a slot serves next. */
#include "tests/unit/check.h"
#include "worker/consume_pick.h"

static const bool none_out[3];

#define VIEW(ready, waiting) (&(struct consume_view){3, (const int64_t[3])ready, (const int[3])waiting, none_out})
#define OF(a, b, c)                                                                                                    \
    {                                                                                                                  \
        a, b, c                                                                                                        \
    }

static void consume__a_new_slot_goes_where_work_waits(void **state)
{
    (void)state;
    assert_int_equal(consume_pick_first(VIEW(OF(0, 0, 4), OF(0, 0, 0)), 0), 2);
    assert_int_equal(consume_pick_first(VIEW(OF(9, 0, 4), OF(0, 0, 0)), 1), 2);
}

static void consume__a_new_slot_leaves_work_to_a_slot_that_waits_there_already(void **state)
{
    (void)state;
    assert_int_equal(consume_pick_first(VIEW(OF(1, 0, 0), OF(1, 0, 0)), 0), 1);
    assert_int_equal(consume_pick_first(VIEW(OF(1000, 0, 0), OF(1, 0, 0)), 1), 0); /* more than it can take */
}

static void consume__idle_slots_spread_over_the_kinds(void **state)
{
    int waiting[3] = {0};

    (void)state;
    for (int slot = 0; slot < 6; slot++) {
        struct consume_view view = {3, (const int64_t[3]){-1, -1, -1}, waiting, none_out};
        waiting[consume_pick_first(&view, 0)]++;
    }
    for (int kind = 0; kind < 3; kind++)
        assert_int_equal(waiting[kind], 2);
}

static void consume__an_idle_slot_moves_to_a_kind_that_waits_in_vain(void **state)
{
    (void)state;
    assert_int_equal(consume_pick_idle(VIEW(OF(0, 0, 2), OF(0, 1, 0)), 0, 0), 2);
    assert_int_equal(consume_pick_idle(VIEW(OF(0, 2, 0), OF(0, 1, 0)), 0, 0), 0); /* somebody is there */
    assert_int_equal(consume_pick_idle(VIEW(OF(-1, -1, -1), OF(0, 0, 0)), 0, 100000), 0);
}

static void consume__one_of_two_idle_slots_leaves_in_time_for_a_kind_without_any(void **state)
{
    (void)state;
    assert_int_equal(consume_pick_idle(VIEW(OF(0, 0, 0), OF(1, 0, 1)), 0, CONSUME_SPREAD_MS - 1), 0);
    assert_int_equal(consume_pick_idle(VIEW(OF(0, 0, 0), OF(1, 0, 1)), 0, CONSUME_SPREAD_MS), 1);
    assert_int_equal(consume_pick_idle(VIEW(OF(0, 0, 0), OF(1, 1, 1)), 0, CONSUME_SPREAD_MS), 0);
}

static void consume__a_kind_keeps_its_slot_for_one_turn(void **state)
{
    (void)state;
    assert_int_equal(consume_pick_after(VIEW(OF(500, 500, 0), OF(0, 0, 0)), 0, CONSUME_TURN_MS - 1), 0);
    assert_int_equal(consume_pick_after(VIEW(OF(500, 500, 0), OF(0, 0, 0)), 0, CONSUME_TURN_MS), 1);
}

static void consume__a_kind_alone_keeps_its_slot(void **state)
{
    (void)state;
    assert_int_equal(consume_pick_after(VIEW(OF(500, 0, -1), OF(0, 0, 0)), 0, 100000), 0);
    assert_int_equal(consume_pick_after(VIEW(OF(500, 7, 0), OF(0, 1, 0)), 0, 100000), 0); /* 1 has its own */
}

static void consume__a_kind_that_ran_dry_gives_way_at_once(void **state)
{
    (void)state;
    assert_int_equal(consume_pick_after(VIEW(OF(0, 0, 3), OF(0, 0, 0)), 0, 0), 2);
    assert_int_equal(consume_pick_after(VIEW(OF(0, 0, 0), OF(0, 0, 0)), 0, 100000), 0);
}

static void consume__no_kind_starves(void **state)
{
    int served[3] = {0}, kind = 0;

    (void)state;
    for (int turn = 0; turn < 30; turn++) {
        served[kind]++;
        kind = consume_pick_after(VIEW(OF(1000, 1000, 1), OF(0, 0, 0)), kind, CONSUME_TURN_MS);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(served[i], 10);
}

static void consume__a_kind_without_an_executor_is_left_out(void **state)
{
    static const bool   first_out[3] = {true}, all_out[3] = {true, true, true};
    struct consume_view view = {3, (const int64_t[3]){5, 0, 0}, (const int[3]){0, 0, 0}, first_out};

    (void)state;
    assert_int_equal(consume_pick_first(&view, 0), 1);
    assert_int_equal(consume_pick_idle(&view, 1, 0), 1);
    assert_int_equal(consume_pick_idle(&(struct consume_view){3, view.ready, (const int[3]){0, 1, 1}, first_out}, 1,
                                       CONSUME_SPREAD_MS),
                     1);
    assert_int_equal(consume_pick_after(&view, 1, CONSUME_TURN_MS), 1);
    view.is_out = all_out;
    assert_int_equal(consume_pick_first(&view, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(consume__a_new_slot_goes_where_work_waits),
        cmocka_unit_test(consume__a_new_slot_leaves_work_to_a_slot_that_waits_there_already),
        cmocka_unit_test(consume__idle_slots_spread_over_the_kinds),
        cmocka_unit_test(consume__an_idle_slot_moves_to_a_kind_that_waits_in_vain),
        cmocka_unit_test(consume__one_of_two_idle_slots_leaves_in_time_for_a_kind_without_any),
        cmocka_unit_test(consume__a_kind_keeps_its_slot_for_one_turn),
        cmocka_unit_test(consume__a_kind_alone_keeps_its_slot),
        cmocka_unit_test(consume__a_kind_that_ran_dry_gives_way_at_once),
        cmocka_unit_test(consume__no_kind_starves),
        cmocka_unit_test(consume__a_kind_without_an_executor_is_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
