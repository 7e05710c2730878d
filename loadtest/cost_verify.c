/* SPDX-License-Identifier: Apache-2.0 */
/* cost_verify.c - what the check of a product takes beside the product.
 *
 * Usage: cost_verify SIDE ROUNDS. In turns, with one thread: cblas_dgemm, and
 * the executor's own check (kinds/matrix/verify.h) of what it gave. Prints one
 * JSON line with the medians.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

#include "kinds/matrix/verify.h"
#include "loadtest/tool.h"

#define SIDE_MAX 20000
#define ROUNDS_MAX 100

static double *numbers(size_t count, uint64_t state)
{
    double *p = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64);

    if (!p)
        tool_die("out of memory");
    for (size_t i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (double)(state >> 11) / 9007199254740992.0 - 0.5;
    }
    return p;
}

static struct view view_of(const double *m, uint64_t side)
{
    return (struct view){.numbers = m, .dtype = DTYPE_F8, .rows = side, .cols = side, .ld = side};
}

static void verify(uint64_t side, const double *a, const double *b, const double *c)
{
    struct region  region = {.rows = side, .cols = side};
    struct view    of_a = view_of(a, side), of_b = view_of(b, side);
    struct verify  v;
    struct verdict verdict = {0};
    struct fault   why;
    char           json[VERIFIED_BYTES];

    if (verify_open(&v, &region, side, side, DTYPE_F8, &why))
        tool_die("%s", why.detail);
    verify_block(&v, &of_a, &of_b);
    if (verify_rows(&v, c, 0, side, &verdict, &why))
        tool_die("%s", why.detail);
    verdict_describe(&verdict, json);
    verify_close(&v);
}

static void multiply(blasint side, const double *a, const double *b, double *c)
{
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, side, side, side, 1.0, a, side, b, side, 0.0, c, side);
}

int main(int argc, char **argv)
{
    struct samples products = {0}, checks = {0};
    double        *a, *b, *c;
    int64_t        at_us, done_us;
    long           side, rounds;

    if (argc != 3)
        tool_die("usage: cost_verify SIDE ROUNDS");
    side = tool_number("SIDE", argv[1], 1, SIDE_MAX);
    rounds = tool_number("ROUNDS", argv[2], 1, ROUNDS_MAX);
    openblas_set_num_threads(1);
    a = numbers((size_t)(side * side), 1);
    b = numbers((size_t)(side * side), 2);
    c = numbers((size_t)(side * side), 3);
    multiply((blasint)side, a, b, c);
    for (long i = 0; i < rounds; i++) {
        at_us = tool_mono_us();
        multiply((blasint)side, a, b, c);
        done_us = tool_mono_us();
        samples_add(&products, done_us - at_us);
        verify((uint64_t)side, a, b, c);
        samples_add(&checks, tool_mono_us() - done_us);
    }
    printf("{\"side\":%ld,\"multiply_ms\":%.3f,\"verify_ms\":%.3f}\n", side, samples_ms(&products, 0.5),
           samples_ms(&checks, 0.5));
    samples_free(&products);
    samples_free(&checks);
    free(a);
    free(b);
    free(c);
    return 0;
}
