/* SPDX-License-Identifier: Apache-2.0 */
/* matrix: computes a product, or the tile of one that the job is.
 *
 * Whatever is large goes through product.h. A product of a few numbers is done in a plain loop, which is over
 * before the library's call would have begun.
 */
#include "kinds/matrix/matrix.h"
#include "kinds/matrix/overflow.h"
#include "kinds/matrix/product.h"
#include "kinds/matrix/result.h"
#include "kinds/matrix/verify.h"
#include "kinds/task.h"

#define TINY_PRODUCT 64 /* multiplications up to which a plain loop beats the call */

/* A small product of float64 that came in the body and goes out in the output. */
static bool is_tiny(const struct product *p, const struct task *task)
{
    return !*task->refs && task->output && p->k <= TINY_PRODUCT && p->region.rows <= TINY_PRODUCT &&
           p->region.rows * p->region.cols <= TINY_PRODUCT && p->region.rows * p->k * p->region.cols <= TINY_PRODUCT;
}

static enum err compute_tiny(struct product *p, struct task *task)
{
    const struct region *r = &p->region;
    const struct view    a = {(const double *)task->input + r->row * p->k, DTYPE_F8, false, r->rows, p->k, p->k};
    const struct view    b = {(const double *)((const char *)task->input + p->operands[1].offset) + r->col,
                              DTYPE_F8,
                              false,
                              p->k,
                              r->cols,
                              p->operands[1].cols};
    const double        *x = a.numbers, *y = b.numbers;
    double              *c = p->c = result_place(task);
    struct verify        verify = {0};
    struct verdict       verdict = {0};
    struct result        result;
    enum err             e;

    for (uint64_t i = 0; i < r->rows; i++)
        for (uint64_t j = 0; j < r->cols; j++) {
            double sum = 0;

            for (uint64_t l = 0; l < p->k; l++)
                sum += x[i * a.ld + l] * y[l * b.ld + j];
            c[i * r->cols + j] = sum;
        }
#ifdef MILLRACE_FLIP
    flip_product(c, r->rows * r->cols, DTYPE_F8);
#endif
    e = verify_open(&verify, r, p->k, p->k, DTYPE_F8, &task->why);
    if (!e) {
        verify_block(&verify, &a, &b);
        e = verify_rows(&verify, c, 0, r->rows, &verdict, &task->why);
    }
    verify_close(&verify);
    if (!e && verdict.is_infinite)
        e = overflow_refuse(&a, &b, DTYPE_F8, r, c, &task->why);
    if (!e) {
        verdict_describe(&verdict, task->verified);
        e = result_begin(&result, task, r->rows, r->cols, DTYPE_F8);
        result_end(&result);
    }
    return e;
}

static enum err compute(struct product *p, struct task *task)
{
    uint64_t bytes = result_bytes(p->region.rows, p->region.cols, p->dtype);

    if (!p->region.rows || !p->region.cols)
        return fault_set(&task->why, ERR_PARAM, "the product has no such tile");
    if (bytes > task->output_max)
        return fault_set(&task->why, ERR_INTERNAL, "no room for the product of %llu bytes", (unsigned long long)bytes);
    return is_tiny(p, task) ? compute_tiny(p, task) : product_compute(p, task);
}

enum err matrix_run(struct task *task)
{
    struct product p = {.region = matrix_region(task->args), .k = (uint64_t)task->args->integer[MATRIX_K]};
    struct input   in = {task->input, task->input_len, task->refs};
    enum err       e = operands_read(task->args, &in, p.operands, &task->why);

    if (!e) {
        p.dtype = dtype_promote(p.operands[0].dtype, p.operands[1].dtype);
        e = compute(&p, task);
    }
    product_close(&p);
    if (!e)
        atomic_store_explicit(task->progress, 1.0, memory_order_relaxed);
    return e;
}
