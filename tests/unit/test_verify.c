/* SPDX-License-Identifier: Apache-2.0 */
/* test_verify.c - the check of a product: what is right stands it at every shape and scale, one wrong number falls
 * wherever it is.
 */
#include "kinds/matrix/verify.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/blas.h"
#include "tests/unit/check.h"

/* Operands, row by row, and their product, of one type. */
struct trial {
    enum dtype  dtype;
    uint64_t    m, k, n;
    void       *a, *b, *c;
    struct view view_a, view_b;
};

static void *numbers_of(enum dtype dtype, uint64_t count) { return calloc(count, dtype_bytes(dtype)); }

static void set_number(const struct trial *t, void *to, uint64_t at, double value)
{
    switch (t->dtype) {
    case DTYPE_F8:
        ((double *)to)[at] = value;
        break;
    case DTYPE_F4:
        ((float *)to)[at] = (float)value;
        break;
    case DTYPE_I8:
        ((int64_t *)to)[at] = (int64_t)value;
        break;
    default:
        ((int32_t *)to)[at] = (int32_t)value;
        break;
    }
}

static double number_of(const struct trial *t, const void *from, uint64_t at)
{
    switch (t->dtype) {
    case DTYPE_F8:
        return ((const double *)from)[at];
    case DTYPE_F4:
        return (double)((const float *)from)[at];
    case DTYPE_I8:
        return (double)((const int64_t *)from)[at];
    default:
        return ((const int32_t *)from)[at];
    }
}

static double draw_number(const struct trial *t, double scale)
{
    double x = (drand48() * 2 - 1) * scale;

    return t->dtype == DTYPE_I8 || t->dtype == DTYPE_I4 ? trunc(x * 100) : x;
}

static void multiply(struct trial *t)
{
    if (t->dtype == DTYPE_F8 || t->dtype == DTYPE_F4) {
        blas_multiply(&t->view_a, &t->view_b, t->c, false);
        return;
    }
    for (uint64_t i = 0; i < t->m; i++)
        for (uint64_t j = 0; j < t->n; j++) {
            double sum = 0;

            for (uint64_t l = 0; l < t->k; l++)
                sum += number_of(t, t->a, i * t->k + l) * number_of(t, t->b, l * t->n + j);
            set_number(t, t->c, i * t->n + j, sum);
        }
}

static struct trial trial_new(enum dtype dtype, uint64_t m, uint64_t k, uint64_t n, double scale_a, double scale_b)
{
    struct trial t = {.dtype = dtype,
                      .m = m,
                      .k = k,
                      .n = n,
                      .a = numbers_of(dtype, m * k),
                      .b = numbers_of(dtype, k * n),
                      .c = numbers_of(dtype, m * n)};

    for (uint64_t i = 0; i < m * k; i++)
        set_number(&t, t.a, i, draw_number(&t, scale_a));
    for (uint64_t i = 0; i < k * n; i++)
        set_number(&t, t.b, i, draw_number(&t, scale_b));
    t.view_a = (struct view){t.a, dtype, false, m, k, k};
    t.view_b = (struct view){t.b, dtype, false, k, n, n};
    multiply(&t);
    return t;
}

static void trial_free(struct trial *t)
{
    free(t->a);
    free(t->b);
    free(t->c);
}

/* The check with blocks of this many of k. */
static enum err check(const struct trial *t, uint64_t block, char json[VERIFIED_BYTES], struct fault *why)
{
    const struct region region = {100, t->m, 200, t->n};
    struct verify       v = {0};
    struct verdict      verdict = {0};
    enum err            e = verify_open(&v, &region, t->k, block, t->dtype, why);

    assert_int_equal(e, ERR_OK);
    for (uint64_t at = 0; at < t->k; at += block) {
        struct view a = t->view_a, b = t->view_b;

        a.cols = b.rows = t->k - at < block ? t->k - at : block;
        a.numbers = (const char *)t->a + (a.is_fortran ? at * a.ld : at) * dtype_bytes(t->dtype);
        b.numbers = (const char *)t->b + (b.is_fortran ? at : at * b.ld) * dtype_bytes(t->dtype);
        verify_block(&v, &a, &b);
    }
    e = verify_rows(&v, t->c, 0, t->m, &verdict, why);
    verdict_describe(&verdict, json);
    verify_close(&v);
    return e;
}

static double bound_of(const char *json)
{
    double bound = -1;

    assert_int_equal(sscanf(json, "{\"method\":\"freivalds\",\"probes\":2,\"bound\":%lf}", &bound), 1);
    return bound;
}

static void verify__lets_right_products_pass(void **state)
{
    static const double scales[] = {1, 1e-3, 1e9, 1e150, 1e-150, 1e-300, 1e-320, 1e300};
    static const double scales_f4[] = {1, 1e-3, 1e9, 1e15, 1e-15, 1e-30, 1e-40, 1e18};
    char                json[VERIFIED_BYTES];
    struct fault        why;

    (void)state;
    for (int i = 0; i < 4000; i++) {
        enum dtype   dtype = i % DTYPE_COUNT;
        bool         is_whole = dtype == DTYPE_I8 || dtype == DTYPE_I4;
        double       x = dtype == DTYPE_F8 ? scales[lrand48() % 8] : scales_f4[lrand48() % 8], y = 1 / x;
        struct trial t = trial_new(dtype, (uint64_t)lrand48() % 40 + 1, (uint64_t)lrand48() % 300 + 1,
                                   (uint64_t)lrand48() % 40 + 1, is_whole ? 1 : x, is_whole || i % 8 < 4 ? 1 : y);

        if (check(&t, (uint64_t)lrand48() % t.k + 1, json, &why))
            fail_msg("%s %dx%dx%d %g %g: %s", dtype_name(dtype), (int)t.m, (int)t.k, (int)t.n, x, y, why.detail);
        trial_free(&t);
    }
}

