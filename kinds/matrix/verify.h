/* SPDX-License-Identifier: Apache-2.0 */
/* verify.h - Freivalds' method: C r must be A (B r), for random vectors r. n^2 work proves n^3 work.
 * (R. Freivalds, "Probabilistic machines can use less running time", 1977.)
 *
 *   verify_open -> verify_block for each block of k, while it is at hand -> verify_rows for each row of C, in any order
 *   and by several threads -> verdict_describe -> verify_close
 *
 * Floats: r is of +1 and -1, and the equation holds up to rounding. With u the unit roundoff of float64, s =
 * |A| (|B| 1), and g(n) = n u / (1 - n u), the error of a sum of n products in any order is at most g(n) times the
 * sum of their absolute values (N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). So in row i
 *   C as computed, times r exactly      differs from A B r by at most  g(k) s[i]
 *   C r and B r as computed add at most                           about  g(n) s[i] each,
 *   and A (B r) as computed                                              g(k) s[i]
 * together 2 (k + n) u s[i] and terms of second order; 3 (k + n + 2) u s[i] covers these, the sums' final
 * additions and the rounding of s itself. Nothing that rounding can do lies outside.
 *
 * Products of float32: the check computes in float64, so that only C's own error is one of u32 = 2^-24. Taken
 * at its worst over a row of C, g32(k) s[i] would hide whole numbers of a large product. But r does not know
 * these errors e[i][j], so the signs make their sum a random one: by Hoeffding's inequality it exceeds
 * 10 |e[i]|_2 with a probability below 2 exp(-50) = 4e-22, and |e[i]|_2 <= g32(k) sum_l |a[i][l]| |B[l]|_2. What
 * float64 adds is bounded as above, with s[i] <= sqrt(n) sum_l |a[i][l]| |B[l]|_2.
 *
 * What underflows adds less than the smallest number each time. Rows whose bound is not finite (they have an
 * infinity, a NaN, or numbers near the end of the range) are passed over, and so are those of float32 that are not
 * finite and whose bound says that they may have overflowed: overflow.h has the word then.
 *
 * So a right product never fails (float32: in 4e-22 of the rows). One wrong number in a row is always found when it
 * is off by more than twice the bound of that row; several may cancel each other, for one r in half of the cases at
 * most, and so for both in a quarter.
 *
 * Integers: the equation holds exactly modulo 2^64, so it is looked at there, with r of random 64-bit words, those of
 * the first r odd. So one wrong number in a row is always found; several are missed by the second r with a probability
 * of 2^(t - 64), where 2^t divides all that they are off by.
 */
#ifndef MILLRACE_VERIFY_H
#define MILLRACE_VERIFY_H

#include "kinds/matrix/probe.h"

struct verify {
    struct region region; /* of the product that is checked */
    uint64_t      k;
    enum dtype    dtype;                /* of C */
    double        factor, finite_below; /* of floats: verify.c */
    struct crew  *crew;                 /* borrowed: shares out the blocks; NULL after verify_open: nobody does */
    void         *memory;               /* owned: the vectors below, of doubles, or of words for integers */
    void         *r[PROBES + 1];        /* cols; the last one holds ones, NULL for float32 */
    void         *b_r[PROBES + 1];      /* block: B r, and what weighs |A| in the bound */
    void         *a_b_r[PROBES + 1];    /* rows: A (B r) so far, and the bound */
};

/* Draws the vectors. block: the most of k that comes at once. ERR_MEMORY. */
enum err verify_open(struct verify *v, const struct region *region, uint64_t k, uint64_t block, enum dtype dtype,
                     struct fault *why) MUST_CHECK;

/* rows x block of A and block x cols of B. Integers as they are given; floats as the product takes them: with
 * operands of different types as float64. */
void verify_block(struct verify *v, const struct view *a, const struct view *b);

/* What is known of some rows. */
struct verdict {
    double   bound;       /* of the absolute difference: the largest of the rows */
    uint64_t unchecked;   /* rows that were passed over */
    bool     is_infinite; /* a row that was passed over has numbers that are not finite, as operands like its own may
                           * make them. In any other row such a number is ERR_UNVERIFIED */
};

/* After the last block: these rows of C, of v->dtype; numbers: the first of them. Adds to verdict. ERR_UNVERIFIED. */
enum err verify_rows(const struct verify *v, const void *numbers, uint64_t row, uint64_t rows, struct verdict *verdict,
                     struct fault *why) MUST_CHECK;

void verdict_add(struct verdict *v, const struct verdict *other);

/* For the record, of all rows: bound, and unchecked where there are any. */
void verdict_describe(const struct verdict *v, char json[VERIFIED_BYTES]);

void verify_close(struct verify *v); /* accepts {0} */

#endif
