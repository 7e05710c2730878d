/* SPDX-License-Identifier: Apache-2.0 */
/* test_product.c - products of operands of all kinds against a plain loop; what does not fit is refused. */
#include "kinds/matrix/blocks.h"
#include "tests/unit/product_case.h"

static const uint64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {17, 1, 9}, {1, 130, 1}, {33, 70, 29}, {8, 64, 40}};
#define SHAPES (sizeof shapes / sizeof *shapes)

/* Every pair of types and orders, in body and blob, aligned and not, to memory and to a file. */
static void product__of_all_types_orders_and_places(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++)
        for (int types = 0; types < DTYPE_COUNT * DTYPE_COUNT; types++)
            for (int form = 0; form < 64; form++) {
                uint64_t      m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
                struct given *a = given_new(m, k, types % DTYPE_COUNT, form & 1, form & 4 ? OPERAND_BLOB : OPERAND_BODY,
                                            form & 16 ? 3 : 0);
                struct given *b = given_new(k, n, types / DTYPE_COUNT, form & 2, form & 8 ? OPERAND_BLOB : OPERAND_BODY,
                                            form & 16 ? 129 : 64);

                expect_product(&(struct run){.a = a, .b = b, .to_file = form & 32});
                given_free(a);
                given_free(b);
            }
}

static void product__of_random_operands_is_that_of_the_cells_by_definition(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++)
        for (int form = 0; form < 4 * DTYPE_COUNT; form++) {
            uint64_t      m = shapes[s][0], k = shapes[s][1], n = shapes[s][2];
            enum dtype    other = form / 4;
            struct given *a = form & 1 ? given_new(m, k, DTYPE_F8, false, OPERAND_RANDOM, 0)
                                       : given_new(m, k, other, form & 2, OPERAND_BLOB, 128);
            struct given *b = form & 1 && !(form & 2) ? given_new(k, n, other, true, OPERAND_BODY, 1)
                                                      : given_new(k, n, DTYPE_F8, false, OPERAND_RANDOM, 0);

            expect_product(&(struct run){.a = a, .b = b, .to_file = form & 2});
            given_free(a);
            given_free(b);
        }
}

static void product__without_references_is_that_of_the_body(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        struct given *a = given_new(shapes[s][0], shapes[s][1], DTYPE_F8, false, OPERAND_BODY, 0);
        struct given *b = given_new(shapes[s][1], shapes[s][2], DTYPE_F8, false, OPERAND_BODY, 0);

        expect_product(&(struct run){.a = a, .b = b, .is_plain = true});
        given_free(a);
        given_free(b);
    }
}

static void product__with_two_threads(void **state)
{
    struct given *a = given_new(150, 200, DTYPE_F8, false, OPERAND_BLOB, 128);
    struct given *b = given_new(200, 170, DTYPE_F8, true, OPERAND_BLOB, 128);

    (void)state;
#if !defined(__SANITIZE_THREAD__) /* which does not know how the library's threads wait for each other */
    expect_product(&(struct run){.a = a, .b = b, .threads = 2, .to_file = true});
#endif
    expect_product(&(struct run){.a = a, .b = b});
    given_free(a);
    given_free(b);
}

