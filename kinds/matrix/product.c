/* SPDX-License-Identifier: Apache-2.0 */
/* product.c - the way of a product. */
#include "kinds/matrix/product.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kinds/matrix/blas.h"
#include "kinds/matrix/blocks.h"
#include "kinds/matrix/deliver.h"
#include "kinds/matrix/integer.h"
#include "kinds/matrix/overflow.h"
#include "kinds/matrix/result.h"
#include "kinds/matrix/source.h"
#include "kinds/matrix/verify.h"

#define HUGE_FROM (4u << 20) /* bytes of a buffer that asks for large pages: fewer faults, fewer misses */

/* What a product needs on its way. */
struct work {
    struct product *product;
    struct task    *task;
    struct source   source[2];
    bool            is_whole;  /* integers: the check looks at them as they lie */
    bool            is_wide;   /* integers that floats cannot hold */
    enum dtype      factor;    /* type of the numbers that the library multiplies */
    uint64_t        block;     /* of k */
    void           *buffer[2]; /* owned; NULL: used in place */
    void           *sums;      /* C as the library writes it */
    struct verify   verify;
};

static void *allocate(uint64_t bytes)
{
    size_t room = (size_t)(bytes + 63) / 64 * 64, page = (size_t)sysconf(_SC_PAGESIZE);
    char  *p = aligned_alloc(64, room);

    if (p && room >= HUGE_FROM) {
        char *first = p + (page - (uintptr_t)p % page) % page;

        (void)madvise(first, (size_t)(p + room - first) / page * page, MADV_HUGEPAGE); /* refused: only slower */
    }
    return p;
}

static struct region part_of(const struct work *w, int operand, uint64_t at, uint64_t block)
{
    const struct region *r = &w->product->region;

    return operand ? (struct region){.row = at, .rows = block, .col = 0, .cols = r->cols}
                   : (struct region){.row = 0, .rows = r->rows, .col = at, .cols = block};
}

/* All that the region needs of an operand, as it lies; without numbers where they are made. */
static struct view whole_view(const struct work *w, int operand)
{
    struct region all = part_of(w, operand, 0, w->product->k);

    return w->source[operand].numbers ? source_view(&w->source[operand], &all) : (struct view){.numbers = NULL};
}

static enum err open_sources(struct work *w)
{
    const struct region *r = &w->product->region;
    const struct region  needed[2] = {{.row = r->row, .rows = r->rows, .col = 0, .cols = w->product->k},
                                      {.row = 0, .rows = w->product->k, .col = r->col, .cols = r->cols}};
    enum err             e = ERR_OK;

    for (int i = 0; i < 2 && !e; i++)
        e = source_open(&w->source[i], &w->product->operands[i], &needed[i], w->task, &w->task->why);
    return e;
}

/* Which way the numbers go: as floats of one type, or as wide integers. */
static void choose_way(struct work *w)
{
    enum dtype c = w->product->dtype;

    w->is_whole = c == DTYPE_I8 || c == DTYPE_I4;
    w->factor = w->is_whole ? DTYPE_F8 : c;
    if (w->is_whole) {
        struct view a = whole_view(w, 0), b = whole_view(w, 1);

        w->is_wide = !integer_fits_floats(&a, &b);
    }
}

/* ---- memory ------------------------------------------------------------------------ */

static enum err refuse_memory(const struct work *w, const struct blocks *need)
{
    return fault_set(&w->task->why, ERR_MEMORY,
                     "%" PRIu64 " x %" PRIu64 " numbers of C take at least %" PRIu64
                     " bytes of memory; there are %" PRIu64 ": ask for smaller tiles by tile_m and tile_n",
                     need->rows, need->cols, blocks_least(need), w->task->memory_max);
}

/* Buffers, and the block of k that fits them. */
static enum err allocate_all(struct work *w)
{
    struct product *p = w->product;
    unsigned        held = w->is_wide ? (unsigned)dtype_bytes(p->dtype) : (unsigned)dtype_bytes(w->factor);
    bool            is_placed = w->task->output && held == dtype_bytes(p->dtype);
    struct blocks   need = {.rows = p->region.rows, .cols = p->region.cols, .k = p->k, .c_bytes = is_placed ? 0 : held};
    unsigned       *number_bytes[2] = {&need.a_bytes, &need.b_bytes};
    bool            is_missing = false;

