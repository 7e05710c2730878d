/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - every number of rows of tiles is tried, with the columns that it needs at least and a few more; the grid
 * whose slots are through first is taken.
 *
 * The time of a tile, counted in flops: its own, what it costs to get at its input, and a little for being a job.
 * So squarish tiles are better than long ones, few better than many, and a count of tiles that is a multiple of
 * the slots better than one that leaves slots idle at the end.
 */
#include "kinds/matrix/plan.h"

#include <math.h>
#include <stdbool.h>

#define TILE_FLOPS_LEAST 1.2e10 /* below that no tile is made for the sake of the slots */
#define TILE_FLOPS_WISH 2.5e10  /* nor are there tiles for every slot when they would be smaller than that */
#define TILES_PER_SLOT 3        /* of those at least, if the product has the flops for it */
#define NUMBER_FLOPS 150.0      /* what one number of a tile's A, B or C costs: read or made, written, summed up */
#define JOB_FLOPS 2e9           /* what a job costs: its message, its records, its blob */
#define COLUMNS_TRIED 16

struct plan_task {
    uint64_t   m, k, n;
    enum dtype dtype;
    uint64_t   memory; /* bytes a tile may take */
    int        slots;
    double     tile_flops;  /* most of a tile ... */
    double     flops_least; /* ... and least */
    int64_t    least;       /* tiles there should be */
};