/* Blocks so large that they are shared out, filled in each of the ways there are. */
static void product__of_large_blocks_is_the_work_of_a_crew(void **state)
{
    struct given *operands[][2] = {
        {given_new(401, 700, DTYPE_F8, false, OPERAND_RANDOM, 0),
         given_new(700, 203, DTYPE_F4, true, OPERAND_BLOB, 128)},
        {given_new(401, 700, DTYPE_I4, true, OPERAND_BLOB, 0), given_new(700, 203, DTYPE_I8, false, OPERAND_BLOB, 4)},
        {given_new(401, 700, DTYPE_F4, false, OPERAND_BLOB, 1), given_new(700, 203, DTYPE_F4, true, OPERAND_BLOB, 0)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
#if !defined(__SANITIZE_THREAD__)
        for (int threads = 2; threads <= 3; threads++)
            expect_product(
                &(struct run){.a = operands[i][0], .b = operands[i][1], .threads = threads, .to_file = true});
#endif
        given_free(operands[i][0]);
        given_free(operands[i][1]);
    }
}

/* ---- memory ------------------------------------------------------------------------ */

static void product__in_little_memory_takes_many_blocks(void **state)
{
    struct given *operands[][2] = {
        {given_new(40, 1000, DTYPE_F8, false, OPERAND_RANDOM, 0),
         given_new(1000, 30, DTYPE_F8, false, OPERAND_RANDOM, 0)},
        {given_new(40, 1000, DTYPE_F4, true, OPERAND_BLOB, 0), given_new(1000, 30, DTYPE_I8, false, OPERAND_BODY, 0)},
        {given_new(40, 1000, DTYPE_I4, false, OPERAND_BLOB, 0), given_new(1000, 30, DTYPE_I4, true, OPERAND_BLOB, 0)},
        {given_new(40, 1000, DTYPE_F4, false, OPERAND_BLOB, 1), given_new(1000, 30, DTYPE_F4, false, OPERAND_BLOB, 2)}};

    (void)state;
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        struct given  *a = operands[i][0], *b = operands[i][1];
        unsigned       width = i == 3 ? 4 : 8;
        struct blocks  need = {.rows = 40, .cols = 30, .k = 1000, .c_bytes = width, .a_bytes = width, .b_bytes = width};
        struct outcome o;
        char           sentence[160];

        for (uint64_t more = 0; more < 200000; more = more * 3 + 1000)
            expect_product(&(struct run){.a = a, .b = b, .to_file = true, .memory_max = blocks_least(&need) + more});
        o = compute(&(struct run){.a = a, .b = b, .to_file = true, .memory_max = blocks_least(&need) - 1});
        snprintf(sentence, sizeof sentence,
                 "40 x 30 numbers of C take at least %d bytes of memory; there are %d: ask for smaller tiles",
                 (int)blocks_least(&need), (int)blocks_least(&need) - 1);
        assert_int_equal(o.err, ERR_MEMORY);
        assert_memory_equal(o.detail, sentence, strlen(sentence));
        free(o.file);
        given_free(a);
        given_free(b);
    }
}

static void blocks__stay_within_the_memory_and_are_no_smaller_than_needed(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct blocks b = {.rows = (uint64_t)lrand48() % 200000 + 1,
                           .cols = (uint64_t)1 << lrand48() % 18,
                           .k = (uint64_t)1 << lrand48() % 31,
                           .c_bytes = (unsigned)(lrand48() % 3) * 4,
                           .a_bytes = (unsigned)(lrand48() % 3) * 4,
                           .b_bytes = (unsigned)(lrand48() % 3) * 4};
        uint64_t      memory = (uint64_t)1 << (18 + lrand48() % 20);
        uint64_t      block = blocks_plan(&b, memory);

        assert_true(block <= b.k);
        assert_int_equal(block == 0, blocks_least(&b) > memory);
        if (!block)
            continue;
        assert_true(blocks_bytes(&b, block) <= memory);
        if (block < b.k && block < 384)
            assert_true(blocks_bytes(&b, block + 1) > memory);
    }
    assert_int_equal(blocks_plan(&(struct blocks){UINT64_MAX / 2, 1u << 31, 1u << 31, 8, 8, 8}, UINT64_MAX - 1), 0);
}

/* ---- tiles --------------------------------------------------------------------------- */

static void tiles__are_the_product_in_pieces(void **state)
{
    static const uint64_t sizes[][2] = {{1, 1}, {5, 4}, {13, 3}, {7, 11}, {64, 2}, {100, 100}};
    const uint64_t        m = 23, k = 31, n = 11;

    (void)state;
    for (int form = 0; form < 8; form++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            enum dtype     dtype = form & 2 ? DTYPE_I4 : DTYPE_F8;
            struct given  *a = given_new(m, k, dtype, form & 1, form & 4 ? OPERAND_BODY : OPERAND_BLOB, 6);
            struct given  *b = form & 2 ? given_new(k, n, DTYPE_I8, !(form & 1), OPERAND_BLOB, 5)
                                        : given_new(k, n, DTYPE_F8, false, OPERAND_RANDOM, 0);
            uint64_t       tile_m = sizes[s][0], tile_n = sizes[s][1], across = (n + tile_n - 1) / tile_n;
            uint64_t       count = (m + tile_m - 1) / tile_m * across, cells = 0;
            struct run     r = {.a = a, .b = b, .tile_m = tile_m, .tile_n = tile_n, .to_file = true};
            struct outcome o;

            for (; r.tile < (int64_t)count; r.tile++) {
                uint64_t row = (uint64_t)r.tile / across * tile_m, col = (uint64_t)r.tile % across * tile_n;

                o = compute(&r);
                assert_int_equal(o.err, ERR_OK);
                for (uint64_t i = 0; i < o.rows; i++)
                    for (uint64_t j = 0; j < o.cols; j++)
                        expect_cell(a, b, row + i, col + j, &o, i * o.cols + j);
                cells += o.rows * o.cols;
                free(o.file);
            }
            assert_int_equal(cells, m * n);
            o = compute(&r);
            assert_int_equal(o.err, ERR_PARAM);
            assert_string_equal(o.detail, "the product has no such tile");
            free(o.file);
            given_free(a);
            given_free(b);
        }
}

