/* SPDX-License-Identifier: Apache-2.0 */
/* store_bench.h - a store on a loop, a Redis of its own, and one answer at a time. */
#ifndef MILLRACE_STORE_BENCH_H
#define MILLRACE_STORE_BENCH_H

#include "common/store/store.h"

#define KIND "hash"
#define LATE_MS 10000 /* what has not come by then does not come */

struct seen { /* what the last answer said, copied */
    int               count;
    enum store_answer answer, all[64];
    int64_t           fence, attempt, wait_ms, epoch;
    bool              is_other_cut;
    struct record     record;
    bool              has_record;
    char              verified[128], layout[64], blob[96], detail[128]; /* of the record, whose own are gone */
    int64_t           fences[8];
    size_t            fence_count;
    char              data[4096];
    size_t            data_len, item_count;
    struct store_set  set; /* its name is gone */
    struct record     records[8];
    size_t            record_count;
    int64_t           position;
    char              last_id[JOB_ID_BYTES];
    bool              has_more;
    char              item_id[JOB_ID_BYTES];
    char              item_data[1024];
};

struct bench {
    uv_loop_t     loop;
    uv_timer_t    alarm;
    struct store *store;
    char          folder[64], url[128];
    int           port;
    pid_t         server;
    const char   *password; /* NULL: none */
    int           ups, downs, missed, kicks, sets;
    char          ended[JOB_ID_BYTES];
    char          told[64];        /* with that: the state and the result of its record, "" without one */
    char          told_data[4096]; /* the result alone */
    size_t        told_len;
    struct seen   seen;
};

/* Before and after each test. A bench has no server and no store yet. */
int setup(void **state);
int teardown(void **state);

/* Runs redis-cli and returns its output, valid until the next call. */
const char *cli(struct bench *b, const char *command);

void server_start(struct bench *b);
void server_kill(struct bench *b); /* SIGKILL */

/* Opens the store on b->url, or on the server's port when that is "". */
void bench_open(struct bench *b);

/* Server and store, connected. */
struct bench *started(void **state);

/* Turns the loop until *count reaches wanted; fails the test after LATE_MS. */
void await(struct bench *b, const int *count, int wanted);

/* To be given to the store's calls with &b->seen. */
void on_answer(void *ctx, const struct store_reply *reply);

/* The answer to the one call that is under way. */
enum store_answer answer(struct bench *b);

/* A message of the store's epoch, owned; the others are of pending jobs, the last in this set. */
struct msg *new_msg(struct bench *b);
struct msg *member_msg(struct bench *b, const char *set);
struct msg *pending_msg(struct bench *b);

/* Claims l->msg, which has to succeed. */
void claimed(struct bench *b, struct lease *l);

/* JOB_STATE_COUNT when there is no record. */
enum job_state state_of(struct bench *b, const struct msg *m);

/* Finishes with a result that is no blob. */
void finish(struct bench *b, const struct lease *l, const void *bytes, size_t len, const char *content_type,
            bool with_pull);

#endif
