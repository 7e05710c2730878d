/* SPDX-License-Identifier: Apache-2.0 */
/* deliver.c - one thread does all three with each piece, small enough that the later ones find it in the cache.
 *
 * Several divide the work: the first one writes, for a file has one writer at a time; the last one sums up, since a
 * checksum is made from front to back; and whoever has nothing else to do checks. */
#include "kinds/matrix/deliver.h"

#include <stdatomic.h>

#include "kinds/crew.h"
#include "kinds/matrix/result.h"

#define PIECE_BYTES (512u << 10)

struct pass {
    const struct verify *verify;
    const char          *c;
    uint64_t             rows, line, piece; /* line: bytes of a row; piece: rows */
    struct result        result;
    _Atomic uint64_t     checked; /* rows that somebody has taken on */
    enum err             failed;  /* of the writing */
    struct fault         why;
    struct found {
        struct verdict verdict;
        enum err       failed; /* of the check */
        struct fault   why;
    } found[CREW_MAX]; /* by each part */
};

static uint64_t rows_from(const struct pass *p, uint64_t row)
{
    return p->rows - row < p->piece ? p->rows - row : p->piece;
}

static const char *numbers_at(const struct pass *p, uint64_t row) { return p->c + row * p->line; }

static void check(struct pass *p, struct found *f, uint64_t row)
{
    f->failed = verify_rows(p->verify, numbers_at(p, row), row, rows_from(p, row), &f->verdict, &f->why);
}

static void write_out(struct pass *p, uint64_t row)
{
    p->failed = result_write(&p->result, numbers_at(p, row), rows_from(p, row) * p->line, &p->why);
}

static void sum_up(struct pass *p, uint64_t row)
{
    result_sum(&p->result, numbers_at(p, row), rows_from(p, row) * p->line);
}

static void work_alone(struct pass *p, struct found *f)
{
    for (uint64_t row = 0; row < p->rows && !f->failed && !p->failed; row += p->piece) {
        check(p, f, row);
        sum_up(p, row);
        write_out(p, row);
    }
}

static void work(void *ctx, int part, int parts)
{
    struct pass  *p = ctx;
    struct found *f = &p->found[part];
    uint64_t      row;

    if (parts == 1) {
        work_alone(p, f);
        return;
    }
    for (row = 0; part == 0 && row < p->rows && !p->failed; row += p->piece)
        write_out(p, row);
    for (row = 0; part == parts - 1 && row < p->rows; row += p->piece)
        sum_up(p, row);
    while (!f->failed && (row = atomic_fetch_add_explicit(&p->checked, p->piece, memory_order_relaxed)) < p->rows)
        check(p, f, row);
}

/* A product that is wrong is worse than a disk that is full. */
static enum err conclude(struct pass *p, struct task *task, bool *is_infinite)
{
    struct verdict all = {0};
    enum err       e = ERR_OK;

    for (int i = 0; i < CREW_MAX; i++) {
        verdict_add(&all, &p->found[i].verdict);
        if (p->found[i].failed && !e) {
            e = p->found[i].failed;
            task->why = p->found[i].why;
        }
    }
    *is_infinite = all.is_infinite;
    if (!e && p->failed) {
        e = p->failed;
        task->why = p->why;
    }
    if (!e)
        verdict_describe(&all, task->verified);
    return e;
}

enum err deliver(const struct verify *v, const void *c, struct task *task, bool *is_infinite)
{
    uint64_t    line = v->region.cols * dtype_bytes(v->dtype);
    struct pass p = {.verify = v,
                     .c = c,
                     .rows = v->region.rows,
                     .line = line,
                     .piece = line < PIECE_BYTES ? PIECE_BYTES / line : 1};
    enum err    e = result_begin(&p.result, task, v->region.rows, v->region.cols, v->dtype);

    if (!e) {
        crew_run(task->crew, work, &p);
        e = conclude(&p, task, is_infinite);
    }
    result_end(&p.result);
    return e;
}