    for (int i = 0; i < 2; i++)
        if (!w->is_wide && !source_is_direct(&w->source[i], w->factor))
            *number_bytes[i] = (unsigned)dtype_bytes(w->factor);
    w->block = blocks_plan(&need, w->task->memory_max);
    if (!w->block)
        return refuse_memory(w, &need);
    if (!is_placed)
        is_missing = !(p->owned = allocate(need.rows * need.cols * held));
    p->c = w->task->output ? result_place(w->task) : p->owned;
    w->sums = is_placed ? p->c : p->owned;
    for (int i = 0; i < 2; i++)
        if (*number_bytes[i])
            is_missing |= !(w->buffer[i] = allocate((i ? need.cols : need.rows) * w->block * *number_bytes[i]));
    return is_missing ? refuse_memory(w, &need)
                      : verify_open(&w->verify, &p->region, p->k, w->block, p->dtype, &w->task->why);
}

/* ---- computing ---------------------------------------------------------------------- */

static struct view factor_view(struct work *w, int operand, uint64_t at, uint64_t block)
{
    struct region part = part_of(w, operand, at, block);

    return w->buffer[operand] ? source_fill(&w->source[operand], &part, w->factor, w->buffer[operand], w->task->crew)
                              : source_view(&w->source[operand], &part);
}

/* The check looks at integers as they lie, and at floats as they were multiplied. It comes first: so the library
 * finds the numbers in the cache. */
static void take_block(struct work *w, uint64_t at, uint64_t block)
{
    struct view factor[2];

    for (int i = 0; i < 2 && !w->is_wide; i++)
        factor[i] = factor_view(w, i, at, block);
    if (w->is_whole) {
        struct region part[2] = {part_of(w, 0, at, block), part_of(w, 1, at, block)};
        struct view   a = source_view(&w->source[0], &part[0]), b = source_view(&w->source[1], &part[1]);

        verify_block(&w->verify, &a, &b);
    } else {
        verify_block(&w->verify, &factor[0], &factor[1]);
    }
    if (!w->is_wide)
        blas_multiply(&factor[0], &factor[1], w->sums, at > 0);
}

static void take_blocks(struct work *w)
{
    uint64_t k = w->product->k;

    for (uint64_t at = 0; at < k; at += w->block) {
        take_block(w, at, k - at < w->block ? k - at : w->block);
        if (!w->is_wide)
            atomic_store_explicit(w->task->progress, (double)at / (double)k, memory_order_relaxed);
    }
}

/* Makes of the sums what the product's type is, or refuses them. */
static enum err settle(struct work *w)
{
    struct product *p = w->product;
    struct view     a = whole_view(w, 0), b = whole_view(w, 1);

    if (w->is_wide)
        return integer_multiply(&a, &b, &p->region, p->dtype, p->c, w->task->progress, &w->task->why);
    if (w->is_whole)
        return integer_narrow(w->sums, &p->region, p->dtype, p->c, &w->task->why);
    return ERR_OK;
}

/* The check looks at every number anyway: what it finds infinite with good reason has overflowed, unless the operands
 * say so. Where it finds the product wrong, its infinities say nothing. */
static enum err hand_in(struct work *w)
{
    struct product *p = w->product;
    struct view     a = whole_view(w, 0), b = whole_view(w, 1);
    bool            is_infinite = false;
    enum err        e = deliver(&w->verify, p->c, w->task, &is_infinite), overflow = ERR_OK;

    if (is_infinite && e != ERR_UNVERIFIED)
        overflow = overflow_refuse(&a, &b, p->dtype, &p->region, p->c, &w->task->why);
    return overflow ? overflow : e;
}

enum err product_compute(struct product *p, struct task *task)
{
    struct work w = {.product = p, .task = task};
    enum err    e = ERR_OK;

    if (p->region.rows > INT_MAX || p->region.cols > INT_MAX)
        return fault_set(&task->why, ERR_PARAM, "a tile has at most %d rows and columns", INT_MAX);
    e = open_sources(&w);
    if (!e) {
        choose_way(&w);
        e = allocate_all(&w);
    }
    if (!e) {
        w.verify.crew = task->crew;
        blas_set_threads(task->threads);
        take_blocks(&w);
        e = settle(&w);
    }
#ifdef MILLRACE_FLIP
    if (!e)
        flip_product(p->c, p->region.rows * p->region.cols, p->dtype);
#endif
    if (!e)
        e = hand_in(&w);
    verify_close(&w.verify);
    for (int i = 0; i < 2; i++) {
        free(w.buffer[i]);
        source_close(&w.source[i]);
    }
    return e;
}

void product_close(struct product *p)
{
    free(p->owned);
    p->owned = NULL;
}
