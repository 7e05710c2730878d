/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - vectors, and the comparison at the end; the passes over the numbers are in probe.c. */
#include "kinds/matrix/verify.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/numtext.h"
#include "kinds/crew.h"

#define VECTORS (PROBES + 1)
#define SHARED_FROM (1u << 18) /* numbers of a block that are worth waking others for */
#define HEIGHT 256             /* rows of C that are compared at once */
#define SAFETY 3               /* times (k + n + 2) u */
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

/* Vectors that no fault can know: those of a machine do not read the clock, and it is quicker than to ask the
 * system for randomness, which a product of a few numbers would notice. */
static void draw(struct verify *v)
{
    struct timespec now;
    uint64_t        seed;

    clock_gettime(CLOCK_MONOTONIC, &now);
    seed = (uint64_t)now.tv_sec << 32 ^ (uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)v->memory << 16;
    for (uint64_t j = 0; j < v->region.cols; j++) {
        uint64_t word = next_word(&seed);

        if (is_whole(v->dtype)) {
            ((uint64_t *)v->r[0])[j] = word | 1; /* whatever is not 0 times something odd is not 0 */
            ((uint64_t *)v->r[1])[j] = next_word(&seed);
        } else {
            ((double *)v->r[0])[j] = word >> 63 ? 1 : -1;
            ((double *)v->r[1])[j] = word >> 62 & 1 ? 1 : -1;
        }
    }
    for (uint64_t j = 0; v->r[PROBES] && j < v->region.cols; j++)
        ((double *)v->r[PROBES])[j] = 1;
}

/* How many units of u each product of absolute values is worth in the bound. */
static double factor_of(const struct verify *v)
{
    double k = (double)v->k, n = (double)v->region.cols, k_u = k * ROUNDOFF_F4;
    double factor = SAFETY * (k + n + 2);

    if (v->dtype == DTYPE_F8)
        return factor;
    return factor * sqrt(n) + (k_u < 0.5 ? DEVIATIONS * k_u / (1 - k_u) / ROUNDOFF_F8 : INFINITY);
}

/* The bound over u and the factor is more than any number of its row of C: while that is below what the type ends at
 * (for float32 half of it, as rounding may add), all of them are finite. The bound of float64 overflows before. */
static double finite_below(const struct verify *v)
{
    return v->dtype == DTYPE_F8 ? INFINITY : ROUNDOFF_F8 * v->factor * (FLT_MAX / 2);
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
    v->factor = factor_of(v);
    v->finite_below = finite_below(v);
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
    for (uint64_t l = 0; l < count; l++)
        sums[l] = (v->dtype == DTYPE_F8 ? sums[l] : sqrt(sums[l])) * v->factor;
}

/* One pass over a block: its rows are divided, and so are the sums that they add to. */
struct pass {
    const struct verify *v;
    const struct view   *block;
    void *const *factors, *const *sums; /* vectors, as many as there are */
    bool is_new;                        /* the sums: they begin at 0, and are weighed at the end */
};

static void pass_rows(void *ctx, int part, int parts)
{
    const struct pass   *p = ctx;
    const struct verify *v = p->v;
    struct stretch       rows = crew_stretch(p->block->rows, part, parts);
    struct view          some = *p->block;
    void                *sums[VECTORS];

    some.rows = rows.count;
    some.numbers = (const char *)some.numbers + rows.from * (some.is_fortran ? 1 : some.ld) * dtype_bytes(some.dtype);
    for (int i = 0; i < VECTORS; i++) {
        sums[i] = (double *)p->sums[i] + rows.from;
        if (p->is_new)
            memset(sums[i], 0, rows.count * sizeof(double));
    }
    if (is_whole(v->dtype)) {
        probe_integers(&some, (const uint64_t *[]){p->factors[0], p->factors[1]}, (uint64_t *[]){sums[0], sums[1]});
        return;
    }
    probe_floats(&some, (const double *[]){p->factors[0], p->factors[1], p->factors[2]},
                 (double *[]){sums[0], sums[1], sums[2]});
    if (p->is_new)
        weigh(v, sums[PROBES], rows.count);
}

