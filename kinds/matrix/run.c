/* SPDX-License-Identifier: Apache-2.0 */
/* matrix: one call of dgemm, and a look for overflow.
 *
 * The only file that knows OpenBLAS. The product is written to its place in
 * the output, behind the NumPy header.
 */
#include <assert.h>
#include <cblas.h>
#include <fenv.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"
#include "kinds/task.h"

#define TINY_PRODUCT 64 /* multiplications up to which a plain loop beats the call */

struct product {
    size_t        m, k, n;
    const double *a, *b;
    double       *c;
};

static void multiply_tiny(const struct product *p)
{
    for (size_t i = 0; i < p->m; i++)
        for (size_t j = 0; j < p->n; j++) {
            double sum = 0;

            for (size_t l = 0; l < p->k; l++)
                sum += p->a[i * p->k + l] * p->b[l * p->n + j];
            p->c[i * p->n + j] = sum;
        }
}

static void multiply_large(const struct product *p)
{
    blasint m = (blasint)p->m, k = (blasint)p->k, n = (blasint)p->n;

    assert(p->m <= INT_MAX && p->k <= INT_MAX && p->n <= INT_MAX);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0, p->a, k, p->b, n, 0.0, p->c, n);
}

/* Returns whether something may have overflowed. The processor keeps that in a
 * flag, one for each thread: where all is done in this one, a look at it
 * replaces a pass over the product. */
static bool multiply(const struct product *p, int threads)
{
    if ((double)p->m * (double)p->k * (double)p->n <= TINY_PRODUCT) {
        multiply_tiny(p);
        return true;
    }
    feclearexcept(FE_OVERFLOW);
    multiply_large(p);
    return threads > 1 || fetestexcept(FE_OVERFLOW);
}

/* Index of the first number that is not finite, or count. */
static size_t find_infinite(const double *numbers, size_t count)
{
    size_t i = 0;

    while (i < count && isfinite(numbers[i]))
        i++;
    return i;
}

/* Infinities and NaNs that came in with the operands may go out with the
 * product; those that arose on the way are an overflow. */
static enum err refuse_overflow(const struct product *p, struct fault *why)
{
    size_t count = p->m * p->n, at = find_infinite(p->c, count);

    if (at == count || find_infinite(p->a, p->m * p->k) < p->m * p->k || find_infinite(p->b, p->k * p->n) < p->k * p->n)
        return ERR_OK;
    return fault_set(why, ERR_OVERFLOW, "the product overflows float64 in row %zu, column %zu of C", at / p->n,
                     at % p->n);
}

enum err matrix_run(struct task *task)
{
    const int64_t *sides = task->args->integer;
    struct product p;
    uint64_t       result_bytes;
    enum err       e;

    e = matrix_spec.check(task->args, &(struct input){task->input, task->input_len, task->refs},
                          &(struct limits){.inline_max = SIZE_MAX}, &result_bytes, &task->why);
    if (e)
        return e;
    if (result_bytes > task->output_max)
        return fault_set(&task->why, ERR_INTERNAL, "no room for the product of %llu bytes",
                         (unsigned long long)result_bytes);
    p = (struct product){.m = (size_t)sides[MATRIX_M],
                         .k = (size_t)sides[MATRIX_K],
                         .n = (size_t)sides[MATRIX_N],
                         .a = task->input,
                         .c = (double *)((char *)task->output + NPY_HEADER_BYTES)};
    p.b = p.a + p.m * p.k;
    if (openblas_get_num_threads() != task->threads)
        openblas_set_num_threads(task->threads);
    e = multiply(&p, task->threads) ? refuse_overflow(&p, &task->why) : ERR_OK;
    if (e)
        return e;
    npy_write_header(task->output, DTYPE_F8, p.m, p.n);
    task->output_len = result_bytes;
    atomic_store_explicit(task->progress, 1.0, memory_order_relaxed);
    return ERR_OK;
}