static uint64_t ceil_div(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

struct grid plan_grid(uint64_t m, uint64_t n, uint64_t tile_rows, uint64_t tile_cols)
{
    uint64_t down = ceil_div(m, tile_rows), across = ceil_div(n, tile_cols);
    int64_t  count;

    if (__builtin_mul_overflow(down, across, &count))
        count = INT64_MAX;
    return (struct grid){tile_rows, tile_cols, count};
}

/* a * b + c, or UINT64_MAX. */
static uint64_t add_product(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t product, sum;

    return __builtin_mul_overflow(a, b, &product) || __builtin_add_overflow(product, c, &sum) ? UINT64_MAX : sum;
}

uint64_t plan_memory(uint64_t rows, uint64_t cols, uint64_t k, enum dtype dtype)
{
    uint64_t depth = k < PLAN_DEPTH ? k : PLAN_DEPTH;
    uint64_t blocks = (rows + cols) * depth * sizeof(double);             /* sides are at most 2^31 */
    size_t   number = dtype == DTYPE_F4 ? sizeof(float) : sizeof(double); /* integers are computed as float64 */

    return add_product(rows * cols, number, blocks + PLAN_RESERVE);
}

static double flops_of(const struct plan_task *t, uint64_t rows, uint64_t cols)
{
    return 2.0 * (double)rows * (double)cols * (double)t->k;
}

static bool fits(const struct plan_task *t, const struct grid *g)
{
    return g->count <= MATRIX_TILES_MAX && g->count >= t->least &&
           plan_memory(g->tile_rows, g->tile_cols, t->k, t->dtype) <= t->memory &&
           flops_of(t, g->tile_rows, g->tile_cols) <= t->tile_flops;
}

/* The side of count even tiles, a multiple of what the kernels work in where that leaves the last tile about as
 * large as the others. */
static uint64_t even_side(uint64_t side, uint64_t count)
{
    uint64_t tile = ceil_div(side, count), unit = count == 1 ? 1 : tile > 8192 ? 64 : tile > 1024 ? 16 : 1;
    uint64_t rounded = ceil_div(tile, unit) * unit, before = (count - 1) * rounded;

    return before < side && side - before > rounded - rounded / 4 ? rounded : tile;
}

/* When the last slot is through, in flops of one. */
static double time_of(const struct plan_task *t, const struct grid *g)
{
    double rows = (double)g->tile_rows, cols = (double)g->tile_cols;
    double numbers = (rows + cols) * (double)t->k + rows * cols;
    double tile = flops_of(t, g->tile_rows, g->tile_cols) + NUMBER_FLOPS * numbers + JOB_FLOPS;

    return tile * (double)ceil_div((uint64_t)g->count, (uint64_t)t->slots);
}

/* The least number of columns of tiles that may do with tiles of so many rows. */
static uint64_t least_across(const struct plan_task *t, uint64_t tile_rows)
{
    uint64_t low = 1, high = t->n < MATRIX_TILES_MAX ? t->n : MATRIX_TILES_MAX;
    uint64_t down = ceil_div(t->m, tile_rows);

    while (low < high) { /* what fits goes on fitting, as far as memory, flops and least are concerned */
        uint64_t    middle = (low + high) / 2, cols = ceil_div(t->n, middle);
        struct grid g = {tile_rows, cols, 1};

        g.count = t->least;
        if (fits(t, &g) && (int64_t)(down * middle) >= t->least)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The best of the grids that fit; count is 0 when none does. */
static struct grid choose(const struct plan_task *t)
{
    struct grid best = {0};
    double      best_time = INFINITY;

    for (uint64_t down = 1; down <= MATRIX_TILES_MAX && down <= t->m; down++) {
        uint64_t rows = even_side(t->m, down), across = least_across(t, rows);

        for (uint64_t i = 0; i < COLUMNS_TRIED && across + i <= t->n && down * (across + i) <= MATRIX_TILES_MAX; i++) {
            struct grid g = plan_grid(t->m, t->n, rows, even_side(t->n, across + i));

            if (fits(t, &g) && flops_of(t, g.tile_rows, g.tile_cols) >= t->flops_least && time_of(t, &g) < best_time) {
                best = g;
                best_time = time_of(t, &g);
            }
        }
    }
    return best;
}

/* As small as tiles can be. */
static struct grid finest(const struct plan_task *t)
{
    uint64_t down = (uint64_t)sqrt(MATRIX_TILES_MAX), across;

    down = down < t->m ? down : t->m;
    across = MATRIX_TILES_MAX / down < t->n ? MATRIX_TILES_MAX / down : t->n;
    down = MATRIX_TILES_MAX / across < t->m ? MATRIX_TILES_MAX / across : t->m;
    return plan_grid(t->m, t->n, ceil_div(t->m, down), ceil_div(t->n, across));
}

/* How many tiles keep the slots busy without being too small for a job. */
static int64_t wish(double flops, int slots)
{
    double most = flops / TILE_FLOPS_WISH, wanted = (double)slots * TILES_PER_SLOT;

    if (slots < 2)
        return 1;
    wanted = wanted < most ? wanted : most;
    return wanted < MATRIX_TILES_MAX / 2 ? (int64_t)wanted : MATRIX_TILES_MAX / 2;
}

/* A cut into MATRIX_TILES_MAX tiles has more flops a tile than are wanted where the product is very large. */
static struct grid cut(struct plan_task *t, double flops)
{
    struct grid g = choose(t);

    if (g.count)
        return g;
    t->least = 1;
    t->flops_least = 0;
    t->tile_flops = INFINITY;
    if (!choose(t).count)
        return finest(t); /* it is the memory that does not do */
    t->tile_flops = flops / MATRIX_TILES_MAX > PLAN_TILE_FLOPS ? flops / MATRIX_TILES_MAX : PLAN_TILE_FLOPS;
    for (; !g.count; g = choose(t))
        t->tile_flops *= 1.1;
    return g;
}

struct grid plan_cut(uint64_t m, uint64_t k, uint64_t n, enum dtype dtype, const struct share *share)
{
    struct plan_task t = {.m = m,
                          .k = k,
                          .n = n,
                          .dtype = dtype,
                          .memory = share->memory_bytes,
                          .slots = share->slots,
                          .tile_flops = PLAN_TILE_FLOPS,
                          .least = 1};
    double           flops = flops_of(&t, m, n);
    bool             fits_whole = plan_memory(m, n, k, dtype) <= t.memory;

    if (fits_whole && flops <= PLAN_WHOLE_FLOPS)
        return (struct grid){m, n, 1};
    if (flops > PLAN_WHOLE_FLOPS)
        t.least = wish(flops, t.slots);
    if (fits_whole)
        t.flops_least = TILE_FLOPS_LEAST;
    return cut(&t, flops);
}