/* ---- refusals ------------------------------------------------------------------------- */

static void expect_refusal(const struct run *r, enum err err, const char *detail)
{
    struct outcome o = compute(r);

    assert_int_equal(o.err, err);
    assert_string_equal(o.detail, detail);
    free(o.file);
}

static void product__an_operand_beyond_its_blob_is_refused(void **state)
{
    struct given  *a = given_new(9, 8, DTYPE_F8, false, OPERAND_BLOB, 8);
    struct given  *b = given_new(8, 7, DTYPE_F8, false, OPERAND_BLOB, 8);
    struct operand operands[2];
    struct buf     refs = {0};
    char          *text;
    struct args    args;
    _Atomic double progress;
    char           out[1024] __attribute__((aligned(64)));
    struct task    task = {.args = &args,
                           .output = out,
                           .output_max = sizeof out,
                           .output_fd = -1,
                           .memory_max = 1 << 20,
                           .threads = 1,
                           .progress = &progress};
    size_t         none = 0;

    (void)state;
    args_init(&args);
    set_arg(&args, MATRIX_M, 9);
    set_arg(&args, MATRIX_K, 8);
    set_arg(&args, MATRIX_N, 7);
    place(a, NULL, &none, &task);
    place(b, NULL, &none, &task);
    task.blob_bytes[1] -= 8; /* 7 spare ones, and one too few */
    operands[0] = a->operand;
    operands[1] = b->operand;
    operands_write(operands, (const char *[]){"one", "two"}, 2, &refs);
    task.refs = text = buf_detach(&refs);
    assert_int_equal(matrix_run(&task), ERR_BODY);
    assert_string_equal(task.why.detail, "an operand of 8 x 7 at byte 8 does not fit into a blob of 455 bytes");
    free(text);
    given_free(a);
    given_free(b);
}

static void product__a_full_disk_is_told(void **state)
{
    struct given  *a = given_new(9, 8, DTYPE_F8, false, OPERAND_RANDOM, 0);
    struct given  *b = given_new(8, 7, DTYPE_F8, false, OPERAND_RANDOM, 0);
    FILE          *full = fopen("/dev/full", "w"), *closed = fopen("/dev/null", "r");
    struct buf     refs = {0};
    char          *text;
    struct args    args;
    _Atomic double progress;
    struct task    task = {
           .args = &args, .output_max = 1 << 20, .memory_max = 1 << 20, .threads = 1, .progress = &progress};

    (void)state;
    assert_non_null(full);
    args_init(&args);
    set_arg(&args, MATRIX_M, 9);
    set_arg(&args, MATRIX_K, 8);
    set_arg(&args, MATRIX_N, 7);
    operands_write((struct operand[]){a->operand, b->operand}, NULL, 0, &refs);
    task.refs = text = buf_detach(&refs);
    task.output_fd = fileno(full);
    assert_int_equal(matrix_run(&task), ERR_DISK_FULL);
    assert_string_equal(task.why.detail, "no room for the product behind byte 0");
    task.output_fd = fileno(closed);
    assert_int_equal(matrix_run(&task), ERR_IO);
    assert_string_equal(task.why.detail, "writing the product at byte 0: Bad file descriptor");
    fclose(full);
    fclose(closed);
    free(text);
    given_free(a);
    given_free(b);
}

