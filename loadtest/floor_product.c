/* SPDX-License-Identifier: Apache-2.0 */
/* floor_product.c - a product with nothing around it: what the way of a large job is held against.
 *
 * Usage: floor_product json SIDE THREADS            the document that load_large sends, scanned in pieces of
 *                                                   64 KB; multiplied; the product printed
 *        floor_product npy A B DIR THREADS          both files copied into DIR by read and write; multiplied
 *        floor_product read A B THREADS             both files mapped; multiplied
 * THREADS: of the multiplication; all else is done by one. Prints one JSON line
 * with the time of each step; the memory of what comes out is touched by the
 * step that writes it, as it is in a program that runs once.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loadtest/bare.h"
#include "loadtest/text.h"
#include "loadtest/tool.h"

#define PIECE_BYTES 65536
#define SIDE_MAX 100000
#define PATH_BYTES 1024
#define WARM_SIDE 256

struct operands {
    size_t        m, k, n;
    const double *a, *b; /* borrowed */
};

/* What a run took, step by step; steps that it has not are 0. */
struct times {
    double in, multiply, out;
};

static double seconds_since(int64_t start_us) { return (double)(tool_mono_us() - start_us) / 1e6; }

static double *numbers_new(size_t count)
{
    double *p = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64);

    if (!p)
        tool_die("out of memory");
    return p;
}

/* The product is owned by the caller. */
static double *multiply(const struct operands *o, struct times *times)
{
    blasint m = (blasint)o->m, k = (blasint)o->k, n = (blasint)o->n;
    int64_t start_us = tool_mono_us();
    double *c = numbers_new(o->m * o->n);

    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0, o->a, k, o->b, n, 0.0, c, n);
    times->multiply = seconds_since(start_us);
    return c;
}

static void say(const struct operands *o, const struct times *t)
{
    printf("{\"in_seconds\":%.6f,\"multiply_seconds\":%.6f,\"out_seconds\":%.6f,\"seconds\":%.6f,\"gflops\":%.1f,"
           "\"core\":\"%s\"}\n",
           t->in, t->multiply, t->out, t->in + t->multiply + t->out,
           2e-9 * (double)o->m * (double)o->k * (double)o->n / t->multiply, openblas_get_corename());
}

static void run_json(long side)
{
    size_t          count = (size_t)side * (size_t)side, len;
    double         *numbers = numbers_new(2 * count), *c;
    struct operands o = {(size_t)side, (size_t)side, (size_t)side, numbers, numbers + count};
    struct scan     scan = {.out = numbers, .mask = SIZE_MAX};
    struct times    times = {0};
    struct text     text;
    const char     *bytes;
    int64_t         start_us;

    text_init(&text, side, side);
    start_us = tool_mono_us();
    while ((bytes = text_next(&text, PIECE_BYTES, &len)))
        scan_feed(&scan, bytes, len);
    times.in = seconds_since(start_us);
    c = multiply(&o, &times);
    start_us = tool_mono_us();
    bare_print(c, o.m, o.n);
    times.out = seconds_since(start_us);
    say(&o, &times);
    free(c);
    free(numbers);
    text_free(&text);
}

static void operands_map(struct npy files[2], char **paths, struct operands *o)
{
    npy_map(&files[0], paths[0]);
    npy_map(&files[1], paths[1]);
    if (files[0].cols != files[1].rows)
        tool_die("the operands do not chain");
    *o = (struct operands){files[0].rows, files[0].cols, files[1].cols, files[0].numbers, files[1].numbers};
}

/* dir: where the operands are copied to first, NULL: they are used where they lie. */
static void run_files(char **paths, const char *dir)
{
    static char     copies[2][PATH_BYTES];
    struct npy      files[2];
    struct operands o;
    struct times    times = {0};
    int64_t         start_us = tool_mono_us();

    for (int i = 0; i < 2 && dir; i++) {
        snprintf(copies[i], sizeof copies[i], "%s/floor-%d-%d.npy", dir, (int)getpid(), i);
        bare_copy(paths[i], copies[i], 0);
        paths[i] = copies[i];
    }
    operands_map(files, paths, &o);
    times.in = seconds_since(start_us);
    free(multiply(&o, &times));
    say(&o, &times);
    for (int i = 0; i < 2; i++) {
        npy_unmap(&files[i]);
        if (dir)
            unlink(copies[i]);
    }
}

/* A small product wakes the library's threads and gets its buffers: an executor has done so before its first job. */
static void warm_up(const char *threads)
{
    static double numbers[3][WARM_SIDE * WARM_SIDE];

    openblas_set_num_threads((int)tool_number("THREADS", threads, 1, 256));
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, WARM_SIDE, WARM_SIDE, WARM_SIDE, 1.0, numbers[0], WARM_SIDE,
                numbers[1], WARM_SIDE, 0.0, numbers[2], WARM_SIDE);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "json") == 0) {
        warm_up(argv[3]);
        run_json(tool_number("SIDE", argv[2], 1, SIDE_MAX));
    } else if (argc == 6 && strcmp(argv[1], "npy") == 0) {
        warm_up(argv[5]);
        run_files(argv + 2, argv[4]);
    } else if (argc == 5 && strcmp(argv[1], "read") == 0) {
        warm_up(argv[4]);
        run_files(argv + 2, NULL);
    } else {
        tool_die("usage: floor_product json SIDE THREADS | npy A B DIR THREADS | read A B THREADS");
    }
    return 0;
}
