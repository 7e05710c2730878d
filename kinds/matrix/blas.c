/* SPDX-License-Identifier: Apache-2.0 */
/* blas.c - gemm by type and order, and the names of kernels. */
#include "kinds/matrix/blas.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "kinds/matrix/kernel.h"

#ifdef MILLRACE_BLIS
#include <blis.h>
#include <cblas.h>
typedef f77_int blasint;
#else
#include <cblas.h>
#endif

#define MEASURE_SIDE 768
#define MEASURE_TIMES 4

void blas_set_threads(int threads)
{
#ifdef MILLRACE_BLIS
    if (bli_thread_get_num_threads() != threads)
        bli_thread_set_num_threads(threads);
#else
    if (openblas_get_num_threads() != threads)
        openblas_set_num_threads(threads);
#endif
}

void blas_multiply(const struct view *a, const struct view *b, void *c, bool is_more)
{
    blasint m = (blasint)a->rows, k = (blasint)a->cols, n = (blasint)b->cols, ld_a = (blasint)a->ld,
            ld_b = (blasint)b->ld;
    enum CBLAS_TRANSPOSE turn_a = a->is_fortran ? CblasTrans : CblasNoTrans;
    enum CBLAS_TRANSPOSE turn_b = b->is_fortran ? CblasTrans : CblasNoTrans;

    assert(a->dtype == b->dtype && a->cols == b->rows);
    assert(a->rows <= INT_MAX && a->cols <= INT_MAX && b->cols <= INT_MAX && a->ld <= INT_MAX && b->ld <= INT_MAX);
    if (a->dtype == DTYPE_F4)
        cblas_sgemm(CblasRowMajor, turn_a, turn_b, m, n, k, 1.0F, a->numbers, ld_a, b->numbers, ld_b,
                    is_more ? 1.0F : 0.0F, c, n);
    else
        cblas_dgemm(CblasRowMajor, turn_a, turn_b, m, n, k, 1.0, a->numbers, ld_a, b->numbers, ld_b,
                    is_more ? 1.0 : 0.0, c, n);
}

/* ---- kernels -------------------------------------------------------------------- */

struct kernel kernel_name(void)
{
#ifdef MILLRACE_BLIS
    bli_init(); /* or a kernel that the environment names is looked for before there are any */
    return (struct kernel){"blis", bli_arch_string(bli_arch_query_id())};
#else
    return (struct kernel){"openblas", openblas_get_corename()};
#endif
}

void kernel_prepare(void)
{
#ifdef MILLRACE_BLIS
    /* Small products go without the buffers; this one is told not to. */
    double numbers[3] = {1, 1, 1}, one = 1;
    rntm_t how;

    bli_init();
    bli_rntm_init_from_global(&how);
    bli_rntm_disable_l3_sup(&how);
    bli_dgemm_ex(BLIS_NO_TRANSPOSE, BLIS_NO_TRANSPOSE, 1, 1, 1, &one, &numbers[0], 1, 1, &numbers[1], 1, 1, &one,
                 &numbers[2], 1, 1, NULL, &how);
#endif
}

/* Of this thread: what others compute meanwhile does not count. */
static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double kernel_measure(void)
{
    size_t      count = MEASURE_SIDE * MEASURE_SIDE;
    double     *numbers = aligned_alloc(64, 3 * count * sizeof(double));
    struct view a = {numbers, DTYPE_F8, false, MEASURE_SIDE, MEASURE_SIDE, MEASURE_SIDE}, b = a;
    double      best = INFINITY;

    if (!numbers)
        return -1;
    for (size_t i = 0; i < 3 * count; i++)
        numbers[i] = (double)(i % 10);
    b.numbers = numbers + count;
    blas_set_threads(1);
    for (int i = 0; i <= MEASURE_TIMES; i++) { /* the first one fetches code and pages: not counted */
        double start = cpu_seconds();

        blas_multiply(&a, &b, numbers + 2 * count, false);
        if (i)
            best = fmin(best, cpu_seconds() - start);
    }
    free(numbers);
    return 2e-9 * MEASURE_SIDE * MEASURE_SIDE * MEASURE_SIDE / best;
}
