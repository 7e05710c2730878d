/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - vectors, and the comparison at the end; the passes over the numbers are in probe.c. */
#include "kinds/matrix/verify.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/clock.h"
#include "common/numtext.h"

#define VECTORS (PROBES + 1)
#define HEIGHT 256 /* rows of C that are compared at once */
#define SAFETY 3   /* times (k + n + 2) u */
#define ROUNDOFF_F8 (DBL_EPSILON / 2)
#define ROUNDOFF_F4 (FLT_EPSILON / 2)
#define DEVIATIONS 10 /* Hoeffding */

static bool is_whole(enum dtype t) { return t == DTYPE_I8 || t == DTYPE_I4; }

/* splitmix64: well mixed words from one seed. */
static uint64_t next_word(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15u;

    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

/* Vectors that the product cannot know. */
static void draw(struct verify *v)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)mono_us();
    for (uint64_t j = 0; j < v->region.cols; j++) {
        uint64_t word = next_word(&seed);

        if (is_whole(v->dtype)) {
            ((uint64_t *)v->r[0])[j] = word;
            ((uint64_t *)v->r[1])[j] = next_word(&seed);
        } else {
            ((double *)v->r[0])[j] = word >> 63 ? 1 : -1;
            ((double *)v->r[1])[j] = word >> 62 & 1 ? 1 : -1;
        }
    }
    for (uint64_t j = 0; v->r[PROBES] && j < v->region.cols; j++)
        ((double *)v->r[PROBES])[j] = 1;
}

enum err verify_open(struct verify *v, const struct region *region, uint64_t k, uint64_t block, enum dtype dtype,
                     struct fault *why)
{
    size_t  lengths = region->rows + region->cols + block;
    double *at = calloc(lengths, VECTORS * sizeof(double));

    if (!at)
        return fault_set(why, ERR_MEMORY, "no memory for the check of a product of %" PRIu64 " x %" PRIu64,
                         region->rows, region->cols);
    *v = (struct verify){.region = *region, .k = k, .dtype = dtype, .memory = at};
    for (int p = 0; p < VECTORS; p++, at += lengths) {
        v->r[p] = at;
        v->b_r[p] = at + region->cols;
        v->a_b_r[p] = at + region->cols + block;
    }
    if (dtype != DTYPE_F8)
        v->r[PROBES] = NULL;
    draw(v);
    return ERR_OK;
}

void verify_close(struct verify *v)
{
    free(v->memory);
    v->memory = NULL;
}

/* ---- blocks ---------------------------------------------------------------------- */

/* What weighs |a[i][l]| in the bound, in units of u: made of the sum (or for float32 of the squares) of a row of B. */
static void weigh(const struct verify *v, double *sums, uint64_t count)
{
    double k = (double)v->k, n = (double)v->region.cols, k_u = k * ROUNDOFF_F4;
    double factor = SAFETY * (k + n + 2);

    if (v->dtype == DTYPE_F8) {
        for (uint64_t l = 0; l < count; l++)
            sums[l] *= factor;
        return;
    }
    factor = factor * sqrt(n) + (k_u < 0.5 ? DEVIATIONS * k_u / (1 - k_u) / ROUNDOFF_F8 : INFINITY);
    for (uint64_t l = 0; l < count; l++)
        sums[l] = sqrt(sums[l]) * factor;
}

void verify_block(struct verify *v, const struct view *a, const struct view *b)
{
    for (int p = 0; p < VECTORS; p++)
        memset(v->b_r[p], 0, b->rows * sizeof(double));
    if (is_whole(v->dtype)) {
        probe_integers(b, (const uint64_t *[]){v->r[0], v->r[1]}, (uint64_t *[]){v->b_r[0], v->b_r[1]});
        probe_integers(a, (const uint64_t *[]){v->b_r[0], v->b_r[1]}, (uint64_t *[]){v->a_b_r[0], v->a_b_r[1]});
        return;
    }
    probe_floats(b, (const double *[]){v->r[0], v->r[1], v->r[2]}, (double *[]){v->b_r[0], v->b_r[1], v->b_r[2]});
    weigh(v, v->b_r[PROBES], b->rows);
    probe_floats(a, (const double *[]){v->b_r[0], v->b_r[1], v->b_r[2]},
                 (double *[]){v->a_b_r[0], v->a_b_r[1], v->a_b_r[2]});
}

