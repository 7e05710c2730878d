/* SPDX-License-Identifier: Apache-2.0 */
/* overflow.c - finds what is not finite, and whose fault that is. */
#include "kinds/matrix/overflow.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "kinds/matrix/wide.h"

enum err overflow_at(enum dtype dtype, const struct region *region, uint64_t i, uint64_t j, struct fault *why)
{
    static const char *const names[DTYPE_COUNT] = {"float64", "float32", "int64", "int32"};

    return fault_set(why, ERR_OVERFLOW, "the product overflows %s in row %" PRIu64 ", column %" PRIu64 " of C",
                     names[dtype], region->row + i, region->col + j);
}

/* Index of the first of so many numbers that is not finite, or count. Integers are. */
static size_t find_infinite(enum dtype dtype, const void *numbers, size_t count)
{
    const raw_f8 *f8 = numbers;
    const raw_f4 *f4 = numbers;
    size_t        i = 0;

    if (dtype == DTYPE_F8)
        while (i < count && isfinite(f8[i]))
            i++;
    else if (dtype == DTYPE_F4)
        while (i < count && isfinite(f4[i]))
            i++;
    else
        i = count;
    return i;
}

/* Marks the rows (or columns) of m that have a number that is not finite. */
static void mark(const struct view *m, bool by_row, unsigned char *is_tainted)
{
    bool     by_line = by_row != m->is_fortran;
    uint64_t lines = m->is_fortran ? m->cols : m->rows, len = m->is_fortran ? m->rows : m->cols;
    size_t   width = dtype_bytes(m->dtype);

    if (!m->numbers)
        return;
    for (uint64_t line = 0; line < lines; line++) {
        const char *numbers = (const char *)m->numbers + line * m->ld * width;

        for (size_t at = 0; (at += find_infinite(m->dtype, numbers + at * width, len - at)) < len; at++) {
            is_tainted[by_line ? line : at] = 1;
            if (by_line)
                break;
        }
    }
}

enum err overflow_refuse(const struct view *a, const struct view *b, enum dtype dtype, const struct region *region,
                         const void *c, struct fault *why)
{
    size_t         count = region->rows * region->cols, width = dtype_bytes(dtype);
    size_t         at = find_infinite(dtype, c, count);
    unsigned char *rows, *cols;

    if (at == count)
        return ERR_OK;
    rows = calloc(region->rows + region->cols, 1);
    if (!rows)
        return fault_set(why, ERR_MEMORY, "no memory to look where the product stopped being finite");
    cols = rows + region->rows;
    mark(a, true, rows);
    mark(b, false, cols);
    while (at < count && (rows[at / region->cols] || cols[at % region->cols])) {
        at++;
        at += find_infinite(dtype, (const char *)c + at * width, count - at);
    }
    free(rows);
    return at == count ? ERR_OK : overflow_at(dtype, region, at / region->cols, at % region->cols, why);
}
