/* SPDX-License-Identifier: Apache-2.0 */
/* test_goods.c - the blobs of an attempt, also of one that is over before they come. */
#include "tests/unit/blob_bench.h"
#include "worker/goods.h"

#define OTHER "01934000-0000-7000-8000-0000000000ac"

struct report {
    int      count;
    enum err e;
};

static void on_goods(void *ctx, enum err e, const struct fault *why)
{
    struct report *r = ctx;

    (void)why;
    r->count++;
    r->e = e;
}

static struct report wait_for_goods(struct bench *t, struct report *r)
{
    while (r->count == 0)
        uv_run(&t->loop, UV_RUN_ONCE);
    assert_int_equal(r->count, 1);
    return *r;
}

/* Lets everything that is under way come back. */
static void settle(struct bench *t) { uv_run(&t->loop, UV_RUN_DEFAULT); }

static int open_files(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static const char both[2][BLOB_NAME_BYTES] = {UUID, OTHER};

static void goods__all_inputs_are_opened_in_their_order(void **state)
{
    struct bench *t = *state;
    struct goods  g = {0};
    struct report r = {0};
    char          byte;
    int           before;

    put(t, UUID, "first", 5);
    put(t, OTHER, "second", 6);
    before = open_files();
    goods_fetch(&g, t->store, both, 2, on_goods, &r);
    assert_int_equal(r.count, 0);
    assert_int_equal(wait_for_goods(t, &r).e, ERR_OK);
    assert_int_equal(g.input_bytes[0], 5);
    assert_int_equal(g.input_bytes[1], 6);
    assert_int_equal(pread(g.inputs[1], &byte, 1, 0), 1);
    assert_int_equal(byte, 's');
    goods_drop(&g);
    assert_int_equal(open_files(), before);
}

static void goods__the_first_fault_is_told_and_told_once(void **state)
{
    struct bench *t = *state;
    struct goods  g = {0};
    struct report r = {0};
    int           before;

    put(t, OTHER, "second", 6);
    before = open_files();
    goods_fetch(&g, t->store, both, 2, on_goods, &r);
    assert_int_equal(wait_for_goods(t, &r).e, ERR_NO_BLOB);
    settle(t);
    assert_int_equal(r.count, 1);
    goods_drop(&g);
    settle(t);
    assert_int_equal(open_files(), before);
}

static void goods__what_was_dropped_comes_back_to_nobody(void **state)
{
    struct bench *t = *state;
    struct goods  g = {0};
    struct report first = {0}, second = {0};
    int           before;

    put(t, UUID, "first", 5);
    put(t, OTHER, "second", 6);
    before = open_files();
    goods_fetch(&g, t->store, both, 2, on_goods, &first);
    goods_drop(&g);
    goods_fetch(&g, t->store, both, 1, on_goods, &second); /* the next attempt, while the first is on its way */
    assert_int_equal(wait_for_goods(t, &second).e, ERR_OK);
    settle(t);
    assert_int_equal(first.count, 0);
    assert_int_equal(g.input_count, 1);
    goods_drop(&g);
    assert_int_equal(open_files(), before);
}

static void goods__a_result_is_there_when_it_is_sealed(void **state)
{
    struct bench *t = *state;
    struct goods  g = {0};
    struct report r = {0};
    struct fault  why;
    struct answer a = {0};
    char          sum[CHECKSUM_BYTES];

    sum_of("result", 6, "", 0, sum);
    assert_int_equal(goods_output(&g), -1);
    assert_int_equal(goods_create(&g, t->store, UUID "-17", 6, &why), ERR_OK);
    assert_string_equal(g.result, UUID "-17");
    assert_int_equal(pwrite(goods_output(&g), "result", 6, 0), 6);
    goods_seal(&g, sum, on_goods, &r);
    assert_int_equal(goods_output(&g), -1);
    assert_int_equal(wait_for_goods(t, &r).e, ERR_OK);
    goods_drop(&g);
    blob_fetch(t->store, UUID "-17", on_opened, &a);
    assert_int_equal(wait_for(t, &a)->e, ERR_OK);
    assert_string_equal(a.info.sum, sum);
    close(a.fd);
}

static void goods__a_result_that_is_dropped_leaves_nothing(void **state)
{
    struct bench *t = *state;
    struct goods  g = {0};
    struct fault  why;

    assert_int_equal(goods_create(&g, t->store, UUID "-17", 6, &why), ERR_OK);
    goods_drop(&g);
    assert_int_equal(files_in(t), 0);
    assert_string_equal(g.result, "");
    goods_drop(&g);
}

static void goods__a_seal_goes_on_without_the_attempt(void **state)
{
    struct bench *t = *state;
    struct goods  g = {0};
    struct report r = {0};
    struct fault  why;
    char          sum[CHECKSUM_BYTES];

    sum_of("result", 6, "", 0, sum);
    assert_int_equal(goods_create(&g, t->store, UUID "-17", 6, &why), ERR_OK);
    assert_int_equal(pwrite(goods_output(&g), "result", 6, 0), 6);
    goods_seal(&g, sum, on_goods, &r);
    goods_drop(&g);
    settle(t);
    assert_int_equal(r.count, 0);
    assert_int_equal(files_in(t), 2); /* it, and its checksum: for the sweeper */
}

static void goods__of_the_results_of_members_each_counts_once(void **state)
{
    static const char *const names[] = {UUID "-1-30", UUID "-0-10", UUID "-1-20", UUID "-99", UUID, OTHER "-2-5"};
    struct bench            *t = *state;
    struct goods             g = {0};
    struct report            r = {0};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put(t, names[i], "x", 1);
    goods_list(&g, t->store, UUID, on_goods, &r);
    assert_int_equal(wait_for_goods(t, &r).e, ERR_OK);
    assert_int_equal(g.sealed_count, 2);
    assert_int_equal(g.sealed[0].member, 0);
    assert_int_equal(g.sealed[0].fence, 10);
    assert_int_equal(g.sealed[1].member, 1);
    assert_true(g.sealed[1].fence == 20 || g.sealed[1].fence == 30);
    goods_drop(&g);
    assert_null(g.sealed);
}

static void goods__a_store_that_closes_tells_who_still_waits(void **state)
{
    struct bench *t = *state;
    struct goods  g = {0}, dropped = {0};
    struct report r = {0}, none = {0};

    goods_fetch(&g, t->store, both, 2, on_goods, &r);
    goods_list(&dropped, t->store, UUID, on_goods, &none);
    goods_drop(&dropped);
    close_store(t);
    assert_int_equal(r.count, 1);
    assert_int_not_equal(r.e, ERR_OK);
    assert_int_equal(none.count, 0);
    goods_drop(&g);
}

#define CASE(name) cmocka_unit_test_setup_teardown(goods__##name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(all_inputs_are_opened_in_their_order),       CASE(the_first_fault_is_told_and_told_once),
        CASE(what_was_dropped_comes_back_to_nobody),      CASE(a_result_is_there_when_it_is_sealed),
        CASE(a_result_that_is_dropped_leaves_nothing),    CASE(a_seal_goes_on_without_the_attempt),
        CASE(of_the_results_of_members_each_counts_once), CASE(a_store_that_closes_tells_who_still_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