void verify_block(struct verify *v, const struct view *a, const struct view *b)
{
    struct crew *crew = (a->rows + b->cols) * b->rows >= SHARED_FROM ? v->crew : NULL;

    crew_run(crew, pass_rows, &(struct pass){v, b, v->r, v->b_r, true});
    crew_run(crew, pass_rows, &(struct pass){v, a, v->b_r, v->a_b_r, false});
}

/* ---- the comparison ------------------------------------------------------------------ */

static struct view rows_of(const struct verify *v, const void *numbers, uint64_t rows)
{
    uint64_t cols = v->region.cols;

    return (struct view){.numbers = numbers, .dtype = v->dtype, .rows = rows, .cols = cols, .ld = cols};
}

static enum err compare_floats(const struct verify *v, const void *numbers, uint64_t row, uint64_t rows,
                               struct verdict *verdict, struct fault *why)
{
    double       sums[VECTORS][HEIGHT];
    struct view  view = rows_of(v, numbers, rows);
    const double least = v->dtype == DTYPE_F8 ? DBL_TRUE_MIN : (double)FLT_TRUE_MIN;
    const double lost = 4 * ((double)v->k + 1) * ((double)v->region.cols + 1) * least; /* by underflow */

    for (int p = 0; p < VECTORS; p++)
        memset(sums[p], 0, rows * sizeof(double));
    probe_floats(&view, (const double *[]){v->r[0], v->r[1], v->r[2]}, (double *[]){sums[0], sums[1], sums[2]});
    for (uint64_t i = 0; i < rows; i++) {
        double bound = ROUNDOFF_F8 * ((double *)v->a_b_r[PROBES])[row + i] + lost;
        bool   is_infinite = !(isfinite(sums[0][i]) && isfinite(sums[1][i])) && !(bound < v->finite_below);

        verdict->is_infinite |= is_infinite;
        if (is_infinite || !isfinite(bound)) {
            verdict->unchecked++;
            continue;
        }
        verdict->bound = fmax(verdict->bound, bound);
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

static enum err compare_integers(const struct verify *v, const void *numbers, uint64_t row, uint64_t rows,
                                 struct fault *why)
{
    uint64_t    sums[PROBES][HEIGHT] = {{0}};
    struct view view = rows_of(v, numbers, rows);

    probe_integers(&view, (const uint64_t *[]){v->r[0], v->r[1]}, (uint64_t *[]){sums[0], sums[1]});
    for (uint64_t i = 0; i < rows; i++)
        for (int p = 0; p < PROBES; p++)
            if (sums[p][i] != ((uint64_t *)v->a_b_r[p])[row + i])
                return fault_set(why, ERR_UNVERIFIED, "row %" PRIu64 " of C is wrong: the check of integers is exact",
                                 v->region.row + row + i);
    return ERR_OK;
}

enum err verify_rows(const struct verify *v, const void *numbers, uint64_t row, uint64_t rows, struct verdict *verdict,
                     struct fault *why)
{
    const char *at = numbers;
    size_t      line = v->region.cols * dtype_bytes(v->dtype);
    enum err    e = ERR_OK;

    for (uint64_t done = 0; done < rows && !e; done += HEIGHT) {
        uint64_t some = rows - done < HEIGHT ? rows - done : HEIGHT;

        e = is_whole(v->dtype) ? compare_integers(v, at + done * line, row + done, some, why)
                               : compare_floats(v, at + done * line, row + done, some, verdict, why);
    }
    return e;
}

void verdict_add(struct verdict *v, const struct verdict *other)
{
    v->bound = fmax(v->bound, other->bound);
    v->unchecked += other->unchecked;
    v->is_infinite |= other->is_infinite;
}

/* The number is printed by hand: for a product of a few numbers, formatting would be most of the work. */
void verdict_describe(const struct verdict *v, char json[VERIFIED_BYTES])
{
    static const char head[] = "{\"method\":\"freivalds\",\"probes\":2,\"bound\":";
    size_t            len = sizeof head - 1;

    static_assert(PROBES == 2 && sizeof head + NUMTEXT_BYTES + 40 < VERIFIED_BYTES, "it says so, and there is room");
    memcpy(json, head, len);
    len += numtext_print(v->bound, json + len);
    if (v->unchecked)
        len += (size_t)snprintf(json + len, VERIFIED_BYTES - len, ",\"unchecked\":%" PRIu64, v->unchecked);
    memcpy(json + len, "}", 2);
}
