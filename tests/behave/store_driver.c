/* SPDX-License-Identifier: Apache-2.0 */
/* store_driver.c - the store's client against a real Redis that is killed, frozen,
 * emptied, filled up and locked.
 *
 * Each test has a server of its own on a free port; redis-cli plays the operator.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/store/store.h"
#include "tests/unit/check.h"

#define KIND "hash"
#define LATE_MS 10000 /* what has not come by then does not come */

struct seen { /* what the last answer said, copied */
    int                count;
    enum store_answer  answer, all[64];
    int64_t            fence, attempt, wait_ms, epoch;
    struct record      record;
    bool               has_record;
    char               data[4096];
    size_t             data_len, item_count;
    char               item_id[JOB_ID_BYTES];
    char               item_data[1024];
};

struct bench {
    uv_loop_t      loop;
    uv_timer_t     alarm;
    struct store  *store;
    char           folder[64], url[128];
    int            port;
    pid_t          server;
    const char    *password; /* NULL: none */
    int            ups, downs, missed;
    char           ended[JOB_ID_BYTES];
    struct seen    seen;
};

/* ---- the server ---------------------------------------------------------- */

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof address;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* Runs redis-cli and returns its output, valid until the next call. */
static const char *cli(struct bench *b, const char *command)
{
    static char text[8192];
    char        line[512];
    FILE       *pipe;
    size_t      len;

    snprintf(line, sizeof line, "redis-cli -p %d %s%s %s 2>/dev/null", b->port, b->password ? "--no-auth-warning -a " : "",
             b->password ? b->password : "", command);
    pipe = popen(line, "r");
    assert_non_null(pipe);
    len = fread(text, 1, sizeof text - 1, pipe);
    pclose(pipe);
    text[len] = 0;
    return text;
}

static void server_start(struct bench *b)
{
    char    port[16];
    int64_t end = mono_ms() + LATE_MS;

    snprintf(port, sizeof port, "%d", b->port);
    b->server = fork();
    if (b->server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", b->folder,
               "--logfile", "redis.log", b->password ? "--requirepass" : NULL, b->password, NULL);
        _exit(127);
    }
    while (!strstr(cli(b, "PING"), "PONG")) {
        assert_true(mono_ms() < end);
        usleep(10000);
    }
}

static void server_kill(struct bench *b)
{
    kill(b->server, SIGKILL);
    waitpid(b->server, NULL, 0);
}

/* ---- the loop ------------------------------------------------------------ */

static void on_alarm(uv_timer_t *timer) { (void)timer; }

/* Turns the loop until *count reaches wanted. */
static void await(struct bench *b, const int *count, int wanted)
{
    int64_t end = mono_ms() + LATE_MS;

    while (*count < wanted) {
        if (mono_ms() >= end)
            fail_msg("waited too long for %d, have %d", wanted, *count);
        uv_run(&b->loop, UV_RUN_ONCE);
    }
}

static void on_answer(void *ctx, const struct store_reply *reply)
{
    struct seen *seen = ctx;

    seen->answer = seen->all[seen->count % 64] = reply->answer;
    seen->count++;
    seen->fence = reply->fence;
    seen->attempt = reply->attempt;
    seen->wait_ms = reply->wait_ms;
    seen->epoch = reply->epoch;
    seen->has_record = reply->record != NULL;
    if (reply->record)
        seen->record = *reply->record;
    seen->data_len = reply->data_len;
    if (reply->data)
        memcpy(seen->data, reply->data, reply->data_len < sizeof seen->data ? reply->data_len : sizeof seen->data);
    seen->item_count = reply->item_count;
    if (reply->item_count) {
        snprintf(seen->item_id, sizeof seen->item_id, "%s", reply->items[0].id);
        snprintf(seen->item_data, sizeof seen->item_data, "%s", (const char *)reply->items[0].data);
    }
}

/* The answer to the one call that is under way. */
static enum store_answer answer(struct bench *b)
{
    await(b, &b->seen.count, 1);
    b->seen.count = 0;
    return b->seen.answer;
}

static void on_state(void *ctx, bool is_up)
{
    struct bench *b = ctx;

    if (is_up)
        b->ups++;
    else
        b->downs++;
}

static void on_ended(void *ctx, const char *id)
{
    struct bench *b = ctx;

    snprintf(b->ended, sizeof b->ended, "%s", id);
}

static void on_missed(void *ctx) { ((struct bench *)ctx)->missed++; }

static void bench_open(struct bench *b)
{
    static const struct store_events events = {on_state, on_ended, on_missed};
    struct store_config              config = {b->url, 3600000, 15000, 3, 1};

    if (!*b->url)
        snprintf(b->url, sizeof b->url, "redis://127.0.0.1:%d/0", b->port);
    assert_int_equal(store_open(&b->loop, &config, &events, b, &b->store, NULL), ERR_OK);
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    snprintf(b->folder, sizeof b->folder, "/tmp/millrace-store-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    b->port = free_port();
    uv_loop_init(&b->loop);
    uv_timer_init(&b->loop, &b->alarm);
    uv_timer_start(&b->alarm, on_alarm, 20, 20); /* so that await sees its deadline */
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    char          command[128];

    store_close(b->store);
    uv_close((uv_handle_t *)&b->alarm, NULL);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&b->loop), 0); /* no handle was forgotten */
    if (b->server) {
        kill(b->server, SIGCONT);
        server_kill(b);
    }
    snprintf(command, sizeof command, "rm -r %s", b->folder);
    if (system(command))
        return 1;
    free(b);
    return 0;
}

