/* SPDX-License-Identifier: Apache-2.0 */
/* load_submit.c - a fixed number of tiny jobs, and when the last was done.
 *
 * Usage: load_submit PORT JOBS CONNECTIONS [nowait]. Submits 2x2 matrices over
 * keep-alive connections with one request under way on each. Unless nowait, it
 * then waits on the record of the last job accepted, and asks /stats until all
 * of these jobs are counted as completed. Prints "start" when connected, and
 * one JSON line; seconds: from the first submit to the last job completed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "loadtest/client.h"
#include "loadtest/tool.h"

#define CONNECTIONS_MAX 1024
#define EVENTS_MAX 64

struct lane {
    struct client client;
    int64_t       sent_us;
};

struct load {
    int            port, epoll_fd;
    long           jobs, sent, accepted, lane_count;
    struct lane   *lanes; /* owned */
    struct samples latency;
    char           last_id[CLIENT_ID_BYTES];
};

/* ---- submitting ------------------------------------------------------------ */

static void lanes_open(struct load *l)
{
    l->lanes = calloc((size_t)l->lane_count, sizeof *l->lanes);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!l->lanes || l->epoll_fd < 0)
        tool_die("out of memory or descriptors");
    for (long i = 0; i < l->lane_count; i++) {
        struct epoll_event want = {.events = EPOLLIN, .data.ptr = &l->lanes[i]};

        client_open(&l->lanes[i].client, l->port);
        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, l->lanes[i].client.fd, &want) != 0)
            tool_die("cannot wait for a connection");
    }
}

static void submit_next(struct load *l, struct lane *lane)
{
    if (l->sent == l->jobs)
        return;
    l->sent++;
    lane->sent_us = tool_mono_us();
    client_send(&lane->client, client_matrix_request, strlen(client_matrix_request));
}

static void take_answer(struct load *l, struct lane *lane)
{
    struct answer answer;

    if (!client_read(&lane->client, &answer))
        return;
    samples_add(&l->latency, tool_mono_us() - lane->sent_us);
    client_job_id(&answer, l->last_id);
    l->accepted++;
    submit_next(l, lane);
}

static void submit_all(struct load *l)
{
    struct epoll_event events[EVENTS_MAX];

    for (long i = 0; i < l->lane_count; i++)
        submit_next(l, &l->lanes[i]);
    while (l->accepted < l->jobs) {
        int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, 30000);

        if (n == 0)
            tool_die("no answer within 30 s, %ld of %ld jobs accepted", l->accepted, l->jobs);
        for (int i = 0; i < n; i++)
            take_answer(l, events[i].data.ptr);
    }
}

/* ---- waiting ---------------------------------------------------------------- */

/* A counter of "jobs" in /stats. */
static long stats_count(struct client *c, const char *name)
{
    static const char request[] = "GET /stats HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    struct answer     answer;
    char              field[32];
    const char       *at;

    client_call(c, request, sizeof request - 1, &answer);
    at = strstr(answer.body, "\"jobs\"");
    snprintf(field, sizeof field, "\"%s\":", name);
    at = at ? strstr(at, field) : NULL;
    if (answer.status != 200 || !at)
        tool_die("/stats was answered by %d: %s", answer.status, answer.body);
    return atol(at + strlen(field));
}

/* Returns when so many jobs are completed in all. */
static void wait_completed(struct load *l, long completed)
{
    struct client *c = &l->lanes[0].client;
    struct answer  answer;
    char           request[256];
    int64_t        give_up_us = tool_mono_us() + 60000000;
    int            len;

    len = snprintf(request, sizeof request, "GET /jobs/%s?wait=60 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", l->last_id);
    client_call(c, request, (size_t)len, &answer);
    while (stats_count(c, "completed") < completed) {
        if (tool_mono_us() > give_up_us)
            tool_die("%ld of %ld jobs completed", stats_count(c, "completed"), completed);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

int main(int argc, char **argv)
{
    struct load l = {0};
    int64_t     start_us, accepted_us;
    long        completed_before;
    bool        is_waiting = argc == 4;
    double      cpu;

    if (argc != 4 && (argc != 5 || strcmp(argv[4], "nowait") != 0))
        tool_die("usage: load_submit PORT JOBS CONNECTIONS [nowait]");
    l.port = (int)tool_number("PORT", argv[1], 1, 65535);
    l.jobs = tool_number("JOBS", argv[2], 1, 100000000);
    l.lane_count = tool_number("CONNECTIONS", argv[3], 1, CONNECTIONS_MAX);
    lanes_open(&l);
    completed_before = stats_count(&l.lanes[0].client, "completed");
    puts("start");
    fflush(stdout);
    cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    submit_all(&l);
    accepted_us = tool_mono_us();
    if (is_waiting)
        wait_completed(&l, completed_before + l.jobs);
    printf("{\"jobs\":%ld,\"seconds\":%.6f,\"per_second\":%.1f,\"accept_seconds\":%.6f,\"p50_ms\":%.3f,"
           "\"p99_ms\":%.3f,\"client_cpu_seconds\":%.6f}\n",
           l.jobs, (double)(tool_mono_us() - start_us) / 1e6,
           (double)l.jobs / ((double)(tool_mono_us() - start_us) / 1e6), (double)(accepted_us - start_us) / 1e6,
           samples_ms(&l.latency, 0.5), samples_ms(&l.latency, 0.99), tool_cpu_seconds() - cpu);
    samples_free(&l.latency);
    free(l.lanes);
    return 0;
}
