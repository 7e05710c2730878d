/* SPDX-License-Identifier: Apache-2.0 */
/* test_plan.c - the cut of products into tiles: what holds for every one, and what some should be. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/blocks.h"
#include "kinds/matrix/plan.h"
#include "tests/unit/check.h"

#define MIB (1ull << 20)

/* A small generator: the same shapes in every run. */
static uint64_t dice_state = 88172645463325252ull;

static uint64_t dice(void)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    return dice_state ^= dice_state << 17;
}

/* From 1 to most, small ones as often as large ones. */
static uint64_t dice_side(uint64_t most)
{
    double u = (double)(dice() % 1000000) / 1e6;

    return (uint64_t)exp(u * log((double)most + 0.5));
}

/* Every cell of C lies in exactly one tile: tiles of a row of tiles share their rows, and so on, so it is enough
 * that the intervals follow one another from 0 to the side. */
static void expect_partition(uint64_t m, uint64_t n, const struct grid *g)
{
    struct args args;
    uint64_t    across = (n + g->tile_cols - 1) / g->tile_cols, row = 0;

    args_init(&args);
    args.integer[MATRIX_M] = (int64_t)m;
    args.integer[MATRIX_N] = (int64_t)n;
    args.integer[MATRIX_TILE_M] = (int64_t)g->tile_rows;
    args.integer[MATRIX_TILE_N] = (int64_t)g->tile_cols;
    assert_int_equal(g->count % (int64_t)across, 0);
    for (int64_t tile = 0; tile < g->count;) {
        uint64_t col = 0, rows = 0;

        for (uint64_t i = 0; i < across; i++, tile++) {
            struct region r;

            args.integer[MATRIX_TILE] = tile;
            args.real[MATRIX_TILE] = (double)tile;
            r = matrix_region(&args);
            assert_true(r.row == row && r.col == col && r.rows && r.cols);
            assert_true(r.rows <= g->tile_rows && r.cols <= g->tile_cols && (!i || r.rows == rows));
            rows = r.rows;
            col += r.cols;
        }
        assert_true(col == n);
        row += rows;
    }
    assert_true(row == m);
}

/* Whether tiles of C can be small enough at all, with room for uneven ends. */
static bool is_possible(uint64_t m, uint64_t k, uint64_t n, enum dtype dtype, uint64_t memory)
{
    uint64_t down = m < 64 ? m : 64, across = n < 4096 / down ? n : 4096 / down;

    return plan_memory(m / down + 1, n / across + 1, k, dtype) <= memory;
}

static void plan__any_product_is_covered_within_its_bounds(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        uint64_t           m = dice_side(200000), k = dice_side(200000), n = dice_side(200000);
        enum dtype         dtype = (enum dtype)(dice() % DTYPE_COUNT);
        const struct share share = {64 * MIB + dice_side(16384) * MIB, (int)dice_side(500)};
        struct grid        g = plan_cut(m, k, n, dtype, &share);

        assert_in_range(g.count, 1, MATRIX_TILES_MAX);
        assert_true(g.tile_rows >= 1 && g.tile_cols >= 1);
        expect_partition(m, n, &g);
        if (plan_memory(g.tile_rows, g.tile_cols, k, dtype) > share.memory_bytes &&
            is_possible(m, k, n, dtype, share.memory_bytes))
            fail_msg("%llu x %llu x %llu does not fit: %llu x %llu in %llu", (ull)m, (ull)k, (ull)n, (ull)g.tile_rows,
                     (ull)g.tile_cols, (ull)share.memory_bytes);
    }
}

static void plan__what_run_takes_for_a_tile_fits_too(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        uint64_t           m = dice_side(200000), k = dice_side(200000), n = dice_side(200000);
        const struct share share = {512 * MIB + dice_side(4096) * MIB, (int)dice_side(50)};
        struct grid        g = plan_cut(m, k, n, DTYPE_F8, &share);
        struct blocks      need = {g.tile_rows, g.tile_cols, k, 8, 8, 8}; /* both operands made or converted */
        uint64_t           memory = share.memory_bytes - PLAN_RESERVE / 2;
        uint64_t           block = blocks_plan(&need, memory), wanted = blocks_plan(&need, UINT64_MAX);

        if (block < (wanted < PLAN_DEPTH ? wanted : PLAN_DEPTH))
            fail_msg("%llu x %llu x %llu: tiles of %llu x %llu get blocks of %llu in %llu bytes", (ull)m, (ull)k,
                     (ull)n, (ull)g.tile_rows, (ull)g.tile_cols, (ull)block, (ull)memory);
        assert_true(blocks_bytes(&need, block) <= memory);
    }
}