/* ---- the ends of the types -------------------------------------------------------------- */

static void overflow__of_floats_names_its_place(void **state)
{
    (void)state;
    for (int form = 0; form < 8; form++) {
        enum dtype    dtype = form & 1 ? DTYPE_F4 : DTYPE_F8;
        double        large = form & 1 ? 1e30 : 1e200;
        struct given *a = given_new(30, 20, dtype, form & 2, OPERAND_BLOB, 0);
        struct given *b = given_new(20, 25, dtype, form & 4, OPERAND_BLOB, 0);

        a->reals[17 * 20 + 3] = large;
        b->reals[3 * 25 + 11] = large;
        expect_refusal(&(struct run){.a = a, .b = b}, ERR_OVERFLOW,
                       form & 1 ? "the product overflows float32 in row 17, column 11 of C"
                                : "the product overflows float64 in row 17, column 11 of C");
        expect_refusal(&(struct run){.a = a, .b = b, .tile_m = 10, .tile_n = 10, .tile = 4, .to_file = true},
                       ERR_OVERFLOW,
                       form & 1 ? "the product overflows float32 in row 17, column 11 of C"
                                : "the product overflows float64 in row 17, column 11 of C");
        a->reals[2 * 20 + 1] = INFINITY; /* what comes in may go out, but it hides nothing */
        expect_refusal(&(struct run){.a = a, .b = b, .threads = 2}, ERR_OVERFLOW,
                       form & 1 ? "the product overflows float32 in row 17, column 11 of C"
                                : "the product overflows float64 in row 17, column 11 of C");
        given_free(a);
        given_free(b);
    }
}

static void infinities__of_the_operands_go_out_with_the_product(void **state)
{
    (void)state;
    for (int form = 0; form < 8; form++) {
        enum dtype     dtype = form & 1 ? DTYPE_F4 : DTYPE_F8;
        struct given  *a = given_new(13, 20, dtype, form & 2, OPERAND_BLOB, 0);
        struct given  *b = given_new(20, 15, dtype, form & 4, OPERAND_BLOB, 0);
        struct outcome o;

        a->reals[4 * 20 + 7] = NAN;
        a->reals[9 * 20] = -INFINITY;
        o = compute(&(struct run){.a = a, .b = b, .to_file = form & 1});
        assert_int_equal(o.err, ERR_OK);
        assert_non_null(strstr(o.verified, ",\"unchecked\":2}"));
        for (uint64_t cell = 0; cell < 13 * 15; cell++) {
            if (cell / 15 == 4)
                assert_true(isnan(real_at(&o, cell)));
            else if (cell / 15 == 9)
                assert_true(real_at(&o, cell) == (b->reals[cell % 15] > 0 ? -INFINITY : INFINITY));
            else
                expect_cell(a, b, cell / 15, cell % 15, &o, cell);
        }
        free(o.file);
        a->reals[4 * 20 + 7] = a->reals[9 * 20] = 0;
        b->reals[2 * 15 + 3] = INFINITY; /* meets every row of A */
        o = compute(&(struct run){.a = a, .b = b, .to_file = form & 1});
        assert_int_equal(o.err, ERR_OK);
        assert_string_equal(o.verified, "{\"method\":\"freivalds\",\"probes\":2,\"bound\":0,\"unchecked\":13}");
        free(o.file);
        given_free(a);
        given_free(b);
    }
}

/* Sets a whole operand; reals are what expect_cell computes with. */
static void set_whole(struct given *g, uint64_t cell, int64_t value)
{
    g->wholes[cell] = value;
    g->reals[cell] = (double)value;
}

