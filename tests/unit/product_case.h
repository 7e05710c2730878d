/* SPDX-License-Identifier: Apache-2.0 */
/* product_case.h - a product as a test states it: operands of any kind, put where the kind finds them, computed by
 * matrix_run, and held against a plain loop.
 */
#ifndef MILLRACE_PRODUCT_CASE_H
#define MILLRACE_PRODUCT_CASE_H

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kinds/crew.h"
#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"
#include "kinds/matrix/philox.h"
#include "kinds/task.h"
#include "tests/unit/check.h"

/* One operand, and the value of each of its cells, row by row. */
struct given {
    struct operand operand;
    unsigned       shift; /* bytes in front of the numbers, so that they need not be aligned */
    double        *reals;
    int64_t       *wholes; /* of an integer operand */
    int            fd;     /* of its blob, or -1 */
};

struct outcome {
    enum err    err;
    char        detail[256];
    char        verified[VERIFIED_BYTES];
    enum dtype  dtype;
    uint64_t    rows, cols;
    char       *file; /* owned: the NumPy file */
    const void *numbers;
    double      progress;
};

struct run {
    struct given *a, *b;
    uint64_t      tile_m, tile_n; /* 0: no tile */
    int64_t       tile;
    bool          to_file;
    uint64_t      memory_max; /* 0: plenty */
    int           threads;    /* 0: one */
    bool          is_plain;   /* without refs */
};

static bool is_integer(enum dtype t) { return t == DTYPE_I8 || t == DTYPE_I4; }

static void put_number(const struct given *g, uint64_t cell, char *to)
{
    float   f4 = (float)g->reals[cell];
    int64_t i8 = g->wholes ? g->wholes[cell] : 0;
    int32_t i4 = (int32_t)i8;

    switch (g->operand.dtype) {
    case DTYPE_F8:
        memcpy(to, &g->reals[cell], 8);
        break;
    case DTYPE_F4:
        memcpy(to, &f4, 4);
        break;
    case DTYPE_I8:
        memcpy(to, &i8, 8);
        break;
    default:
        memcpy(to, &i4, 4);
        break;
    }
}

/* The operand's numbers as they travel. */
static void put_numbers(const struct given *g, char *to)
{
    const struct operand *o = &g->operand;

    for (uint64_t i = 0; i < o->rows; i++)
        for (uint64_t j = 0; j < o->cols; j++)
            put_number(g, i * o->cols + j,
                       to + (o->is_fortran ? j * o->rows + i : i * o->cols + j) * dtype_bytes(o->dtype));
}

static uint64_t given_bytes(const struct given *g)
{
    return g->operand.rows * g->operand.cols * dtype_bytes(g->operand.dtype);
}

/* Cells are small random values, exact in the type; random operands have theirs by definition. */
static struct given *given_new(uint64_t rows, uint64_t cols, enum dtype dtype, bool is_fortran, enum operand_at at,
                               unsigned shift)
{
    struct given *g = calloc(1, sizeof *g);

    g->operand = (struct operand){
        .rows = rows, .cols = cols, .dtype = dtype, .is_fortran = is_fortran, .at = at, .seed = rows * 31 + cols};
    g->shift = shift;
    g->fd = -1;
    g->reals = calloc(rows * cols, sizeof(double));
    if (at == OPERAND_RANDOM) {
        for (uint64_t i = 0; i < rows * cols; i++) {
            uint32_t x[4];

            philox_block((uint32_t[]){(uint32_t)i, (uint32_t)(i >> 32), 0, 0},
                         (uint32_t[]){(uint32_t)g->operand.seed, (uint32_t)(g->operand.seed >> 32)}, x);
            g->reals[i] = (double)((x[0] | (uint64_t)x[1] << 32) >> 11) / 9007199254740992.0;
        }
        return g;
    }
    g->wholes = is_integer(dtype) ? calloc(rows * cols, sizeof(int64_t)) : NULL;
    for (uint64_t i = 0; i < rows * cols; i++) {
        g->reals[i] = is_integer(dtype) ? (double)(lrand48() % 2001 - 1000) : (double)(float)(drand48() * 2 - 1);
        if (g->wholes)
            g->wholes[i] = (int64_t)g->reals[i];
    }
    return g;
}

static void given_free(struct given *g)
{
    if (g->fd >= 0)
        close(g->fd);
    free(g->reals);
    free(g->wholes);
    free(g);
}

/* Puts the operand into the body or a blob of its own; an operand in a blob has 7 bytes more behind it. */
static void place(struct given *g, char *body, size_t *body_len, struct task *task)
{
    struct operand *o = &g->operand;

    if (o->at == OPERAND_BODY) {
        o->offset = *body_len + g->shift;
        put_numbers(g, body + o->offset);
        *body_len = o->offset + given_bytes(g);
    } else if (o->at == OPERAND_BLOB) {
        uint64_t size = g->shift + given_bytes(g) + 7;
        char    *map;

        if (g->fd < 0)
            g->fd = memfd_create("operand", 0);
        assert_int_equal(ftruncate(g->fd, (off_t)size), 0);
        map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, 0);
        assert_ptr_not_equal(map, MAP_FAILED);
        put_numbers(g, map + g->shift);
        munmap(map, size);
        o->offset = g->shift;
        o->blob = task->blob_count;
        task->blob_fds[task->blob_count] = g->fd;
        task->blob_bytes[task->blob_count++] = size;
    }
}

static void set_arg(struct args *args, int i, uint64_t value)
{
    args->integer[i] = (int64_t)value;
    args->real[i] = (double)value;
}