/* Operands of one sign, whose rounding errors all go one way, and large sums of float32. */
static void verify__lets_drifting_sums_pass(void **state)
{
    char         json[VERIFIED_BYTES];
    struct fault why;

    (void)state;
    for (int i = 0; i < 8; i++) {
        struct trial t = trial_new(i & 1 ? DTYPE_F4 : DTYPE_F8, 20, 20000, i & 2 ? 1 : 300, 1, 1);

        for (uint64_t cell = 0; cell < t.m * t.k; cell++)
            set_number(&t, t.a, cell, i & 4 ? 0.1 : fabs(number_of(&t, t.a, cell)));
        for (uint64_t cell = 0; cell < t.k * t.n; cell++)
            set_number(&t, t.b, cell, i & 4 ? 0.1 : fabs(number_of(&t, t.b, cell)));
        multiply(&t);
        assert_int_equal(check(&t, 384, json, &why), ERR_OK);
        trial_free(&t);
    }
}

/* A change that matters: by twice the bound that is told. */
static void verify__finds_one_wrong_number_wherever_it_is(void **state)
{
    char         json[VERIFIED_BYTES], sentence[64];
    struct fault why;

    (void)state;
    for (int i = 0; i < DTYPE_COUNT * 2; i++) {
        struct trial t = trial_new(i % DTYPE_COUNT, 19, i < DTYPE_COUNT ? 40 : 1000, 23, 1, 1);
        double       step;

        assert_int_equal(check(&t, 16, json, &why), ERR_OK);
        step = fmax(2.01 * bound_of(json), t.dtype == DTYPE_I8 || t.dtype == DTYPE_I4 ? 1 : 0);
        assert_true(step < (t.dtype == DTYPE_F8 ? 1e-8 : 2)); /* and that is little */
        for (uint64_t cell = 0; cell < t.m * t.n; cell++) {
            double right = number_of(&t, t.c, cell);

            set_number(&t, t.c, cell, right + (cell & 1 ? step : -step));
            assert_int_equal(check(&t, 16, json, &why), ERR_UNVERIFIED);
            snprintf(sentence, sizeof sentence, "row %d of C is ", 100 + (int)(cell / t.n));
            assert_memory_equal(why.detail, sentence, strlen(sentence));
            set_number(&t, t.c, cell, right);
        }
        assert_int_equal(check(&t, 16, json, &why), ERR_OK);
        trial_free(&t);
    }
}

static void verify__finds_numbers_that_became_none(void **state)
{
    struct trial t = trial_new(DTYPE_F8, 9, 9, 9, 1, 1);
    char         json[VERIFIED_BYTES];
    struct fault why;

    (void)state;
    set_number(&t, t.c, 40, NAN);
    assert_int_equal(check(&t, 9, json, &why), ERR_UNVERIFIED);
    set_number(&t, t.c, 40, INFINITY);
    assert_int_equal(check(&t, 9, json, &why), ERR_UNVERIFIED);
    set_number(&t, t.c, 40, DBL_MAX);
    assert_int_equal(check(&t, 9, json, &why), ERR_UNVERIFIED);
    trial_free(&t);
}

/* Both orders, and single bits of integers up to the highest. */
static void verify__finds_single_bits_of_integers(void **state)
{
    char         json[VERIFIED_BYTES];
    struct fault why;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct trial t = trial_new(DTYPE_I8, 12, 12, 12, 1, 1);
        int64_t     *c = t.c;

        if (i) { /* the transposed operands in the other order are the same numbers */
            struct trial turned = trial_new(DTYPE_I8, 12, 12, 12, 1, 1);

            for (int row = 0; row < 12; row++)
                for (int col = 0; col < 12; col++) {
                    ((int64_t *)turned.a)[col * 12 + row] = ((int64_t *)t.a)[row * 12 + col];
                    ((int64_t *)turned.b)[col * 12 + row] = ((int64_t *)t.b)[row * 12 + col];
                }
            memcpy(t.a, turned.a, 144 * sizeof(int64_t));
            memcpy(t.b, turned.b, 144 * sizeof(int64_t));
            t.view_a.is_fortran = t.view_b.is_fortran = true;
            trial_free(&turned);
        }
        assert_int_equal(check(&t, 5, json, &why), ERR_OK);
        for (int bit = 0; bit < 64; bit++) {
            c[77] = (int64_t)((uint64_t)c[77] ^ (uint64_t)1 << bit);
            assert_int_equal(check(&t, 5, json, &why), ERR_UNVERIFIED);
            c[77] = (int64_t)((uint64_t)c[77] ^ (uint64_t)1 << bit);
        }
        trial_free(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify__lets_right_products_pass),
        cmocka_unit_test(verify__lets_drifting_sums_pass),
        cmocka_unit_test(verify__finds_one_wrong_number_wherever_it_is),
        cmocka_unit_test(verify__finds_numbers_that_became_none),
        cmocka_unit_test(verify__finds_single_bits_of_integers),
    };

    blas_set_threads(1);
    return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