static void plan__tiles_have_the_flops_of_a_job(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        uint64_t           m = dice_side(200000), k = dice_side(200000), n = dice_side(200000);
        const struct share share = {4096 * MIB, (int)dice_side(100)};
        struct grid        g = plan_cut(m, k, n, DTYPE_F8, &share);
        double             tile = 2.0 * (double)g.tile_rows * (double)g.tile_cols * (double)k;
        double             whole = 2.0 * (double)m * (double)k * (double)n;

        if (whole <= PLAN_WHOLE_FLOPS && plan_memory(m, n, k, DTYPE_F8) <= share.memory_bytes)
            assert_int_equal(g.count, 1);
        if (whole > PLAN_TILE_FLOPS && (m > 1 || n > 1))
            assert_true(g.count > 1);
        if (m * n > 100 * MATRIX_TILES_MAX) /* otherwise a tile may be a few cells of a long k */
            assert_true(tile <= PLAN_TILE_FLOPS || tile <= 2 * whole / MATRIX_TILES_MAX);
    }
}

/* The last tile of a side is no sliver. */
static bool is_even(uint64_t side, uint64_t tile)
{
    uint64_t last = side % tile ? side % tile : tile;

    return last * 2 >= tile;
}

static void plan__tiles_are_even_and_squarish(void **state)
{
    (void)state;
    for (int round = 0; round < 1000; round++) {
        uint64_t           side = 8000 + dice() % 192000;
        const struct share share = {(512 + dice() % 4096) * MIB, 1 + (int)(dice() % 40)};
        struct grid        g = plan_cut(side, side, side, DTYPE_F8, &share);

        assert_true(is_even(side, g.tile_rows) && is_even(side, g.tile_cols));
        assert_true(g.tile_rows <= 8 * g.tile_cols && g.tile_cols <= 8 * g.tile_rows);
    }
}

static struct grid cut_square(uint64_t side, uint64_t memory, int slots)
{
    return plan_cut(side, side, side, DTYPE_F8, &(struct share){memory, slots});
}

static void plan__known_products_get_sensible_tiles(void **state)
{
    struct grid g;

    (void)state;
    assert_int_equal(cut_square(2000, 4096 * MIB, 64).count, 1);
    assert_int_equal(cut_square(3600, 4096 * MIB, 64).count, 1);
    g = cut_square(10000, 4096 * MIB, 2);
    assert_in_range(g.count, 8, 10);
    assert_int_equal(g.count % 2, 0);
    assert_in_range(cut_square(10000, 4096 * MIB, 1).count, 8, 10);
    assert_in_range(cut_square(10000, 4096 * MIB, 16).count, 48, 64);
    g = cut_square(20000, 512 * MIB, 2);
    assert_true(plan_memory(g.tile_rows, g.tile_cols, 20000, DTYPE_F8) <= 512 * MIB);
    assert_in_range(g.count, 62, 80);
    g = cut_square(100000, 512 * MIB, 2);
    assert_in_range(g.count, 3000, MATRIX_TILES_MAX);
    assert_true(plan_memory(g.tile_rows, g.tile_cols, 100000, DTYPE_F8) <= 512 * MIB);
}

static void plan__memory_alone_may_cut(void **state)
{
    struct grid g = plan_cut(100000, 1, 10000, DTYPE_F8, &(struct share){512 * MIB, 4});

    (void)state;
    assert_in_range(g.count, 16, 40);
    g = plan_cut(100000, 1, 10000, DTYPE_F4, &(struct share){512 * MIB, 4});
    assert_in_range(g.count, 8, 20);
    g = plan_cut(200000, 200000, 200000, DTYPE_F8, &(struct share){64 * MIB, 4}); /* cannot be */
    assert_int_equal(g.count, MATRIX_TILES_MAX);
}

static void plan__a_grid_counts_its_tiles(void **state)
{
    (void)state;
    assert_int_equal(plan_grid(10, 20, 3, 7).count, 12);
    assert_int_equal(plan_grid(10, 20, 10, 20).count, 1);
    assert_int_equal(plan_grid(10, 20, 1000, 2000).count, 1);
    assert_true(plan_grid(1ull << 31, 1ull << 31, 1, 1).count == 1ll << 62);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan__any_product_is_covered_within_its_bounds),
        cmocka_unit_test(plan__what_run_takes_for_a_tile_fits_too),
        cmocka_unit_test(plan__tiles_have_the_flops_of_a_job),
        cmocka_unit_test(plan__tiles_are_even_and_squarish),
        cmocka_unit_test(plan__known_products_get_sensible_tiles),
        cmocka_unit_test(plan__memory_alone_may_cut),
        cmocka_unit_test(plan__a_grid_counts_its_tiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
