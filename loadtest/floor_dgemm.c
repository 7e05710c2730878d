/* SPDX-License-Identifier: Apache-2.0 */
/* floor_dgemm.c - cblas_dgemm again and again on the same operands.
 *
 * Usage: floor_dgemm M K N THREADS CALLS [LIBRARY]. The operands hold small
 * integers, as those of the benchmark's jobs do. LIBRARY: another one than
 * OpenBLAS to take cblas_dgemm from, as dlopen finds it (libblis.so.4). Which
 * kernel a library takes is said by its environment: OPENBLAS_CORETYPE,
 * BLIS_ARCH_TYPE. Prints one JSON line.
 */
#include <cblas.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "loadtest/tool.h"

#define SIDE_MAX 20000

typedef void dgemm_fn(CBLAS_ORDER order, CBLAS_TRANSPOSE of_a, CBLAS_TRANSPOSE of_b, blasint m, blasint n, blasint k,
                      double alpha, const double *a, blasint lda, const double *b, blasint ldb, double beta, double *c,
                      blasint ldc);

struct library {
    void       *handle; /* NULL: OpenBLAS, which we are linked with */
    dgemm_fn   *dgemm;
    const char *core; /* the kernel it chose, by its own name; "" when it does not say */
};

static double *numbers(size_t count)
{
    double *p = aligned_alloc(64, (count * sizeof(double) + 63) / 64 * 64);

    if (!p)
        tool_die("out of memory");
    for (size_t i = 0; i < count; i++)
        p[i] = (double)(i % 10);
    return p;
}

/* DEEPBIND: another library's cblas_dgemm calls a dgemm_, and OpenBLAS has one too. */
static void library_open(struct library *l, const char *name, int threads)
{
    openblas_set_num_threads(threads);
    *l = (struct library){.dgemm = cblas_dgemm, .core = openblas_get_corename()};
    if (!name)
        return;
    l->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    l->dgemm = l->handle ? (dgemm_fn *)dlsym(l->handle, "cblas_dgemm") : NULL;
    if (!l->dgemm)
        tool_die("no cblas_dgemm: %s", dlerror());
}

/* Asks BLIS, which knows only after its first call. */
static void library_ask_core(struct library *l)
{
    int (*query)(void);
    char *(*string)(int);

    if (!l->handle)
        return;
    query = (int (*)(void))dlsym(l->handle, "bli_arch_query_id");
    string = (char *(*)(int))dlsym(l->handle, "bli_arch_string");
    l->core = query && string ? string(query()) : "";
}

static void multiply(dgemm_fn *dgemm, const blasint side[3], const double *a, const double *b, double *c)
{
    dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, side[0], side[2], side[1], 1.0, a, side[1], b, side[2], 0.0, c,
          side[2]);
}

int main(int argc, char **argv)
{
    blasint        side[3]; /* m, k, n */
    double        *a, *b, *c, cpu, seconds;
    struct library library;
    int64_t        start_us;
    long           calls, threads;

    if (argc != 6 && argc != 7)
        tool_die("usage: floor_dgemm M K N THREADS CALLS [LIBRARY]");
    for (int i = 0; i < 3; i++)
        side[i] = (blasint)tool_number("a side", argv[1 + i], 1, SIDE_MAX);
    threads = tool_number("THREADS", argv[4], 1, 256);
    calls = tool_number("CALLS", argv[5], 1, 1000000);
    if (argc == 7 && threads > 1)
        tool_die("threads are set for OpenBLAS alone");
    library_open(&library, argv[6], (int)threads);
    a = numbers((size_t)side[0] * (size_t)side[1]);
    b = numbers((size_t)side[1] * (size_t)side[2]);
    c = numbers((size_t)side[0] * (size_t)side[2]);
    multiply(library.dgemm, side, a, b, c);
    library_ask_core(&library);
    cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    for (long i = 0; i < calls; i++)
        multiply(library.dgemm, side, a, b, c);
    seconds = (double)(tool_mono_us() - start_us) / 1e6;
    cpu = tool_cpu_seconds() - cpu;
    printf("{\"calls\":%ld,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"seconds_per_call\":%.9f,\"gflops\":%.1f,"
           "\"core\":\"%s\"}\n",
           calls, seconds, cpu, seconds / (double)calls, 2e-9 * side[0] * side[1] * side[2] * (double)calls / seconds,
           library.core);
    free(a);
    free(b);
    free(c);
    return 0;
}
