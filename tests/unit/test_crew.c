/* SPDX-License-Identifier: Apache-2.0 */
/* What a crew promises: each part of a run is done once, and all are done when the run comes back. */
#include <stdatomic.h>

#include "kinds/crew.h"
#include "tests/unit/check.h"

#define RUNS 2000

struct tally {
    int         parts;
    _Atomic int count[CREW_MAX];
};

static void count(void *ctx, int part, int parts)
{
    struct tally *t = ctx;

    assert_true(part >= 0 && part < parts && parts == t->parts);
    atomic_fetch_add(&t->count[part], 1);
}

static void crew__does_each_part_of_each_run_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct crew *crew = crew_new(threads);
        struct tally t = {.parts = threads};

        for (int run = 1; run <= RUNS; run++) {
            crew_run(crew, count, &t);
            for (int part = 0; part < threads; part++)
                assert_int_equal(atomic_load(&t.count[part]), run);
        }
        crew_free(crew);
    }
}

static void crew__of_one_thread_is_none(void **state)
{
    (void)state;
    assert_null(crew_new(1));
    assert_null(crew_new(0));
    crew_free(NULL);
}

static void crew__has_bounded_parts(void **state)
{
    struct crew *crew = crew_new(10 * CREW_MAX);
    struct tally t = {.parts = CREW_MAX};

    (void)state;
    crew_run(crew, count, &t);
    assert_int_equal(atomic_load(&t.count[CREW_MAX - 1]), 1);
    crew_free(crew);
}

static void stretches__follow_each_other_and_differ_by_one_at_most(void **state)
{
    (void)state;
    for (uint64_t total = 0; total < 100; total++)
        for (int parts = 1; parts <= 9; parts++) {
            uint64_t next = 0;

            for (int part = 0; part < parts; part++) {
                struct stretch s = crew_stretch(total, part, parts);

                assert_int_equal(s.from, next);
                assert_in_range(s.count, total / (uint64_t)parts, total / (uint64_t)parts + 1);
                next += s.count;
            }
            assert_int_equal(next, total);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crew__does_each_part_of_each_run_once),
        cmocka_unit_test(crew__of_one_thread_is_none),
        cmocka_unit_test(crew__has_bounded_parts),
        cmocka_unit_test(stretches__follow_each_other_and_differ_by_one_at_most),
    };

    return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
