/* SPDX-License-Identifier: Apache-2.0 */
/* store_sets_driver.c - clients' groups and the list of jobs through the store's client, against a real Redis: what its
 * answers say, and what the redo ring says again to a server that was emptied. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "tests/behave/store_bench.h"
#include "tests/unit/check.h"

static void make_set(struct bench *b, char id[JOB_ID_BYTES])
{
    job_id_new(id);
    store_set_make(b->store, id, "leaves", on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
}

static enum store_answer look(struct bench *b, const char *id)
{
    store_set_get(b->store, id, false, on_answer, &b->seen);
    return answer(b);
}

static void end_one(struct bench *b, const struct msg *m)
{
    struct lease l = {.msg = m, .owner = "host-1-1-0"};

    claimed(b, &l);
    finish(b, &l, "v", 1, "t", false);
    assert_int_equal(answer(b), STORE_OK);
}

static void ends(struct bench *b, const char *id, int64_t after, bool watch)
{
    store_set_ends(b->store, id, after, 8, watch, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
}

static void sets__count_their_members_and_tell_their_ends(void **state)
{
    struct bench *b = started(state);
    char          id[JOB_ID_BYTES];
    struct msg   *first, *second;

    await(b, &b->missed, 1); /* subscribed */
    make_set(b, id);
    assert_int_equal(b->seen.set.state, SET_OPEN);
    first = member_msg(b, id);
    second = member_msg(b, id);
    ends(b, id, 0, true);
    assert_int_equal(b->seen.record_count, 0);
    end_one(b, first);
    await(b, &b->sets, 1);
    assert_string_equal(b->ended, id);
    ends(b, id, 0, false);
    assert_int_equal(b->seen.record_count, 1);
    assert_string_equal(b->seen.records[0].id, first->id);
    assert_string_equal(b->seen.records[0].set, id);
    assert_int_equal(b->seen.records[0].state, JOB_COMPLETED);
    assert_int_equal(b->seen.position, 1);
    assert_int_equal(look(b, id), STORE_OK);
    assert_int_equal(b->seen.set.accepted, 2);
    assert_int_equal(b->seen.set.jobs[JOB_PENDING], 1);
    assert_int_equal(b->seen.set.jobs[JOB_COMPLETED], 1);
    assert_int_equal(b->seen.set.ends, 1);
    store_set_cancel(b->store, id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.set.state, SET_ENDED);
    assert_int_equal(b->seen.set.jobs[JOB_CANCELLED], 1);
    assert_int_equal(state_of(b, second), JOB_CANCELLED);
    msg_free(first);
    msg_free(second);
}

static void sets__that_take_no_members_say_why(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = new_msg(b);

    job_id_new(m->group);
    store_create(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_NO_GROUP);
    assert_int_equal(look(b, m->group), STORE_GONE);
    make_set(b, m->group);
    store_set_close(b->store, m->group, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_create(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_CLOSED);
    msg_free(m);
}

static void sets__an_emptied_server_hears_of_them_again(void **state)
{
    struct bench *b = started(state);
    char          open[JOB_ID_BYTES], cancelled[JOB_ID_BYTES];
    struct msg   *done, *running, *dropped;
    struct lease  l = {.owner = "host-1-1-0"};
    int64_t       position;

    make_set(b, open);
    make_set(b, cancelled);
    done = member_msg(b, open);
    running = member_msg(b, open);
    dropped = member_msg(b, cancelled);
    end_one(b, done);
    ends(b, open, 0, false);
    position = b->seen.position;
    l.msg = running;
    claimed(b, &l);
    store_set_cancel(b->store, cancelled, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    cli(b, "FLUSHALL");
    finish(b, &l, "w", 1, "t", false);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(look(b, open), STORE_OK);
    assert_int_equal(b->seen.set.state, SET_OPEN); /* its maker said so again, in front of the members */
    assert_int_equal(b->seen.set.jobs[JOB_COMPLETED], 2);
    assert_int_equal(b->seen.set.accepted, 2);
    ends(b, open, position, false);
    assert_int_equal(b->seen.record_count, 2);
    assert_true(b->seen.position > position + 1);
    assert_int_equal(look(b, cancelled), STORE_OK);
    assert_int_equal(b->seen.set.state, SET_ENDED);
    l.msg = dropped;
    store_claim(b->store, &l, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_TERMINAL);
    assert_int_equal(state_of(b, dropped), JOB_CANCELLED);
    msg_free(done);
    msg_free(running);
    msg_free(dropped);
}

static void sets__a_message_says_how_many_attempts_its_job_has(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = new_msg(b);
    struct lease  l = {.msg = m, .owner = "host-1-1-0"};

    m->attempts_max = 7;
    store_create(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    cli(b, "FLUSHALL");
    claimed(b, &l); /* made again of the message */
    assert_int_equal(state_of(b, m), JOB_IN_PROGRESS);
    assert_int_equal(b->seen.record.max_attempts, 7);
    msg_free(m);
}

static void list__pages_have_each_job_once_the_newest_first(void **state)
{
    static const struct store_filter any = {"", "", ""}, pending = {"pending", "", ""};
    struct bench                    *b = started(state);
    struct msg                      *jobs[5];
    int64_t                          after = 0;
    char                             after_id[JOB_ID_BYTES] = "";

    for (int i = 0; i < 5; i++)
        jobs[i] = pending_msg(b);
    end_one(b, jobs[2]);
    for (int i = 4; i >= 0; i--) {
        store_list(b->store, &any, 1, after, after_id, on_answer, &b->seen);
        assert_int_equal(answer(b), STORE_OK);
        assert_int_equal(b->seen.record_count, 1);
        assert_string_equal(b->seen.records[0].id, jobs[i]->id);
        assert_string_equal(b->seen.last_id, jobs[i]->id);
        assert_int_equal(b->seen.has_more, i > 0);
        after = b->seen.position;
        memcpy(after_id, b->seen.last_id, sizeof after_id);
    }
    store_list(b->store, &pending, 8, 0, "", on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record_count, 4);
    assert_false(b->seen.has_more);
    for (int i = 0; i < 5; i++)
        msg_free(jobs[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(sets__count_their_members_and_tell_their_ends),   TEST(sets__that_take_no_members_say_why),
        TEST(sets__an_emptied_server_hears_of_them_again),     TEST(sets__a_message_says_how_many_attempts_its_job_has),
        TEST(list__pages_have_each_job_once_the_newest_first),
    };

    signal(SIGPIPE, SIG_IGN);
    log_open("store-sets-driver", LOG_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
