/* SPDX-License-Identifier: Apache-2.0 */
/* store_bench.c - the server is redis-server on a free port, redis-cli plays the operator. */
#include "tests/behave/store_bench.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/unit/check.h"

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

const char *cli(struct bench *b, const char *command)
{
    static char text[8192];
    char        line[512];
    FILE       *pipe;
    size_t      len;

    snprintf(line, sizeof line, "redis-cli -p %d %s%s %s 2>/dev/null", b->port,
             b->password ? "--no-auth-warning -a " : "", b->password ? b->password : "", command);
    pipe = popen(line, "r");
    assert_non_null(pipe);
    len = fread(text, 1, sizeof text - 1, pipe);
    pclose(pipe);
    text[len] = 0;
    return text;
}

void server_start(struct bench *b)
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

void server_kill(struct bench *b)
{
    kill(b->server, SIGKILL);
    waitpid(b->server, NULL, 0);
}

/* ---- the loop ------------------------------------------------------------ */

static void on_alarm(uv_timer_t *timer) { (void)timer; }

void await(struct bench *b, const int *count, int wanted)
{
    int64_t end = mono_ms() + LATE_MS;

    while (*count < wanted) {
        if (mono_ms() >= end)
            fail_msg("waited too long for %d, have %d", wanted, *count);
        uv_run(&b->loop, UV_RUN_ONCE);
    }
}

static void see_record(struct seen *seen, const struct record *record)
{
    seen->record = *record;
    snprintf(seen->verified, sizeof seen->verified, "%s", record->verified);
    snprintf(seen->layout, sizeof seen->layout, "%s", record->layout);
    snprintf(seen->blob, sizeof seen->blob, "%s", record->result_blob);
    snprintf(seen->detail, sizeof seen->detail, "%s", record->error_detail);
}

void on_answer(void *ctx, const struct store_reply *reply)
{
    struct seen *seen = ctx;

    seen->answer = seen->all[seen->count % 64] = reply->answer;
    seen->count++;
    seen->fence = reply->fence;
    seen->attempt = reply->attempt;
    seen->wait_ms = reply->wait_ms;
    seen->is_other_cut = reply->is_other_cut;
    seen->epoch = reply->epoch;
    seen->has_record = reply->record != NULL;
    if (reply->record)
        see_record(seen, reply->record);
    seen->fence_count = reply->fence_count;
    for (size_t i = 0; i < reply->fence_count && i < 8; i++)
        seen->fences[i] = reply->fences[i];
    seen->data_len = reply->data_len;
    if (reply->data)
        memcpy(seen->data, reply->data, reply->data_len < sizeof seen->data ? reply->data_len : sizeof seen->data);
    if (reply->set)
        seen->set = *reply->set;
    seen->record_count = reply->record_count;
    for (size_t i = 0; i < reply->record_count && i < 8; i++)
        seen->records[i] = reply->records[i];
    seen->position = reply->position;
    snprintf(seen->last_id, sizeof seen->last_id, "%s", reply->last_id ? reply->last_id : "");
    seen->has_more = reply->has_more;
    seen->item_count = reply->item_count;
    if (reply->item_count) {
        snprintf(seen->item_id, sizeof seen->item_id, "%s", reply->items[0].id);
        snprintf(seen->item_data, sizeof seen->item_data, "%s", (const char *)reply->items[0].data);
    }
}

enum store_answer answer(struct bench *b)
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

static void on_ended(void *ctx, const char *id, const struct store_reply *reply)
{
    struct bench *b = ctx;

    *b->told = 0;
    b->told_len = reply ? reply->data_len : 0;
    assert_true(b->told_len <= sizeof b->told_data);
    if (b->told_len)
        memcpy(b->told_data, reply->data, b->told_len);
    if (reply)
        snprintf(b->told, sizeof b->told, "%s %.*s", job_state_name(reply->record->state), (int)reply->data_len,
                 reply->data ? (const char *)reply->data : "");
    snprintf(b->ended, sizeof b->ended, "%s", id);
}

static void on_set(void *ctx, const char *id)
{
    struct bench *b = ctx;

    snprintf(b->ended, sizeof b->ended, "%s", id);
    b->sets++;
}

static void on_outbox(void *ctx) { ((struct bench *)ctx)->kicks++; }
static void on_missed(void *ctx) { ((struct bench *)ctx)->missed++; }

void bench_open(struct bench *b)
{
    static const struct store_events events = {
        .state = on_state, .ended = on_ended, .set = on_set, .missed = on_missed, .outbox = on_outbox};
    struct store_config config = {b->url, 3600000, 15000, 3, 1, 1 << 20, false};

    if (!*b->url)
        snprintf(b->url, sizeof b->url, "redis://127.0.0.1:%d/0", b->port);
    assert_int_equal(store_open(&b->loop, &config, &events, b, &b->store, NULL), ERR_OK);
}

int setup(void **state)
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

int teardown(void **state)
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

struct bench *started(void **state)
{
    struct bench *b = *state;

    server_start(b);
    bench_open(b);
    await(b, &b->ups, 1);
    return b;
}

/* ---- a job ---------------------------------------------------------------- */

struct msg *new_msg(struct bench *b)
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

struct msg *pending_msg(struct bench *b) { return member_msg(b, ""); }

struct msg *member_msg(struct bench *b, const char *set)
{
    struct msg *m = new_msg(b);

    snprintf(m->group, sizeof m->group, "%s", set);
    store_create(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    store_accept(b->store, m, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_OK);
    return m;
}

void claimed(struct bench *b, struct lease *l)
{
    l->owner = "host-1-1-0";
    store_claim(b->store, l, false, on_answer, &b->seen);
    assert_int_equal(answer(b), STORE_RUN);
}

enum job_state state_of(struct bench *b, const struct msg *m)
{
    store_get(b->store, m->id, false, on_answer, &b->seen);
    return answer(b) == STORE_OK ? b->seen.record.state : JOB_STATE_COUNT;
}

void finish(struct bench *b, const struct lease *l, const void *bytes, size_t len, const char *content_type,
            bool with_pull)
{
    struct store_result result = {.bytes = bytes,
                                  .blob = "",
                                  .size = (int64_t)len,
                                  .content_type = content_type,
                                  .verified = "",
                                  .with_pull = with_pull};

    store_finish(b->store, l, &result, on_answer, &b->seen);
}
