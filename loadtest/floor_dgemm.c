/* SPDX-License-Identifier: Apache-2.0 */
/* floor_dgemm.c - cblas_dgemm again and again on the same operands.
 *
 * Usage: floor_dgemm M K N THREADS CALLS. The operands hold small integers, as
 * those of the benchmark's jobs do. Prints one JSON line.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "loadtest/tool.h"

#define SIDE_MAX 20000

static double *numbers(size_t count)
{
    double *p = aligned_alloc(64, (count * sizeof(double) + 63) / 64 * 64);

    if (!p)
        tool_die("out of memory");
    for (size_t i = 0; i < count; i++)
        p[i] = (double)(i % 10);
    return p;
}

static void multiply(const blasint side[3], const double *a, const double *b, double *c)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, side[0], side[2], side[1], 1.0, a, side[1], b, side[2], 0.0,
                c, side[2]);
}

int main(int argc, char **argv)
{
    blasint side[3]; /* m, k, n */
    double *a, *b, *c, cpu, seconds;
    int64_t start_us;
    long    calls;

    if (argc != 6)
        tool_die("usage: floor_dgemm M K N THREADS CALLS");
    for (int i = 0; i < 3; i++)
        side[i] = (blasint)tool_number("a side", argv[1 + i], 1, SIDE_MAX);
    openblas_set_num_threads((int)tool_number("THREADS", argv[4], 1, 256));
    calls = tool_number("CALLS", argv[5], 1, 1000000);
    a = numbers((size_t)side[0] * (size_t)side[1]);
    b = numbers((size_t)side[1] * (size_t)side[2]);
    c = numbers((size_t)side[0] * (size_t)side[2]);
    multiply(side, a, b, c);
    cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    for (long i = 0; i < calls; i++)
        multiply(side, a, b, c);
    seconds = (double)(tool_mono_us() - start_us) / 1e6;
    cpu = tool_cpu_seconds() - cpu;
    printf("{\"calls\":%ld,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"seconds_per_call\":%.9f,\"gflops\":%.1f,"
           "\"core\":\"%s\"}\n",
           calls, seconds, cpu, seconds / (double)calls, 2e-9 * side[0] * side[1] * side[2] * (double)calls / seconds,
           openblas_get_corename());
    free(a);
    free(b);
    free(c);
    return 0;
}
