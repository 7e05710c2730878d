/* SPDX-License-Identifier: Apache-2.0 */
/* store_driver.c - the store's client against a real Redis that is killed, frozen,
 * emptied, filled up and locked. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "tests/behave/store_bench.h"
#include "tests/unit/check.h"

static void store__a_job_lives_from_create_to_pull(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};

    claimed(b, &l);
    assert_int_equal(l.attempt, 1);
    assert_int_equal(l.claim_epoch, store_epoch(b->store));
    assert_true(l.fence > 0 && l.started_ms > 0);
    store_renew(b->store, &l, 0.5, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_get(b->store, m->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record.state, JOB_IN_PROGRESS);
    assert_true(b->seen.record.progress == 0.5);
    assert_int_equal(b->seen.record.created_ms, m->created_ms);
    assert_int_equal(b->seen.record.max_attempts, 3);
    assert_int_equal(b->seen.record.result_bytes, -1);
    finish(b, &l, "a\0b", 3, "text/plain", true);
    assert_int_equal(answer(b), STORE_OK);
    store_result(b->store, m->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.data_len, 3);
    assert_memory_equal(b->seen.data, "a\0b", 3);
    assert_int_equal(b->seen.record.result_bytes, 3);
    store_pull(b->store, KIND, 5, "", on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.item_count, 1);
    assert_string_equal(b->seen.item_id, m->id);
    store_stats(b->store, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    b->seen.data[b->seen.data_len] = 0;
    assert_non_null(strstr(b->seen.data, "\"completed\":1"));
    msg_free(m);
}

static void store__answers_come_in_the_order_of_the_calls(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = new_msg(b);
    struct lease  l = {.msg = m, .owner = "host-1-1-0"}, again = l;

    store_create(b->store, m, on_answer, &b->seen);
    store_get(b->store, m->id, false, on_answer, &b->seen);
    store_accept(b->store, m, on_answer, &b->seen);
    store_claim(b->store, &l, false, on_answer, &b->seen);
    store_claim(b->store, &again, false, on_answer, &b->seen);
    await(b, &b->seen.count, 5);
    assert_int_equal(b->seen.all[0], STORE_OK);
    assert_int_equal(b->seen.all[1], STORE_GONE);
    assert_int_equal(b->seen.all[2], STORE_OK);
    assert_int_equal(b->seen.all[3], STORE_RUN);
    assert_int_equal(b->seen.all[4], STORE_MINE);
    assert_int_equal(again.fence, l.fence);
    assert_int_equal(again.attempt, 1);
    assert_true(again.started_ms > 0 && again.started_ms == l.started_ms);
    assert_int_equal(again.claim_epoch, l.claim_epoch);
    msg_free(m);
}

static void store__idempotency_names_the_first_job(void **state)
{
    struct bench *b = started(state);
    struct msg   *first = new_msg(b), *second = new_msg(b);

    strcpy(first->idempotency, "key");
    strcpy(first->digest, "d1");
    strcpy(second->idempotency, "key");
    strcpy(second->digest, "d1");
    store_create(b->store, first, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_create(b->store, second, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_EXISTS);
    assert_string_equal(b->seen.record.id, first->id);
    assert_string_equal(b->seen.record.kind, KIND);
    assert_int_equal(b->seen.record.state, JOB_UNCONFIRMED);
    strcpy(second->digest, "d2");
    store_create(b->store, second, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_MISMATCH);
    msg_free(first);
    msg_free(second);
}

static void store__a_job_lost_too_often_keeps_the_whole_message(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m}, other = {.msg = m, .owner = "host-2-1-0"};

    claimed(b, &l);
    store_claim(b->store, &other, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_ASK);
    store_claim(b->store, &other, true, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_RUN);
    store_claim(b->store, &l, true, on_answer, &b->seen); /* losses_max is 1 */
    assert_int_equal(answer(b), STORE_TERMINAL);
    store_get(b->store, m->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record.state, JOB_FAILED);
    assert_true(b->seen.record.has_input);
    store_retry(b->store, m->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record.state, JOB_PENDING);
    store_outbox_take(b->store, 10, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.item_count, 1);
    assert_non_null(strstr(b->seen.item_data, "\ninput"));
    store_outbox_done(b->store, m->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_string_equal(cli(b, "ZCARD outbox"), "0\n");
    msg_free(m);
}

