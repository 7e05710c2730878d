/* SPDX-License-Identifier: Apache-2.0 */
/* store_groups_driver.c - groups through the store's client, against a real Redis: from the split to
 * the end, and through the bad days between. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "tests/behave/store_bench.h"
#include "tests/unit/check.h"

#define TOTAL 3
#define LAYOUT "{\"rows\":9}"
#define CHECK "{\"method\":\"freivalds\",\"probes\":2,\"bound\":0.5}"
#define INPUT "0193489c-aaaa-7bbb-8ccc-0123456789ab"

struct group {
    struct bench *b;
    struct msg   *parent;
    struct lease  visit;
    struct msg   *members[TOTAL]; /* NULL until the relay had it */
    struct lease  leases[TOTAL];
};

static void group_init(struct group *g, struct bench *b)
{
    memset(g, 0, sizeof *g);
    g->b = b;
    g->parent = new_msg(b);
    free(g->parent->refs);
    g->parent->refs = xstrdup("{\"blobs\":[\"" INPUT "\"]}");
    strcpy(g->parent->idempotency, "key");
    strcpy(g->parent->digest, "digest");
    store_create(b->store, g->parent, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_accept(b->store, g->parent, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
}

static void group_fini(struct group *g)
{
    msg_free(g->parent);
    for (int i = 0; i < TOTAL; i++)
        msg_free(g->members[i]);
}

/* The parent's message is delivered: claims it. */
static void visit(struct group *g)
{
    job_copy_new(g->parent->copy);
    g->visit = (struct lease){.msg = g->parent};
    claimed(g->b, &g->visit);
}

static enum store_answer split(struct group *g, const struct store_sealed *sealed, size_t count)
{
    store_split(g->b->store, &g->visit, TOTAL, "{\"m\":9,\"tile\":@MEMBER@}", LAYOUT, 4096, "application/x-npy", sealed,
                count, on_answer, &g->b->seen);
    return answer(g->b);
}

/* A gateway's relay: takes one entry at a time, as the bench shows only the first of a batch. Returns how many were
 * members of this group. */
static int relay(struct group *g)
{
    int          count = 0;
    struct fault why;

    for (;;) {
        struct msg *m, *old;

        store_outbox_take(g->b->store, 1, on_answer, &g->b->seen);
        assert_int_equal(answer(g->b), STORE_OK);
        if (!g->b->seen.item_count)
            return count;
        assert_int_equal(msg_unpack(g->b->seen.item_data, strlen(g->b->seen.item_data), &m, &why), ERR_OK);
        job_copy_new(m->copy);
        m->epoch = g->b->seen.epoch;
        store_outbox_done(g->b->store, m->id, on_answer, &g->b->seen);
        assert_int_equal(answer(g->b), STORE_OK);
        if (strcmp(m->parent, g->parent->id) != 0) {
            msg_free(m);
            continue;
        }
        count++;
        assert_in_range(m->member, 0, TOTAL - 1);
        old = g->members[m->member];
        if (old && strcmp(old->id, m->id) == 0) { /* a lease may borrow it; they say the same */
            msg_free(m);
            continue;
        }
        msg_free(old);
        g->members[m->member] = m;
    }
}

static void run_member(struct group *g, int i)
{
    g->leases[i] = (struct lease){.msg = g->members[i]};
    claimed(g->b, &g->leases[i]);
}

static enum store_answer finish_member(struct group *g, int i)
{
    char                name[96];
    struct store_result result = {.blob = name, .size = 128, .content_type = "t", .verified = CHECK};

    snprintf(name, sizeof name, "%s-%d-%lld", g->parent->id, i, (long long)g->leases[i].fence);
    store_finish(g->b->store, &g->leases[i], &result, on_answer, &g->b->seen);
    return answer(g->b);
}

static enum store_answer fail_member(struct group *g, int i)
{
    struct fault why = {ERR_OVERFLOW, "too large"};

    store_fail(g->b->store, &g->leases[i], &why, 0, on_answer, &g->b->seen);
    return answer(g->b);
}

static enum store_answer claim_member(struct group *g, int i)
{
    g->leases[i] = (struct lease){.msg = g->members[i], .owner = "host-2-1-0"};
    store_claim(g->b->store, &g->leases[i], false, on_answer, &g->b->seen);
    return answer(g->b);
}

/* Split, and all members claimed. */
static void under_way(struct group *g, struct bench *b)
{
    group_init(g, b);
    visit(g);
    assert_int_equal(split(g, NULL, 0), STORE_RETRYING);
    assert_in_range(b->seen.wait_ms, 1000, 60000);
    assert_int_equal(relay(g), TOTAL);
    for (int i = 0; i < TOTAL; i++)
        run_member(g, i);
}

static void groups__members_are_jobs_and_their_ends_are_the_parents(void **state)
{
    struct bench *b = started(state);
    struct group  g;

    under_way(&g, b);
    for (int i = 0; i < TOTAL; i++) {
        char params[64];

        snprintf(params, sizeof params, "{\"m\":9,\"tile\":%d}", i);
        assert_string_equal(g.members[i]->params, params);
        assert_string_equal(g.members[i]->refs, g.parent->refs);
        assert_string_equal(g.members[i]->kind, KIND);
        assert_string_equal(g.members[i]->idempotency, "");
        assert_memory_equal(g.members[i]->body, "input", 5);
        assert_true(job_id_is_valid(g.members[i]->id));
    }
    for (int i = TOTAL - 1; i >= 0; i--) {
        assert_int_equal(state_of(b, g.parent), JOB_IN_PROGRESS);
        assert_int_equal(b->seen.record.members_total, TOTAL);
        assert_int_equal(b->seen.record.members_done, TOTAL - 1 - i);
        assert_int_equal(b->seen.record.result_bytes, -1);
        assert_int_equal(finish_member(&g, i), STORE_OK);
    }
    store_result(b->store, g.parent->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record.state, JOB_COMPLETED);
    assert_int_equal(b->seen.record.result_bytes, 4096);
    assert_string_equal(b->seen.layout, LAYOUT);
    assert_string_equal(b->seen.verified, CHECK);
    assert_string_equal(b->seen.blob, "");
    assert_int_equal(b->seen.data_len, 0);
    assert_int_equal(b->seen.fence_count, TOTAL);
    for (int i = 0; i < TOTAL; i++)
        assert_int_equal(b->seen.fences[i], g.leases[i].fence);
    store_result(b->store, g.members[1]->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_string_equal(b->seen.record.parent, g.parent->id);
    assert_int_equal(b->seen.record.member, 1);
    assert_int_equal(b->seen.record.result_bytes, 128);
    assert_memory_equal(b->seen.blob, g.parent->id, 36);
    group_fini(&g);
}

static void groups__the_gateway_hears_of_members_in_the_outbox(void **state)
{
    struct bench *b = started(state);
    struct group  g;

    await(b, &b->missed, 1);
    group_init(&g, b);
    visit(&g);
    assert_int_equal(b->kicks, 0);
    assert_int_equal(split(&g, NULL, 0), STORE_RETRYING);
    await(b, &b->kicks, 1);
    group_fini(&g);
}

static void groups__a_visit_hears_that_the_group_is_cut_in_another_way(void **state)
{
    struct bench *b = started(state);
    struct group  g;

    under_way(&g, b);
    visit(&g);
    assert_int_equal(split(&g, NULL, 0), STORE_RETRYING);
    assert_false(b->seen.is_other_cut);
    visit(&g);
    store_split(b->store, &g.visit, TOTAL + 1, "{\"tile\":@MEMBER@}", "{\"rows\":8}", 4096, "application/x-npy", NULL,
                0, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_RETRYING);
    assert_true(b->seen.is_other_cut);
    assert_in_range(b->seen.wait_ms, 1000, 60000);
    assert_int_equal(state_of(b, g.parent), JOB_IN_PROGRESS);
    assert_int_equal(b->seen.record.members_total, TOTAL);
    group_fini(&g);
}

static void groups__a_watched_parent_tells_its_end(void **state)
{
    struct bench *b = started(state);
    struct group  g;

    await(b, &b->missed, 1);
    under_way(&g, b);
    store_get(b->store, g.parent->id, true, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    for (int i = 0; i < TOTAL; i++)
        assert_int_equal(finish_member(&g, i), STORE_OK);
    for (int turns = 0; !*b->ended && turns < 500; turns++)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_string_equal(b->ended, g.parent->id);
    assert_string_equal(b->told, "");
    group_fini(&g);
}

static void groups__an_emptied_server_hears_of_the_group_again(void **state)
{
    struct bench *b = started(state);
    struct group  g;

    under_way(&g, b);
    assert_int_equal(finish_member(&g, 0), STORE_OK);
    cli(b, "FLUSHALL");
    assert_int_equal(finish_member(&g, 1), STORE_OK); /* the ring says the rest before: split, and the first */
    assert_int_equal(state_of(b, g.parent), JOB_IN_PROGRESS);
    assert_int_equal(b->seen.record.members_done, 2);
    assert_int_equal(finish_member(&g, 2), STORE_OK);
    assert_int_equal(state_of(b, g.parent), JOB_COMPLETED);
    group_fini(&g);
}

/* Who split and who finished have gone with Redis: what is left are the messages and the blobs. */
static void groups__an_emptied_server_learns_from_messages_and_blobs(void **state)
{
    struct bench       *b = started(state);
    struct group        g;
    struct store_sealed sealed[1];

    under_way(&g, b);
    assert_int_equal(finish_member(&g, 0), STORE_OK);
    sealed[0] = (struct store_sealed){0, g.leases[0].fence};
    store_close(b->store);
    cli(b, "FLUSHALL");
    bench_open(b);
    await(b, &b->ups, 2);
    assert_int_equal(finish_member(&g, 1), STORE_OK); /* before the parent is known again */
    assert_int_equal(state_of(b, g.parent), JOB_STATE_COUNT);
    visit(&g);
    assert_int_equal(split(&g, sealed, 1), STORE_RETRYING);
    assert_int_equal(state_of(b, g.parent), JOB_IN_PROGRESS);
    assert_int_equal(b->seen.record.members_done, 2);
    assert_int_equal(relay(&g), 1);
    assert_int_equal(finish_member(&g, 2), STORE_OK);
    assert_int_equal(state_of(b, g.parent), JOB_COMPLETED);
    assert_int_equal(claim_member(&g, 2), STORE_TERMINAL); /* the message that the relay sent meanwhile */
    store_result(b->store, g.parent->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.fence_count, TOTAL);
    assert_int_equal(b->seen.fences[0], sealed[0].fence);
    group_fini(&g);
}

static void groups__a_failed_group_is_retried_with_what_it_has(void **state)
{
    struct bench *b = started(state);
    struct group  g;
    int64_t       fence;
    char          old[JOB_ID_BYTES];

    under_way(&g, b);
    fence = g.leases[0].fence;
    memcpy(old, g.members[2]->id, sizeof old);
    assert_int_equal(finish_member(&g, 0), STORE_OK);
    assert_int_equal(fail_member(&g, 1), STORE_FAILED);
    assert_int_equal(state_of(b, g.parent), JOB_FAILED);
    assert_true(b->seen.record.has_input);
    assert_string_equal(b->seen.detail, "member 1 failed: too large");
    store_renew(b->store, &g.leases[2], 0.5, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_CANCELLED);
    store_retry(b->store, g.members[1]->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_REFUSED);
    assert_string_equal(b->seen.record.parent, g.parent->id);
    store_retry(b->store, g.parent->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(relay(&g), 0); /* the parent itself */
    visit(&g);
    assert_int_equal(g.visit.attempt, 2);
    assert_int_equal(split(&g, NULL, 0), STORE_RETRYING);
    assert_int_equal(relay(&g), 2);
    assert_string_not_equal(g.members[2]->id, old);
    for (int i = 1; i < TOTAL; i++) {
        run_member(&g, i);
        assert_int_equal(finish_member(&g, i), STORE_OK);
    }
    store_result(b->store, g.parent->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record.state, JOB_COMPLETED);
    assert_int_equal(b->seen.fences[0], fence);
    group_fini(&g);
}

static void groups__a_cancelled_group_takes_its_members_along(void **state)
{
    struct bench *b = started(state);
    struct group  g;

    group_init(&g, b);
    visit(&g);
    assert_int_equal(split(&g, NULL, 0), STORE_RETRYING);
    assert_int_equal(relay(&g), TOTAL);
    run_member(&g, 0);
    run_member(&g, 1);
    assert_int_equal(finish_member(&g, 0), STORE_OK);
    store_cancel(b->store, g.members[1]->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_REFUSED);
    store_cancel(b->store, g.parent->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record.members_done, 1);
    store_renew(b->store, &g.leases[1], 0.5, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_CANCELLED);
    assert_int_equal(claim_member(&g, 2), STORE_TERMINAL);
    assert_int_equal(state_of(b, g.members[1]), JOB_CANCELLED);
    assert_int_equal(state_of(b, g.members[2]), JOB_CANCELLED);
    /* The parent's message comes back once more. */
    store_claim(b->store, &g.visit, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_TERMINAL);
    cli(b, "FLUSHALL"); /* and its members' ends are said again with its own */
    assert_int_equal(state_of(b, g.parent), JOB_CANCELLED);
    assert_int_equal(state_of(b, g.members[1]), JOB_CANCELLED);
    assert_int_equal(state_of(b, g.members[2]), JOB_CANCELLED);
    group_fini(&g);
}

#define GRACE_MS 3600000

static void groups__blobs_are_needed_until_the_parent_has_ended(void **state)
{
    struct bench *b = started(state);
    struct group  g;
    const char   *names[] = {INPUT, "0193489c-aaaa-7bbb-8ccc-0123456789ac"};

    under_way(&g, b);
    store_blobs_needed(b->store, names, 2, GRACE_MS, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.item_count, 2); /* the epoch is young: who knows */
    cli(b, "SET epoch 1000");
    store_close(b->store);
    bench_open(b);
    await(b, &b->ups, 2);
    store_blobs_needed(b->store, names, 2, GRACE_MS, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.item_count, 1);
    assert_string_equal(b->seen.item_id, INPUT);
    store_cancel(b->store, g.parent->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    for (int i = 0; i < TOTAL; i++)
        assert_int_equal(claim_member(&g, i), STORE_TERMINAL);
    store_blobs_needed(b->store, names, 2, GRACE_MS, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.item_count, 0);
    group_fini(&g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(groups__members_are_jobs_and_their_ends_are_the_parents),
        TEST(groups__the_gateway_hears_of_members_in_the_outbox),
        TEST(groups__a_visit_hears_that_the_group_is_cut_in_another_way),
        TEST(groups__a_watched_parent_tells_its_end),
        TEST(groups__an_emptied_server_hears_of_the_group_again),
        TEST(groups__an_emptied_server_learns_from_messages_and_blobs),
        TEST(groups__a_failed_group_is_retried_with_what_it_has),
        TEST(groups__a_cancelled_group_takes_its_members_along),
        TEST(groups__blobs_are_needed_until_the_parent_has_ended),
    };

    signal(SIGPIPE, SIG_IGN);
    log_open("store-groups-driver", LOG_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