static void take_result(struct task *task, struct outcome *o)
{
    struct npy   npy;
    struct fault why;
    size_t       need;

    assert_true(task->output_len <= task->output_max);
    assert_int_equal(npy_read_header(o->file, task->output_len, &npy, &need, &why), ERR_OK);
    assert_int_equal(npy.data_at + npy_data_bytes(&npy), task->output_len);
    assert_int_equal(npy.data_at, NPY_HEADER_BYTES);
    assert_false(npy.is_fortran);
    o->dtype = npy.dtype;
    o->rows = npy.rows;
    o->cols = npy.cols;
    o->numbers = o->file + NPY_HEADER_BYTES;
}

/* What was written is what the checksum says. */
static void take_file(struct task *task, struct outcome *o)
{
    struct checksum *sum = checksum_new();
    char             hex[CHECKSUM_BYTES];

    assert_int_equal(pread(task->output_fd, o->file, task->output_len, 0), task->output_len);
    checksum_add(sum, o->file, task->output_len);
    checksum_hex(sum, hex);
    checksum_free(sum);
    assert_string_equal(hex, task->sum);
}

static struct outcome compute(const struct run *r)
{
    uint64_t       result = NPY_HEADER_BYTES + r->a->operand.rows * r->b->operand.cols * sizeof(double);
    size_t         room = (result + 63) / 64 * 64;
    char          *body = aligned_alloc(64, (given_bytes(r->a) + given_bytes(r->b) + 256 + 63) / 64 * 64);
    struct outcome o = {.file = aligned_alloc(64, room)};
    struct buf     refs = {0};
    struct args    args;
    char          *text;
    _Atomic double progress = 0;
    struct task    task = {.args = &args,
                           .output_fd = -1,
                           .output_max = result,
                           .memory_max = r->memory_max ? r->memory_max : 1 << 30,
                           .threads = r->threads ? r->threads : 1,
                           .crew = crew_new(r->threads),
                           .progress = &progress};

    args_init(&args);
    set_arg(&args, MATRIX_M, r->a->operand.rows);
    set_arg(&args, MATRIX_K, r->a->operand.cols);
    set_arg(&args, MATRIX_N, r->b->operand.cols);
    if (r->tile_m) {
        set_arg(&args, MATRIX_TILE_M, r->tile_m);
        set_arg(&args, MATRIX_TILE_N, r->tile_n);
        set_arg(&args, MATRIX_TILE, (uint64_t)r->tile);
    }
    memset(o.file, 0x55, room);
    place(r->a, body, &task.input_len, &task);
    place(r->b, body, &task.input_len, &task);
    task.input = body;
    if (!r->is_plain)
        operands_write((struct operand[]){r->a->operand, r->b->operand}, (const char *[]){"one", "two"},
                       task.blob_count, &refs);
    task.refs = text = buf_detach(&refs);
    if (r->to_file)
        task.output_fd = memfd_create("result", 0);
    else
        task.output = o.file;
    o.err = matrix_run(&task);
    crew_free(task.crew);
    o.progress = progress;
    memcpy(o.detail, task.why.detail, sizeof o.detail);
    memcpy(o.verified, task.verified, sizeof o.verified);
    if (!o.err && r->to_file)
        take_file(&task, &o);
    if (!o.err)
        take_result(&task, &o);
    if (task.output_fd >= 0)
        close(task.output_fd);
    free(text);
    free(body);
    return o;
}

static double real_at(const struct outcome *o, uint64_t cell)
{
    return o->dtype == DTYPE_F8   ? ((const double *)o->numbers)[cell]
           : o->dtype == DTYPE_F4 ? (double)((const float *)o->numbers)[cell]
                                  : NAN;
}

static int64_t whole_at(const struct outcome *o, uint64_t cell)
{
    return o->dtype == DTYPE_I8 ? ((const int64_t *)o->numbers)[cell] : ((const int32_t *)o->numbers)[cell];
}

/* Cell (i, j) of C against a plain loop, exact or within the error bound of a dot product. */
static void expect_cell(const struct given *a, const struct given *b, uint64_t i, uint64_t j, const struct outcome *o,
                        uint64_t cell)
{
    uint64_t    k = a->operand.cols, n = b->operand.cols;
    long double sum = 0, size = 0;
    double      roundoff = o->dtype == DTYPE_F4 ? FLT_EPSILON : DBL_EPSILON;

    for (uint64_t l = 0; l < k; l++) {
        long double x = (long double)a->reals[i * k + l] * b->reals[l * n + j];

        sum += x;
        size += fabsl(x);
    }
    if (is_integer(o->dtype))
        assert_true(whole_at(o, cell) == (int64_t)sum);
    else if (!(fabsl(sum - real_at(o, cell)) <= roundoff * ((double)k + 1) * size))
        fail_msg("row %d, column %d is %.17g, not %.17Lg", (int)i, (int)j, real_at(o, cell), sum);
}

static inline void expect_product(const struct run *r)
{
    struct outcome o = compute(r);

    if (o.err)
        fail_msg("%s", o.detail);
    assert_int_equal(o.dtype, dtype_promote(r->a->operand.dtype, r->b->operand.dtype));
    assert_int_equal(o.rows, r->a->operand.rows);
    assert_int_equal(o.cols, r->b->operand.cols);
    assert_true(o.progress == 1);
    for (uint64_t i = 0; i < o.rows; i++)
        for (uint64_t j = 0; j < o.cols; j++)
            expect_cell(r->a, r->b, i, j, &o, i * o.cols + j);
    assert_memory_equal(o.verified, "{\"method\":\"freivalds\",\"probes\":2,\"bound\":", 40);
    assert_null(strstr(o.verified, "unchecked"));
    free(o.file);
}

#endif