static void store__failures_follow_the_class_of_the_error(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};
    struct fault  why = {ERR_TIMEOUT, "too slow"};

    claimed(b, &l);
    store_fail(b->store, &l, &why, 60000, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_RETRYING);
    store_claim(b->store, &l, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_LATER);
    assert_in_range(b->seen.wait_ms, 59000, 60000);
    store_cancel(b->store, m->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.record.state, JOB_CANCELLED);
    store_fail(b->store, &l, &why, 1000, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_CANCELLED);
    store_retry(b->store, m->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_REFUSED);
    assert_int_equal(b->seen.record.state, JOB_CANCELLED);
    msg_free(m);
}

static void store__tells_at_once_that_there_is_no_server_and_connects_when_it_comes(void **state)
{
    struct bench *b = *state;
    struct msg   *m;

    bench_open(b);
    m = new_msg(b);
    store_create(b->store, m, on_answer, &b->seen);
    assert_int_equal(b->seen.count, 0); /* never from inside the call */
    assert_int_equal(answer(b), STORE_DOWN);
    assert_false(store_is_up(b->store));
    server_start(b);
    await(b, &b->ups, 1);
    store_create(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    msg_free(m);
}

static void store__an_emptied_server_is_a_new_epoch_within_the_call(void **state)
{
    struct bench *b = started(state);
    struct msg   *done = pending_msg(b), *running = pending_msg(b), *cancelled = pending_msg(b);
    struct lease  ld = {.msg = done}, lr = {.msg = running}, lc = {.msg = cancelled, .owner = "host-1-1-0"};
    int64_t       epoch = store_epoch(b->store);

    claimed(b, &ld);
    claimed(b, &lr);
    finish(b, &ld, "v", 1, "t", true);
    assert_int_equal(answer(b), STORE_OK);
    store_pull(b->store, KIND, 5, "", on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_cancel(b->store, cancelled->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    cli(b, "FLUSHALL");
    finish(b, &lr, "w", 1, "t", false);
    store_renew(b->store, &lr, 0, false, on_answer, &b->seen); /* stale now: its order was kept */
    await(b, &b->seen.count, 2);
    b->seen.count = 0;
    assert_int_equal(b->seen.all[0], STORE_OK);
    assert_int_equal(b->seen.all[1], STORE_STALE);
    assert_true(b->seen.epoch > epoch);
    assert_int_equal(b->downs, 0);
    assert_int_equal(b->ups, 2); /* the boot is told, although the connection stood */
    assert_int_equal(state_of(b, done), JOB_COMPLETED);
    assert_int_equal(state_of(b, running), JOB_COMPLETED);
    assert_int_equal(state_of(b, cancelled), JOB_CANCELLED);
    store_claim(b->store, &lc, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_TERMINAL);
    store_pull(b->store, KIND, 5, "", on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.item_count, 0); /* handed out before the loss */
    msg_free(done);
    msg_free(running);
    msg_free(cancelled);
}

static void store__a_server_that_lost_its_memory_hears_the_last_seconds_again(void **state)
{
    struct bench *b = started(state);
    struct msg   *done = pending_msg(b), *boxed = new_msg(b);
    struct lease  l = {.msg = done};

    claimed(b, &l);
    finish(b, &l, "v", 1, "t", true);
    assert_int_equal(answer(b), STORE_OK);
    store_create(b->store, boxed, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_outbox(b->store, boxed, 1000000, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    server_kill(b);
    await(b, &b->downs, 1);
    store_get(b->store, done->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_DOWN);
    server_start(b);
    await(b, &b->ups, 2);
    assert_int_equal(state_of(b, done), JOB_COMPLETED);
    assert_int_equal(state_of(b, boxed), JOB_PENDING);
    store_outbox_take(b->store, 10, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.item_count, 1);
    msg_free(done);
    msg_free(boxed);
}

/* The server comes back as it was at its last SAVE. */
static void roll_back(struct bench *b)
{
    int ups = b->ups;

    server_kill(b);
    await(b, &b->downs, 1);
    server_start(b);
    await(b, &b->ups, ups + 1);
}

static void store__a_finish_said_again_beats_a_newer_claim(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};
    char          command[128];

    claimed(b, &l);
    snprintf(command, sizeof command, "HSET job:%s owner w2 fence %lld", m->id, (long long)l.fence + 1000000000);
    cli(b, command); /* as if another had claimed it by the time of our replay */
    cli(b, "SAVE");
    snprintf(command, sizeof command, "HSET job:%s owner %s fence %lld", m->id, l.owner, (long long)l.fence);
    cli(b, command);
    finish(b, &l, "v", 1, "t", true);
    assert_int_equal(answer(b), STORE_OK);
    roll_back(b);
    assert_int_equal(state_of(b, m), JOB_COMPLETED);
    assert_int_equal(b->seen.record.fence, l.fence);
    msg_free(m);
}

static void store__a_job_that_its_claim_ended_stays_ended(void **state)
{
    struct bench *b = started(state);
    struct msg   *lost = pending_msg(b), *late = new_msg(b);
    struct lease  l = {.msg = lost}, other = {.msg = lost, .owner = "host-2-1-0"};
    struct lease  ll = {.msg = late, .owner = "host-2-1-0"};
    int64_t       started_ms;

    late->deadline_ms = wall_ms() - 1;
    store_create(b->store, late, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    claimed(b, &l);
    started_ms = l.started_ms;
    store_claim(b->store, &other, true, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_RUN);
    cli(b, "SAVE");
    store_claim(b->store, &l, true, on_answer, &b->seen); /* losses_max is 1 */
    assert_int_equal(answer(b), STORE_TERMINAL);
    store_claim(b->store, &ll, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_TERMINAL);
    roll_back(b);
    assert_int_equal(state_of(b, lost), JOB_FAILED);
    assert_int_equal(b->seen.record.attempt, 2);
    assert_true(b->seen.record.has_input && b->seen.record.started_ms >= started_ms);
    assert_int_equal(state_of(b, late), JOB_FAILED);
    assert_int_equal(b->seen.record.started_ms, 0);
    cli(b, "FLUSHALL");
    assert_int_equal(state_of(b, lost), JOB_FAILED);
    assert_int_equal(state_of(b, late), JOB_FAILED);
    msg_free(lost);
    msg_free(late);
}

static void store__a_last_failure_is_said_again_as_the_last(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};
    struct fault  why = {ERR_EXECUTOR, "killed"};
    char          command[128];

    claimed(b, &l);
    cli(b, "SAVE");
    snprintf(command, sizeof command, "HSET job:%s losses 1", m->id);
    cli(b, command); /* a loss that Redis will forget */
    store_fail(b->store, &l, &why, 0, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_FAILED);
    roll_back(b);
    assert_int_equal(state_of(b, m), JOB_FAILED);
    assert_int_equal(b->seen.record.losses, 1);
    msg_free(m);
}

static void store__forgets_transitions_only_when_the_server_outlives_them(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};
    int64_t       end;

    claimed(b, &l);
    finish(b, &l, "v", 1, "t", true);
    assert_int_equal(answer(b), STORE_OK);
    for (end = mono_ms() + 7500; mono_ms() < end;) /* the time is the subject here */
        uv_run(&b->loop, UV_RUN_ONCE);
    cli(b, "FLUSHALL");
    assert_int_equal(state_of(b, m), JOB_STATE_COUNT);
    msg_free(m);
}

static void store__a_lost_connection_alone_is_no_new_epoch(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    int64_t       epoch = store_epoch(b->store);

    cli(b, "CLIENT KILL TYPE normal");
    await(b, &b->ups, 2);
    assert_int_equal(store_epoch(b->store), epoch);
    assert_int_equal(state_of(b, m), JOB_PENDING);
    msg_free(m);
}

static void store__a_server_without_the_scripts_learns_them(void **state)
{
    struct bench *b = started(state);
    struct msg   *m;

    cli(b, "SCRIPT FLUSH");
    m = pending_msg(b);
    assert_int_equal(state_of(b, m), JOB_PENDING);
    cli(b, "SCRIPT FLUSH");
    cli(b, "FLUSHALL");
    assert_int_equal(state_of(b, m), JOB_STATE_COUNT);
    msg_free(m);
}

static void store__a_full_server_takes_no_new_job_and_ends_old_ones(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b), *more = new_msg(b);
    struct lease  l = {.msg = m};

    cli(b, "CONFIG SET maxmemory 1");
    store_create(b->store, more, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_FULL);
    claimed(b, &l);
    finish(b, &l, "v", 1, "t", true);
    assert_int_equal(answer(b), STORE_OK);
    msg_free(m);
    msg_free(more);
}

static void store__a_silent_server_is_given_up_after_three_seconds(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    int64_t       began = mono_ms();

    kill(b->server, SIGSTOP);
    store_get(b->store, m->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_DOWN);
    assert_in_range(mono_ms() - began, 2900, 4500);
    store_get(b->store, m->id, false, on_answer, &b->seen);
    began = mono_ms();
    assert_int_equal(answer(b), STORE_DOWN);
    assert_in_range(mono_ms() - began, 0, 100);
    kill(b->server, SIGCONT);
    await(b, &b->ups, 2);
    assert_int_equal(state_of(b, m), JOB_PENDING);
    msg_free(m);
}

static void store__a_server_that_may_evict_records_is_refused(void **state)
{
    struct bench *b = *state;

    server_start(b);
    cli(b, "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru");
    bench_open(b);
    for (int64_t end = mono_ms() + 500; mono_ms() < end;)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_false(store_is_up(b->store));
    cli(b, "CONFIG SET maxmemory-policy noeviction");
    await(b, &b->ups, 1);
}

static void store__watched_jobs_tell_their_end(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};

    await(b, &b->missed, 1);
    store_get(b->store, m->id, true, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    claimed(b, &l);
    finish(b, &l, "v", 1, "t", false);
    assert_int_equal(answer(b), STORE_OK);
    for (int64_t end = mono_ms() + LATE_MS; !*b->ended && mono_ms() < end;)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_string_equal(b->ended, m->id);
    assert_string_equal(b->told, "completed v");
    cli(b, "CLIENT KILL TYPE pubsub");
    await(b, &b->missed, 2);
    assert_int_equal(b->downs, 0);
    msg_free(m);
}

/* Tells the end of a job with this result, and compares what is told with it. */
static void tell_result(struct bench *b, const char *bytes, size_t len)
{
    struct msg  *m = pending_msg(b);
    struct lease l = {.msg = m};

    *b->ended = 0;
    store_get(b->store, m->id, true, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    claimed(b, &l);
    finish(b, &l, bytes, len, "application/octet-stream", false);
    assert_int_equal(answer(b), STORE_OK);
    for (int64_t end = mono_ms() + LATE_MS; !*b->ended && mono_ms() < end;)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_string_equal(b->ended, m->id);
    assert_int_equal(b->told_len, len <= 4096 ? len : 0);
    assert_memory_equal(b->told_data, bytes, b->told_len);
    msg_free(m);
}

static void store__results_of_any_length_are_told(void **state)
{
    static const size_t lengths[] = {0, 1, 31, 32, 64, 65, 255, 256, 4095, 4096, 4097, 70000};
    struct bench       *b = started(state);
    static char         bytes[70000];

    await(b, &b->missed, 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7 % 256);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        tell_result(b, bytes, lengths[i]);
}

/* Whoever may talk to the server may publish; what cannot be read is an end to ask for. */
static void store__an_end_told_in_another_way_is_told_by_its_id(void **state)
{
    static const char *const texts[] = {"",
                                        "\\n",
                                        "\\n\\223",
                                        "\\n\\223\\241",
                                        "\\n\\335\\377\\377\\377\\377",
                                        "\\n\\333\\377\\377",
                                        "\\n\\300",
                                        "\\n\\221\\241x",
                                        "\\n\\222\\241\\061\\220",
                                        "\\n\\221\\221\\221\\220",
                                        "\\n\\222\\220\\220",
                                        "\\n\\222\\241\\061\\222\\245state\\247pending"};
    struct bench            *b = started(state);
    char                     id[JOB_ID_BYTES], command[256];

    await(b, &b->missed, 1);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        *b->ended = 0;
        strcpy(b->told, "?");
        job_id_new(id);
        snprintf(command, sizeof command, "PUBLISH millrace:ended \"$(printf '%s%s')\"", id, texts[i]);
        cli(b, command);
        for (int64_t end = mono_ms() + LATE_MS; !*b->ended && mono_ms() < end;)
            uv_run(&b->loop, UV_RUN_ONCE);
        assert_string_equal(b->ended, id);
        assert_string_equal(b->told, "");
    }
}

static void store__logs_in_and_selects_the_database(void **state)
{
    struct bench *b = *state;
    struct msg   *m;

    b->password = "se%cret";
    snprintf(b->url, sizeof b->url, "redis://:se%%25cret@localhost:%d/3", b->port);
    server_start(b);
    bench_open(b);
    await(b, &b->ups, 1);
    await(b, &b->missed, 1);
    m = pending_msg(b);
    assert_string_equal(cli(b, "-n 3 HGET count accepted:hash"), "1\n");
    msg_free(m);
}

static void store__closing_answers_what_is_outstanding(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = new_msg(b);

    for (int i = 0; i < 10; i++)
        store_create(b->store, m, on_answer, &b->seen);
    store_close(b->store);
    b->store = NULL;
    assert_int_equal(b->seen.count, 10);
    assert_int_equal(b->seen.answer, STORE_DOWN);
    msg_free(m);
}

static void close_it(void *ctx, const struct store_reply *reply)
{
    struct bench *b = ctx;
    struct store *s = b->store;

    (void)reply;
    b->store = NULL;
    store_close(s); /* answers the other two: they come here again */
    b->seen.count++;
}

static void store__may_be_closed_from_inside_an_answer(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = new_msg(b);

    for (int i = 0; i < 3; i++)
        store_create(b->store, m, close_it, b);
    await(b, &b->seen.count, 3);
    msg_free(m);
}

static void store__large_results_pass_whole_and_the_ring_stays_bounded(void **state)
{
    struct bench *b = started(state);
    struct msg   *m[2] = {pending_msg(b), pending_msg(b)};
    struct lease  l[2] = {{.msg = m[0]}, {.msg = m[1]}};
    size_t        len = 20u << 20; /* two are more than the ring keeps */
    char         *big = xmalloc(len);

    memset(big, 'x', len);
    for (int i = 0; i < 2; i++) {
        claimed(b, &l[i]);
        finish(b, &l[i], big, len, "t", false);
        assert_int_equal(answer(b), STORE_OK);
        store_result(b->store, m[i]->id, false, on_answer, &b->seen);
        assert_int_equal(answer(b), STORE_OK);
        assert_int_equal(b->seen.data_len, len);
    }
    cli(b, "FLUSHALL");
    assert_int_equal(state_of(b, m[0]), JOB_STATE_COUNT);
    assert_int_equal(state_of(b, m[1]), JOB_COMPLETED);
    free(big);
    msg_free(m[0]);
    msg_free(m[1]);
}

/* Their entries fill several blocks of the ring, and one has a block of its own. */
static void store__each_of_many_settles_is_said_again(void **state)
{
    enum { COUNT = 300, LARGE = 200 };
    struct bench *b = started(state);
    struct msg   *m[COUNT];
    size_t        len = 100000;
    char         *result = xmalloc(len);

    memset(result, 'x', len);
    for (int i = 0; i < COUNT; i++) {
        struct lease l = {.msg = m[i] = pending_msg(b)};

        claimed(b, &l);
        finish(b, &l, result, i == LARGE ? len : (size_t)i, "t", true);
        assert_int_equal(answer(b), STORE_OK);
        if (i == 0) {
            store_pull(b->store, KIND, 5, "", on_answer, &b->seen);
            assert_int_equal(answer(b), STORE_OK);
        }
    }
    cli(b, "FLUSHALL");
    for (int i = 0; i < COUNT; i++) {
        store_result(b->store, m[i]->id, false, on_answer, &b->seen);
        assert_int_equal(answer(b), STORE_OK);
        assert_int_equal(b->seen.data_len, i == LARGE ? len : (size_t)i);
        msg_free(m[i]);
    }
    for (int batch = 0; batch < 2; batch++) {
        store_pull(b->store, KIND, 1000, "", on_answer, &b->seen);
        assert_int_equal(answer(b), STORE_OK);
        assert_int_equal(b->seen.item_count, batch == 0 ? COUNT - 1 : 0);
    }
    free(result);
}

static void store__a_url_that_cannot_be_read_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "http://x",
                                      "redis://",
                                      "redis://user@h",
                                      "redis://h:0",
                                      "redis://h:x",
                                      "redis://h/x",
                                      "redis://[::1",
                                      "redis://:%zz@h",
                                      "redis://h:99999"};
    struct bench            *b = *state;
    struct fault             why;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_config config = {bad[i], 1, 1, 1, 1, 1, false};

        assert_int_equal(store_open(&b->loop, &config, NULL, NULL, &b->store, &why), ERR_CONFIG);
        assert_true(strlen(why.detail) > 10);
    }
    store_close(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(store__a_job_lives_from_create_to_pull),
        TEST(store__answers_come_in_the_order_of_the_calls),
        TEST(store__idempotency_names_the_first_job),
        TEST(store__a_job_lost_too_often_keeps_the_whole_message),
        TEST(store__failures_follow_the_class_of_the_error),
        TEST(store__tells_at_once_that_there_is_no_server_and_connects_when_it_comes),
        TEST(store__an_emptied_server_is_a_new_epoch_within_the_call),
        TEST(store__a_server_that_lost_its_memory_hears_the_last_seconds_again),
        TEST(store__a_finish_said_again_beats_a_newer_claim),
        TEST(store__a_job_that_its_claim_ended_stays_ended),
        TEST(store__a_last_failure_is_said_again_as_the_last),
        TEST(store__forgets_transitions_only_when_the_server_outlives_them),
        TEST(store__a_lost_connection_alone_is_no_new_epoch),
        TEST(store__a_server_without_the_scripts_learns_them),
        TEST(store__a_full_server_takes_no_new_job_and_ends_old_ones),
        TEST(store__a_silent_server_is_given_up_after_three_seconds),
        TEST(store__a_server_that_may_evict_records_is_refused),
        TEST(store__watched_jobs_tell_their_end),
        TEST(store__results_of_any_length_are_told),
        TEST(store__an_end_told_in_another_way_is_told_by_its_id),
        TEST(store__logs_in_and_selects_the_database),
        TEST(store__closing_answers_what_is_outstanding),
        TEST(store__may_be_closed_from_inside_an_answer),
        TEST(store__large_results_pass_whole_and_the_ring_stays_bounded),
        TEST(store__each_of_many_settles_is_said_again),
        TEST(store__a_url_that_cannot_be_read_is_refused),
    };

    signal(SIGPIPE, SIG_IGN);
    log_open("store-driver", LOG_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