/* ---- the comparison ------------------------------------------------------------------ */

struct outcome {
    double   bound;
    uint64_t unchecked; /* rows */
};

static struct view rows_of(const struct verify *v, const void *c, uint64_t row, uint64_t rows)
{
    uint64_t cols = v->region.cols;

    return (struct view){.numbers = (const char *)c + row * cols * dtype_bytes(v->dtype),
                         .dtype = v->dtype,
                         .rows = rows,
                         .cols = cols,
                         .ld = cols};
}

static enum err compare_floats(const struct verify *v, const void *c, uint64_t row, uint64_t rows,
                               struct outcome *outcome, struct fault *why)
{
    double       sums[VECTORS][HEIGHT] = {{0}};
    struct view  view = rows_of(v, c, row, rows);
    const double least = v->dtype == DTYPE_F8 ? DBL_TRUE_MIN : (double)FLT_TRUE_MIN;
    const double lost = 4 * ((double)v->k + 1) * ((double)v->region.cols + 1) * least; /* by underflow */

    probe_floats(&view, (const double *[]){v->r[0], v->r[1], v->r[2]}, (double *[]){sums[0], sums[1], sums[2]});
    for (uint64_t i = 0; i < rows; i++) {
        double bound = ROUNDOFF_F8 * ((double *)v->a_b_r[PROBES])[row + i] + lost;

        if (!isfinite(bound)) {
            outcome->unchecked++;
            continue;
        }
        outcome->bound = fmax(outcome->bound, bound);
        for (int p = 0; p < PROBES; p++) {
            double difference = fabs(sums[p][i] - ((double *)v->a_b_r[p])[row + i]);

            if (!(difference <= bound)) /* a NaN is none either */
                return fault_set(why, ERR_UNVERIFIED,
                                 "row %" PRIu64 " of C is off by %.3g in the check, where rounding explains %.3g",
                                 v->region.row + row + i, difference, bound);
        }
    }
    return ERR_OK;
}

static enum err compare_integers(const struct verify *v, const void *c, uint64_t row, uint64_t rows, struct fault *why)
{
    uint64_t    sums[PROBES][HEIGHT] = {{0}};
    struct view view = rows_of(v, c, row, rows);

    probe_integers(&view, (const uint64_t *[]){v->r[0], v->r[1]}, (uint64_t *[]){sums[0], sums[1]});
    for (uint64_t i = 0; i < rows; i++)
        for (int p = 0; p < PROBES; p++)
            if (sums[p][i] != ((uint64_t *)v->a_b_r[p])[row + i])
                return fault_set(why, ERR_UNVERIFIED, "row %" PRIu64 " of C is wrong: the check of integers is exact",
                                 v->region.row + row + i);
    return ERR_OK;
}

static void describe(const struct outcome *outcome, char json[VERIFIED_BYTES])
{
    char number[NUMTEXT_BYTES], unchecked[48] = "";

    if (outcome->unchecked)
        snprintf(unchecked, sizeof unchecked, ",\"unchecked\":%" PRIu64, outcome->unchecked);
    snprintf(json, VERIFIED_BYTES, "{\"method\":\"freivalds\",\"probes\":%d,\"bound\":%.*s%s}", PROBES,
             (int)numtext_print(outcome->bound, number), number, unchecked);
}

enum err verify_end(const struct verify *v, const void *c, char json[VERIFIED_BYTES], struct fault *why)
{
    struct outcome outcome = {0};
    enum err       e = ERR_OK;

    for (uint64_t row = 0; row < v->region.rows && !e; row += HEIGHT) {
        uint64_t rows = v->region.rows - row < HEIGHT ? v->region.rows - row : HEIGHT;

        e = is_whole(v->dtype) ? compare_integers(v, c, row, rows, why)
                               : compare_floats(v, c, row, rows, &outcome, why);
    }
    if (!e)
        describe(&outcome, json);
    return e;
}
