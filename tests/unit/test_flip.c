/* SPDX-License-Identifier: Apache-2.0 */
/* test_flip.c - a product of which one number is wrong, as from bad memory, is no result: on each of the ways that a
 * product may go. It is linked to runs that call flip_product() where the product is computed and not yet checked.
 */
#include "kinds/matrix/blocks.h"
#include "kinds/matrix/product.h"
#include "tests/unit/product_case.h"

/* What becomes of the number: the sign turned, the highest and lowest bit of the exponent, no number any more. */
enum flip { FLIP_NOTHING, FLIP_SIGN, FLIP_HIGH, FLIP_LOW, FLIP_INFINITY, FLIP_NAN, FLIPS };

static struct {
    enum flip flip;
    double    place; /* 0: the first number, up to 1: the last */
    int       products;
} fault;

static void flip_bits(unsigned char *number, enum dtype dtype)
{
    size_t   bytes = dtype_bytes(dtype), mantissa = bytes == 8 ? 52 : 23;
    uint64_t bits = 0, bit = fault.flip == FLIP_SIGN   ? 8 * bytes - 1
                             : fault.flip == FLIP_HIGH ? 8 * bytes - 2
                                                       : mantissa;
    double   f8 = fault.flip == FLIP_NAN ? NAN : INFINITY;
    float    f4 = (float)f8;

    memcpy(&bits, number, bytes);
    bits ^= (uint64_t)1 << bit;
    memcpy(number, &bits, bytes);
    if (fault.flip == FLIP_INFINITY || fault.flip == FLIP_NAN)
        memcpy(number, bytes == 8 ? (void *)&f8 : (void *)&f4, bytes);
}

/* Of floats those that matter: what rounding might explain is not to be found. */
static bool matters(const void *c, uint64_t at, enum dtype dtype)
{
    double x = dtype == DTYPE_F8 ? ((const double *)c)[at] : dtype == DTYPE_F4 ? (double)((const float *)c)[at] : 1;

    return isfinite(x) && fabs(x) >= 0.5;
}

void flip_product(void *c, uint64_t count, enum dtype dtype)
{
    uint64_t at = (uint64_t)(fault.place * (double)(count - 1));

    fault.products++;
    while (!matters(c, at, dtype))
        at = (at + 1) % count;
    if (fault.flip)
        flip_bits((unsigned char *)c + at * dtype_bytes(dtype), dtype);
}

/* The run is right, and wrong with any flip anywhere. */
static void expect_found(const struct run *r, const char *what)
{
    static const double places[] = {0, 0.25, 0.61, 1};
    enum dtype          dtype = dtype_promote(r->a->operand.dtype, r->b->operand.dtype);

    for (enum flip flip = 0; flip < (is_integer(dtype) ? FLIP_INFINITY : FLIPS); flip++)
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            struct outcome o;

            fault.flip = flip;
            fault.place = places[i];
            fault.products = 0;
            o = compute(r);
            assert_int_equal(fault.products, 1);
            if (o.err != (flip ? ERR_UNVERIFIED : ERR_OK))
                fail_msg("%s, flip %d at %.2f: %s", what, flip, places[i], o.err ? o.detail : "not found");
            free(o.file);
        }
    fault.flip = FLIP_NOTHING;
}

/* A product of this shape and these types, whole, in tiles, in little memory, by a crew; to memory and to a file. */
static void check_ways(struct given *a, struct given *b, bool is_wide)
{
    uint64_t      m = a->operand.rows, k = a->operand.cols, n = b->operand.cols;
    enum dtype    dtype = dtype_promote(a->operand.dtype, b->operand.dtype);
    unsigned      factor = dtype == DTYPE_F4 ? 4 : 8;
    struct blocks need = {.rows = m, .cols = n, .k = k, .c_bytes = factor, .a_bytes = factor, .b_bytes = factor};

    expect_found(&(struct run){.a = a, .b = b}, "in memory");
    expect_found(&(struct run){.a = a, .b = b, .to_file = true}, "in a file");
    expect_found(&(struct run){.a = a, .b = b, .to_file = true, .tile_m = m / 2, .tile_n = n / 3, .tile = 4}, "a tile");
    if (!is_wide) /* which has no blocks */
        expect_found(&(struct run){.a = a, .b = b, .to_file = true, .memory_max = blocks_least(&need)}, "in blocks");
#if !defined(__SANITIZE_THREAD__) /* as in test_product.c */
    expect_found(&(struct run){.a = a, .b = b, .threads = 2, .to_file = true}, "by two");
    expect_found(&(struct run){.a = a, .b = b, .threads = 5}, "by five");
#endif
}