static void integers__are_exact_to_the_last_and_refused_beyond(void **state)
{
    (void)state;
    for (int form = 0; form < 8; form++) {
        bool           is_small = form & 1;
        int64_t        top = is_small ? INT32_MAX : INT64_MAX;
        struct given  *a = given_new(40, 3, is_small ? DTYPE_I4 : DTYPE_I8, form & 2, OPERAND_BLOB, form & 4 ? 1 : 0);
        struct given  *b = given_new(3, 300, is_small ? DTYPE_I4 : DTYPE_I8, form & 4, OPERAND_BODY, 0);
        struct outcome o;

        set_whole(a, 35 * 3, top);
        set_whole(a, 35 * 3 + 1, 1);
        set_whole(a, 35 * 3 + 2, -top);
        for (uint64_t j = 0; j < 300; j++)
            for (uint64_t l = 0; l < 3; l++)
                set_whole(b, l * 300 + j, 0);
        set_whole(b, 290, 1);
        o = compute(&(struct run){.a = a, .b = b, .to_file = form & 2});
        assert_int_equal(o.err, ERR_OK);
        assert_true(whole_at(&o, 35 * 300 + 290) == top);
        assert_true(whole_at(&o, 35 * 300) == 0);
        assert_string_equal(o.verified, "{\"method\":\"freivalds\",\"probes\":2,\"bound\":0}");
        free(o.file);
        set_whole(b, 300 + 290, 1); /* one more */
        expect_refusal(&(struct run){.a = a, .b = b}, ERR_OVERFLOW,
                       is_small ? "the product overflows int32 in row 35, column 290 of C"
                                : "the product overflows int64 in row 35, column 290 of C");
        set_whole(b, 290, -1);
        set_whole(b, 300 + 290, -1); /* exactly the least number */
        o = compute(&(struct run){.a = a, .b = b, .to_file = form & 2});
        assert_int_equal(o.err, ERR_OK);
        assert_true(whole_at(&o, 35 * 300 + 290) == (is_small ? INT32_MIN : INT64_MIN));
        free(o.file);
        given_free(a);
        given_free(b);
    }
}

/* Fills a row and a column, the halves of each with one number. */
static void set_halves(struct given *g, int64_t first, int64_t second)
{
    uint64_t count = g->operand.rows * g->operand.cols;

    for (uint64_t i = 0; i < count; i++)
        set_whole(g, i, i < count / 2 ? first : second);
}

static void integers__sums_may_be_wider_than_any_type_on_the_way(void **state)
{
    struct given  *a = given_new(1, 40, DTYPE_I8, false, OPERAND_BODY, 0);
    struct given  *b = given_new(40, 1, DTYPE_I8, false, OPERAND_BODY, 0);
    struct outcome o;

    (void)state;
    set_halves(a, INT64_MIN, INT64_MAX);
    set_halves(b, 4, 4);
    o = compute(&(struct run){.a = a, .b = b});
    assert_int_equal(o.err, ERR_OK);
    assert_true(whole_at(&o, 0) == -80);
    free(o.file);
    set_halves(a, INT64_MAX, -INT64_MAX); /* up to 20 times 2^126, and back */
    set_halves(b, INT64_MAX, INT64_MAX);
    o = compute(&(struct run){.a = a, .b = b});
    assert_int_equal(o.err, ERR_OK);
    assert_true(whole_at(&o, 0) == 0);
    free(o.file);
    set_halves(a, INT64_MIN, INT64_MIN); /* 40 times 2^126 is 0 in 128 bits */
    set_halves(b, INT64_MIN, INT64_MIN);
    expect_refusal(&(struct run){.a = a, .b = b}, ERR_OVERFLOW, "the product overflows int64 in row 0, column 0 of C");
    given_free(a);
    given_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product__of_all_types_orders_and_places),
        cmocka_unit_test(product__of_random_operands_is_that_of_the_cells_by_definition),
        cmocka_unit_test(product__without_references_is_that_of_the_body),
        cmocka_unit_test(product__with_two_threads),
        cmocka_unit_test(product__of_large_blocks_is_the_work_of_a_crew),
        cmocka_unit_test(product__in_little_memory_takes_many_blocks),
        cmocka_unit_test(blocks__stay_within_the_memory_and_are_no_smaller_than_needed),
        cmocka_unit_test(tiles__are_the_product_in_pieces),
        cmocka_unit_test(product__an_operand_beyond_its_blob_is_refused),
        cmocka_unit_test(product__a_full_disk_is_told),
        cmocka_unit_test(overflow__of_floats_names_its_place),
        cmocka_unit_test(infinities__of_the_operands_go_out_with_the_product),
        cmocka_unit_test(integers__are_exact_to_the_last_and_refused_beyond),
        cmocka_unit_test(integers__sums_may_be_wider_than_any_type_on_the_way),
    };

    return cmocka_run_group_tests_name("product", tests, NULL, NULL);
}
