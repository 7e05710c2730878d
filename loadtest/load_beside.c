/* SPDX-License-Identifier: Apache-2.0 */
/* load_beside.c - what small requests have to wait for while something large goes on.
 *
 * Usage: load_beside PORT EVERY_MS. One request each EVERY_MS on a keep-alive
 * connection: GET /healthz, GET /jobs/ID of a job of its own, and a submit of
 * two 2x2 matrices, in turns. Latency counts from when the request was due, so
 * that one late answer is charged for those it held up. Prints "start", goes
 * on until its stdin ends, and prints one JSON line.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loadtest/client.h"
#include "loadtest/tool.h"

enum call { HEALTHZ, RECORD, SUBMIT, CALLS };

static const char *const names[CALLS] = {"healthz", "record", "submit"};
static struct client     gateway;

static void make_call(enum call call, const char *id)
{
    char          request[256];
    struct answer answer;

    if (call == SUBMIT) {
        client_call(&gateway, client_matrix_request, strlen(client_matrix_request), &answer);
    } else {
        snprintf(request, sizeof request, "GET %s%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                 call == HEALTHZ ? "/healthz" : "/jobs/", call == HEALTHZ ? "" : id);
        client_call(&gateway, request, strlen(request), &answer);
    }
    if (answer.status != (call == SUBMIT ? 202 : 200))
        tool_die("%s was answered by %d: %.300s", names[call], answer.status, answer.body);
}

/* False when stdin ended before. */
static bool wait_until(int64_t due_us)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int64_t       left_us = due_us - tool_mono_us();

    return poll(&input, 1, left_us > 0 ? (int)((left_us + 999) / 1000) : 0) == 0;
}

static void say(struct samples each[CALLS], struct samples *all)
{
    printf("{\"requests\":%zu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f", all->count, samples_ms(all, 0.5),
           samples_ms(all, 0.99), samples_ms(all, 1));
    for (int i = 0; i < CALLS; i++)
        printf(",\"%s_p99_ms\":%.3f", names[i], samples_ms(&each[i], 0.99));
    puts("}");
}

int main(int argc, char **argv)
{
    struct samples each[CALLS] = {0}, all = {0};
    struct answer  answer;
    char           id[CLIENT_ID_BYTES];
    int64_t        due_us, every_us, late_us;

    if (argc != 3)
        tool_die("usage: load_beside PORT EVERY_MS");
    every_us = 1000 * tool_number("EVERY_MS", argv[2], 1, 60000);
    client_open(&gateway, (int)tool_number("PORT", argv[1], 1, 65535));
    client_call(&gateway, client_matrix_request, strlen(client_matrix_request), &answer);
    client_job_id(&answer, id);
    puts("start");
    fflush(stdout);
    due_us = tool_mono_us();
    for (int i = 0; wait_until(due_us += every_us); i++) {
        make_call(i % CALLS, id);
        late_us = tool_mono_us() - due_us;
        samples_add(&each[i % CALLS], late_us);
        samples_add(&all, late_us);
    }
    say(each, &all);
    for (int i = 0; i < CALLS; i++)
        samples_free(&each[i]);
    samples_free(&all);
    client_close(&gateway);
    return 0;
}