static void flip__is_found_in_every_type_and_order(void **state)
{
    (void)state;
    for (int form = 0; form < DTYPE_COUNT * 4; form++) {
        struct given *a = given_new(60, 200, form / 4, form & 1, OPERAND_BLOB, 0);
        struct given *b = given_new(200, 45, form / 4, form & 2, OPERAND_BLOB, 8);

        check_ways(a, b, false);
        given_free(a);
        given_free(b);
    }
}

static void flip__is_found_in_products_of_two_types(void **state)
{
    struct given *operands[][2] = {
        {given_new(60, 200, DTYPE_F8, false, OPERAND_RANDOM, 0), given_new(200, 45, DTYPE_F4, true, OPERAND_BLOB, 3)},
        {given_new(60, 200, DTYPE_I4, false, OPERAND_BODY, 0), given_new(200, 45, DTYPE_I8, false, OPERAND_BLOB, 4)},
        {given_new(60, 200, DTYPE_F4, true, OPERAND_BLOB, 0), given_new(200, 45, DTYPE_I4, false, OPERAND_BLOB, 0)},
        {given_new(60, 200, DTYPE_F8, false, OPERAND_RANDOM, 0),
         given_new(200, 45, DTYPE_F8, false, OPERAND_RANDOM, 0)}};

    (void)state;
    for (size_t i = 0; i < sizeof operands / sizeof *operands; i++) {
        check_ways(operands[i][0], operands[i][1], false);
        given_free(operands[i][0]);
        given_free(operands[i][1]);
    }
}

/* Sums of integers that no float holds. */
static void flip__is_found_in_wide_integers(void **state)
{
    struct given *a = given_new(40, 70, DTYPE_I8, false, OPERAND_BLOB, 0);
    struct given *b = given_new(70, 30, DTYPE_I8, true, OPERAND_BLOB, 0);

    (void)state;
    a->wholes[5] = (int64_t)1 << 50;
    check_ways(a, b, true);
    given_free(a);
    given_free(b);
}

static void flip__is_found_in_products_of_a_few_numbers(void **state)
{
    struct given *a = given_new(3, 4, DTYPE_F8, false, OPERAND_BODY, 0);
    struct given *b = given_new(4, 3, DTYPE_F8, false, OPERAND_BODY, 0);

    (void)state;
    expect_found(&(struct run){.a = a, .b = b, .is_plain = true}, "tiny");
    given_free(a);
    given_free(b);
}

/* Operands with infinities give rows that nobody can check; the others are. */
static void flip__is_found_beside_infinities(void **state)
{
    (void)state;
    for (int is_f4 = 0; is_f4 < 2; is_f4++) {
        enum dtype    dtype = is_f4 ? DTYPE_F4 : DTYPE_F8;
        struct given *a = given_new(20, 30, dtype, false, OPERAND_BLOB, 0);
        struct given *b = given_new(30, 10, dtype, false, OPERAND_BLOB, 0);

        a->reals[12 * 30 + 7] = INFINITY;
        expect_found(&(struct run){.a = a, .b = b}, "beside an infinity");
        given_free(a);
        given_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flip__is_found_in_every_type_and_order),
        cmocka_unit_test(flip__is_found_in_products_of_two_types),
        cmocka_unit_test(flip__is_found_in_wide_integers),
        cmocka_unit_test(flip__is_found_in_products_of_a_few_numbers),
        cmocka_unit_test(flip__is_found_beside_infinities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
