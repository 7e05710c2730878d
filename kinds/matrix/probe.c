/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - for each type and order the same sums.
 *
 * A matrix that lies row by row is a row of dot products; one that lies column by column is added up column by
 * column, in stretches of rows whose sums stay in the nearest caches. Several rows or columns go side by side: what
 * they share is loaded once, and more of the matrix is under way from the memory.
 */
#include "kinds/matrix/probe.h"

#include <math.h>
#include <string.h>

#include "kinds/matrix/wide.h"

#define LANES 8
#define SIDE_BY_SIDE 4
#define STRETCH 1024 /* rows */
#define SUMS (PROBES + 1)

static_assert(PROBES == 2 && SIDE_BY_SIDE == 4, "the loops are written for these");

typedef double   lanes_f8 __attribute__((vector_size(LANES * sizeof(double))));
typedef uint64_t lanes_bits __attribute__((vector_size(LANES * sizeof(double))));
typedef float    lanes_f4 __attribute__((vector_size(LANES * sizeof(float))));

#define ABSOLUTE(x) ((lanes_f8)((lanes_bits)(x)&0x7fffffffffffffffu))

static double sum_of(const lanes_f8 *lanes)
{
    const double *x = (const double *)lanes;

    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

/* ---- row by row -------------------------------------------------------------------- */

/* GAIN: what the third sum gains by x, where w is the third vector; GAIN_LANES: the same for lanes. */
#define DEFINE_ROWS(name, raw, lanes_raw, GAIN_LANES, GAIN)                                                            \
    WIDE static void name(const void *const rows[SIDE_BY_SIDE], size_t count, const double *v0, const double *v1,      \
                          const double *v2, double sums[SIDE_BY_SIDE][SUMS])                                           \
    {                                                                                                                  \
        const raw *const m[SIDE_BY_SIDE] = {rows[0], rows[1], rows[2], rows[3]};                                       \
        lanes_f8         s[SIDE_BY_SIDE][SUMS] = {{{0}}};                                                              \
        size_t           j = 0;                                                                                        \
                                                                                                                       \
        for (; j + LANES <= count; j += LANES) {                                                                       \
            lanes_f8 f0, f1, w;                                                                                        \
                                                                                                                       \
            memcpy(&f0, v0 + j, sizeof f0);                                                                            \
            memcpy(&f1, v1 + j, sizeof f1);                                                                            \
            memcpy(&w, v2 + j, sizeof w);                                                                              \
            _Pragma("GCC unroll 4") for (int i = 0; i < SIDE_BY_SIDE; i++)                                             \
            {                                                                                                          \
                lanes_raw stored;                                                                                      \
                lanes_f8  x;                                                                                           \
                                                                                                                       \
                memcpy(&stored, m[i] + j, sizeof stored);                                                              \
                x = __builtin_convertvector(stored, lanes_f8);                                                         \
                s[i][0] += x * f0;                                                                                     \
                s[i][1] += x * f1;                                                                                     \
                s[i][2] += GAIN_LANES;                                                                                 \
            }                                                                                                          \
            (void)w;                                                                                                   \
        }                                                                                                              \
        for (int i = 0; i < SIDE_BY_SIDE; i++) {                                                                       \
            for (int p = 0; p < SUMS; p++)                                                                             \
                sums[i][p] = sum_of(&s[i][p]);                                                                         \
            for (size_t tail = j; tail < count; tail++) {                                                              \
                double x = (double)m[i][tail], w = v2[tail];                                                           \
                                                                                                                       \
                sums[i][0] += x * v0[tail];                                                                            \
                sums[i][1] += x * v1[tail];                                                                            \
                sums[i][2] += GAIN;                                                                                    \
                (void)w;                                                                                               \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_ROWS(rows_f8_weighted, raw_f8, lanes_f8, ABSOLUTE(x) * w, fabs(x) * w)
DEFINE_ROWS(rows_f4_weighted, raw_f4, lanes_f4, ABSOLUTE(x) * w, fabs(x) * w)
DEFINE_ROWS(rows_f8_squared, raw_f8, lanes_f8, x *x, x *x)
DEFINE_ROWS(rows_f4_squared, raw_f4, lanes_f4, x *x, x *x)

typedef void rows_fn(const void *const rows[SIDE_BY_SIDE], size_t count, const double *v0, const double *v1,
                     const double *v2, double sums[SIDE_BY_SIDE][SUMS]);

static void probe_rows(const struct view *m, const double *const v[SUMS], double *const out[SUMS])
{
    rows_fn *const each = m->dtype == DTYPE_F8 ? v[2] ? rows_f8_weighted : rows_f8_squared
                          : v[2]               ? rows_f4_weighted
                                               : rows_f4_squared;
    size_t         line = m->ld * dtype_bytes(m->dtype);

    for (size_t at = 0; at < m->rows; at += SIDE_BY_SIDE) {
        size_t      count = m->rows - at < SIDE_BY_SIDE ? m->rows - at : SIDE_BY_SIDE;
        const void *rows[SIDE_BY_SIDE];
        double      sums[SIDE_BY_SIDE][SUMS];

        for (size_t i = 0; i < SIDE_BY_SIDE; i++) /* at the end the last row stands for those that are not there */
            rows[i] = (const char *)m->numbers + (at + (i < count ? i : count - 1)) * line;
        each(rows, m->cols, v[0], v[1], v[2] ? v[2] : v[0], sums);
        for (size_t i = 0; i < count; i++)
            for (int p = 0; p < SUMS; p++)
                out[p][at + i] += sums[i][p];
    }
}

/* ---- column by column ---------------------------------------------------------------- */

/* Adds stretches of WIDTH columns, a distance of `line` numbers apart, to the sums of their rows. f: the factors of
 * each column. */
#define DEFINE_COLUMNS(name, raw, WIDTH, GAIN)                                                                         \
    WIDE static void name(const void *first, size_t line, size_t count, const double f[SIDE_BY_SIDE][SUMS],            \
                          double *restrict o0, double *restrict o1, double *restrict o2)                               \
    {                                                                                                                  \
        const raw *m = first;                                                                                          \
                                                                                                                       \
        for (size_t i = 0; i < count; i++) {                                                                           \
            double s0 = o0[i], s1 = o1[i], s2 = o2[i];                                                                 \
                                                                                                                       \
            _Pragma("GCC unroll 4") for (int c = 0; c < (WIDTH); c++)                                                  \
            {                                                                                                          \
                double x = (double)m[(size_t)c * line + i];                                                            \
                                                                                                                       \
                s0 += x * f[c][0];                                                                                     \
                s1 += x * f[c][1];                                                                                     \
                s2 += GAIN;                                                                                            \
            }                                                                                                          \
            o0[i] = s0;                                                                                                \
            o1[i] = s1;                                                                                                \
            o2[i] = s2;                                                                                                \
        }                                                                                                              \
    }

DEFINE_COLUMNS(columns_f8_weighted, raw_f8, SIDE_BY_SIDE, fabs(x) * f[c][2])
DEFINE_COLUMNS(columns_f4_weighted, raw_f4, SIDE_BY_SIDE, fabs(x) * f[c][2])
DEFINE_COLUMNS(columns_f8_squared, raw_f8, SIDE_BY_SIDE, x *x)
DEFINE_COLUMNS(columns_f4_squared, raw_f4, SIDE_BY_SIDE, x *x)
DEFINE_COLUMNS(column_f8_weighted, raw_f8, 1, fabs(x) * f[c][2])
DEFINE_COLUMNS(column_f4_weighted, raw_f4, 1, fabs(x) * f[c][2])
DEFINE_COLUMNS(column_f8_squared, raw_f8, 1, x *x)
DEFINE_COLUMNS(column_f4_squared, raw_f4, 1, x *x)

typedef void columns_fn(const void *first, size_t line, size_t count, const double f[SIDE_BY_SIDE][SUMS],
                        double *restrict o0, double *restrict o1, double *restrict o2);

/* [is float32][is squared][one at a time] */
static columns_fn *const columns[2][2][2] = {
    {{columns_f8_weighted, column_f8_weighted}, {columns_f8_squared, column_f8_squared}},
    {{columns_f4_weighted, column_f4_weighted}, {columns_f4_squared, column_f4_squared}}};

static void probe_columns(const struct view *m, const double *const v[SUMS], double *const out[SUMS])
{
    columns_fn *const *each = columns[m->dtype == DTYPE_F4][!v[2]];

    for (size_t at = 0; at < m->rows; at += STRETCH) {
        size_t count = m->rows - at < STRETCH ? m->rows - at : STRETCH;

        for (size_t j = 0, width; j < m->cols; j += width) {
            double f[SIDE_BY_SIDE][SUMS];

            width = m->cols - j < SIDE_BY_SIDE ? 1 : SIDE_BY_SIDE;
            for (size_t c = 0; c < width; c++)
                for (int p = 0; p < SUMS; p++)
                    f[c][p] = v[p] ? v[p][j + c] : 0;
            each[width == 1]((const char *)m->numbers + (j * m->ld + at) * dtype_bytes(m->dtype), m->ld, count,
                             (const double(*)[SUMS])f, out[0] + at, out[1] + at, out[2] + at);
        }
    }
}

void probe_floats(const struct view *m, const double *const v[SUMS], double *const out[SUMS])
{
    assert(m->dtype == DTYPE_F8 || m->dtype == DTYPE_F4);
    (m->is_fortran ? probe_columns : probe_rows)(m, v, out);
}

/* ---- integers ------------------------------------------------------------------------ */

#define DEFINE_WHOLE(type, raw)                                                                                        \
    WIDE static void row_##type(const raw *numbers, size_t count, const uint64_t *v0, const uint64_t *v1,              \
                                uint64_t sums[PROBES])                                                                 \
    {                                                                                                                  \
        uint64_t s0 = 0, s1 = 0;                                                                                       \
                                                                                                                       \
        for (size_t j = 0; j < count; j++) {                                                                           \
            uint64_t x = (uint64_t)(int64_t)numbers[j];                                                                \
                                                                                                                       \
            s0 += x * v0[j];                                                                                           \
            s1 += x * v1[j];                                                                                           \
        }                                                                                                              \
        sums[0] = s0;                                                                                                  \
        sums[1] = s1;                                                                                                  \
    }                                                                                                                  \
    WIDE static void column_##type(const raw *numbers, size_t count, uint64_t f0, uint64_t f1, uint64_t *restrict o0,  \
                                   uint64_t *restrict o1)                                                              \
    {                                                                                                                  \
        for (size_t i = 0; i < count; i++) {                                                                           \
            uint64_t x = (uint64_t)(int64_t)numbers[i];                                                                \
                                                                                                                       \
            o0[i] += x * f0;                                                                                           \
            o1[i] += x * f1;                                                                                           \
        }                                                                                                              \
    }

DEFINE_WHOLE(i8, raw_i8)
DEFINE_WHOLE(i4, raw_i4)

static void probe_integer_rows(const struct view *m, const uint64_t *const v[PROBES], uint64_t *const out[PROBES])
{
    for (size_t i = 0; i < m->rows; i++) {
        const char *row = (const char *)m->numbers + i * m->ld * dtype_bytes(m->dtype);
        uint64_t    sums[PROBES];

        if (m->dtype == DTYPE_I8)
            row_i8((const raw_i8 *)row, m->cols, v[0], v[1], sums);
        else
            row_i4((const raw_i4 *)row, m->cols, v[0], v[1], sums);
        out[0][i] += sums[0];
        out[1][i] += sums[1];
    }
}

void probe_integers(const struct view *m, const uint64_t *const v[PROBES], uint64_t *const out[PROBES])
{
    assert(m->dtype == DTYPE_I8 || m->dtype == DTYPE_I4);
    if (!m->is_fortran) {
        probe_integer_rows(m, v, out);
        return;
    }
    for (size_t at = 0; at < m->rows; at += STRETCH) {
        size_t count = m->rows - at < STRETCH ? m->rows - at : STRETCH;

        for (size_t j = 0; j < m->cols; j++) {
            const char *column = (const char *)m->numbers + (j * m->ld + at) * dtype_bytes(m->dtype);

            if (m->dtype == DTYPE_I8)
                column_i8((const raw_i8 *)column, count, v[0][j], v[1][j], out[0] + at, out[1] + at);
            else
                column_i4((const raw_i4 *)column, count, v[0][j], v[1][j], out[0] + at, out[1] + at);
        }
    }
}