static struct bench *started(void **state)
{
    struct bench *b = *state;

    server_start(b);
    bench_open(b);
    await(b, &b->ups, 1);
    return b;
}

/* ---- a job ---------------------------------------------------------------- */

static struct msg *new_msg(struct bench *b)
{
    struct msg *m = msg_new();

    job_id_new(m->id);
    job_copy_new(m->copy);
    strcpy(m->kind, KIND);
    m->epoch = store_epoch(b->store);
    m->created_ms = wall_ms();
    m->body = xstrdup("input");
    m->body_len = 5;
    return m;
}

static struct msg *pending_msg(struct bench *b)
{
    struct msg *m = new_msg(b);

    store_create(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_accept(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    return m;
}

static void claimed(struct bench *b, struct lease *l)
{
    l->owner = "host-1-1-0";
    store_claim(b->store, l, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_RUN);
}

static enum job_state state_of(struct bench *b, const struct msg *m)
{
    store_get(b->store, m->id, false, on_answer, &b->seen);
    return answer(b) == STORE_OK ? b->seen.record.state : JOB_STATE_COUNT;
}

/* ---- tests ------------------------------------------------------------------ */

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
    store_finish(b->store, &l, "a\0b", 3, "text/plain", true, on_answer, &b->seen);
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
    struct lease  l = {.msg = m, .owner = "host-1-1-0"};

    store_create(b->store, m, on_answer, &b->seen);
    store_get(b->store, m->id, false, on_answer, &b->seen);
    store_accept(b->store, m, on_answer, &b->seen);
    store_claim(b->store, &l, false, on_answer, &b->seen);
    store_claim(b->store, &l, false, on_answer, &b->seen);
    await(b, &b->seen.count, 5);
    assert_int_equal(b->seen.all[0], STORE_OK);
    assert_int_equal(b->seen.all[1], STORE_GONE);
    assert_int_equal(b->seen.all[2], STORE_OK);
    assert_int_equal(b->seen.all[3], STORE_RUN);
    assert_int_equal(b->seen.all[4], STORE_MINE);
    assert_int_equal(b->seen.fence, l.fence);
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
    store_finish(b->store, &ld, "v", 1, "t", true, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_pull(b->store, KIND, 5, "", on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_cancel(b->store, cancelled->id, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    cli(b, "FLUSHALL");
    store_finish(b->store, &lr, "w", 1, "t", false, on_answer, &b->seen);
    store_renew(b->store, &lr, 0, false, on_answer, &b->seen); /* stale now: its order was kept */
    await(b, &b->seen.count, 2);
    b->seen.count = 0;
    assert_int_equal(b->seen.all[0], STORE_OK);
    assert_int_equal(b->seen.all[1], STORE_STALE);
    assert_true(b->seen.epoch > epoch);
    assert_int_equal(b->downs, 0);
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
    store_finish(b->store, &l, "v", 1, "t", true, on_answer, &b->seen);
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

static void store__forgets_transitions_only_when_the_server_outlives_them(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};
    int64_t       end;

    claimed(b, &l);
    store_finish(b->store, &l, "v", 1, "t", true, on_answer, &b->seen);
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
    store_finish(b->store, &l, "v", 1, "t", true, on_answer, &b->seen);
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
    store_finish(b->store, &l, "v", 1, "t", false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    for (int64_t end = mono_ms() + LATE_MS; !*b->ended && mono_ms() < end;)
        uv_run(&b->loop, UV_RUN_ONCE);
    assert_string_equal(b->ended, m->id);
    cli(b, "CLIENT KILL TYPE pubsub");
    await(b, &b->missed, 2);
    assert_int_equal(b->downs, 0);
    msg_free(m);
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

static void store__a_large_message_passes_whole(void **state)
{
    struct bench *b = started(state);
    struct msg   *m = pending_msg(b);
    struct lease  l = {.msg = m};
    size_t        len = 20u << 20;
    char         *big = xmalloc(len);

    memset(big, 'x', len);
    claimed(b, &l);
    store_finish(b->store, &l, big, len, "t", false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_result(b->store, m->id, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    assert_int_equal(b->seen.data_len, len);
    free(big);
    msg_free(m);
}

static void store__a_url_that_cannot_be_read_is_refused(void **state)
{
    static const char *const bad[] = {"", "http://x", "redis://", "redis://user@h", "redis://h:0", "redis://h:x",
                                      "redis://h/x", "redis://[::1", "redis://:%zz@h", "redis://h:99999"};
    struct bench            *b = *state;
    struct fault             why;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct store_config config = {bad[i], 1, 1, 1, 1};

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
        TEST(store__forgets_transitions_only_when_the_server_outlives_them),
        TEST(store__a_lost_connection_alone_is_no_new_epoch),
        TEST(store__a_server_without_the_scripts_learns_them),
        TEST(store__a_full_server_takes_no_new_job_and_ends_old_ones),
        TEST(store__a_silent_server_is_given_up_after_three_seconds),
        TEST(store__a_server_that_may_evict_records_is_refused),
        TEST(store__watched_jobs_tell_their_end),
        TEST(store__logs_in_and_selects_the_database),
        TEST(store__closing_answers_what_is_outstanding),
        TEST(store__may_be_closed_from_inside_an_answer),
        TEST(store__a_large_message_passes_whole),
        TEST(store__a_url_that_cannot_be_read_is_refused),
    };

    signal(SIGPIPE, SIG_IGN);
    log_open("store-driver", LOG_INFO);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
