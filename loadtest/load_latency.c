/* SPDX-License-Identifier: Apache-2.0 */
/* load_latency.c - one job at a time: submit, long-poll its result, check it.
 *
 * Usage: load_latency PORT JOBS. Prints "start" after the connection and a
 * few jobs to warm up, then one JSON line: the time from the first byte of
 * the submit to the last byte of the result.
 */
#include <stdio.h>
#include <string.h>

#include "loadtest/client.h"
#include "loadtest/tool.h"

#define WARM_UP_JOBS 50

static struct client gateway;

static void run_job(void)
{
    struct answer answer;
    char          id[CLIENT_ID_BYTES], request[256];
    int           len;

    client_call(&gateway, client_matrix_request, strlen(client_matrix_request), &answer);
    client_job_id(&answer, id);
    len = snprintf(request, sizeof request, "GET /jobs/%s/result?wait=10 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", id);
    client_call(&gateway, request, (size_t)len, &answer);
    if (answer.status != 200 || strncmp(answer.body, client_matrix_result, strlen(client_matrix_result)) != 0)
        tool_die("job %s was answered by %d: %s", id, answer.status, answer.body);
}

int main(int argc, char **argv)
{
    struct samples latency = {0};
    int64_t        start_us, job_us;
    double         cpu;
    long           jobs;

    if (argc != 3)
        tool_die("usage: load_latency PORT JOBS");
    jobs = tool_number("JOBS", argv[2], 1, 10000000);
    client_open(&gateway, (int)tool_number("PORT", argv[1], 1, 65535));
    for (int i = 0; i < WARM_UP_JOBS; i++)
        run_job();
    puts("start");
    fflush(stdout);
    cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    for (long i = 0; i < jobs; i++) {
        job_us = tool_mono_us();
        run_job();
        samples_add(&latency, tool_mono_us() - job_us);
    }
    printf("{\"jobs\":%ld,\"seconds\":%.6f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,"
           "\"client_cpu_seconds\":%.6f}\n",
           jobs, (double)(tool_mono_us() - start_us) / 1e6, samples_ms(&latency, 0.5), samples_ms(&latency, 0.99),
           samples_ms(&latency, 1), tool_cpu_seconds() - cpu);
    samples_free(&latency);
    client_close(&gateway);
    return 0;
}
