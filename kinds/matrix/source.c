/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - mapping, viewing, converting. */
#include "kinds/matrix/source.h"

#include <limits.h>

#include "kinds/matrix/philox.h"
#include "kinds/matrix/wide.h"

/* Numbers between the first of the operand and that at row, col. */
static uint64_t place_of(const struct operand *o, uint64_t row, uint64_t col)
{
    return o->is_fortran ? col * o->rows + row : row * o->cols + col;
}

enum err source_open(struct source *s, const struct operand *o, const struct region *r, const struct task *task,
                     struct fault *why)
{
    uint64_t bytes = o->rows * o->cols * dtype_bytes(o->dtype); /* counted before: operands_read */
    uint64_t first = place_of(o, r->row, r->col) * dtype_bytes(o->dtype);
    uint64_t last = place_of(o, r->row + r->rows - 1, r->col + r->cols - 1) * dtype_bytes(o->dtype);
    uint64_t room;
    enum err e;

    *s = (struct source){.operand = o, .region = *r};
    if (o->at == OPERAND_RANDOM)
        return ERR_OK;
    if (o->at == OPERAND_BLOB && o->blob >= task->blob_count)
        return fault_set(why, ERR_INTERNAL, "blob %d of an operand did not come with the job", o->blob);
    room = o->at == OPERAND_BLOB ? task->blob_bytes[o->blob] : task->input_len;
    if (o->offset > room || bytes > room - o->offset)
        return fault_set(why, ERR_BODY, "an operand of %llu x %llu at byte %llu does not fit into a %s of %llu bytes",
                         (unsigned long long)o->rows, (unsigned long long)o->cols, (unsigned long long)o->offset,
                         o->at == OPERAND_BLOB ? "blob" : "body", (unsigned long long)room);
    if (o->at == OPERAND_BODY) {
        s->numbers = (const char *)task->input + o->offset + first;
        return ERR_OK;
    }
    e = filemap_open(task->blob_fds[o->blob], o->offset + first, last - first + dtype_bytes(o->dtype), &s->map, why);
    if (!e)
        s->numbers = s->map.bytes;
    return e;
}

void source_close(struct source *s) { filemap_close(&s->map); }

/* ---- as it lies ---------------------------------------------------------------- */

bool source_is_direct(const struct source *s, enum dtype wanted)
{
    const struct operand *o = s->operand;

    return s->numbers && o->dtype == wanted && (uintptr_t)s->numbers % dtype_bytes(wanted) == 0 &&
           (o->is_fortran ? o->rows : o->cols) <= INT_MAX;
}

struct view source_view(const struct source *s, const struct region *part)
{
    const struct operand *o = s->operand;

    return (struct view){.numbers = s->numbers + place_of(o, part->row, part->col) * dtype_bytes(o->dtype),
                         .dtype = o->dtype,
                         .is_fortran = o->is_fortran,
                         .rows = part->rows,
                         .cols = part->cols,
                         .ld = o->is_fortran ? o->rows : o->cols};
}

/* ---- into a buffer --------------------------------------------------------------- */

/* out[i] = in[i], whatever the types are. */
#define DEFINE_CONVERT(name, from, to)                                                                                 \
    WIDE static void name(const void *in, void *out, size_t count)                                                     \
    {                                                                                                                  \
        const from *restrict numbers = in;                                                                             \
        to *restrict wanted = out;                                                                                     \
                                                                                                                       \
        for (size_t i = 0; i < count; i++)                                                                             \
            wanted[i] = (to)numbers[i];                                                                                \
    }
DEFINE_CONVERT(convert_f8_f8, raw_f8, double)
DEFINE_CONVERT(convert_f4_f8, raw_f4, double)
DEFINE_CONVERT(convert_i8_f8, raw_i8, double)
DEFINE_CONVERT(convert_i4_f8, raw_i4, double)
DEFINE_CONVERT(convert_f4_f4, raw_f4, float)

typedef void convert_fn(const void *in, void *out, size_t count);

static convert_fn *const converts[DTYPE_COUNT][DTYPE_COUNT] = {
    [DTYPE_F8] = {[DTYPE_F8] = convert_f8_f8},
    [DTYPE_F4] = {[DTYPE_F8] = convert_f4_f8, [DTYPE_F4] = convert_f4_f4},
    [DTYPE_I8] = {[DTYPE_F8] = convert_i8_f8},
    [DTYPE_I4] = {[DTYPE_F8] = convert_i4_f8},
};

static void convert(const struct view *from, enum dtype wanted, char *out)
{
    convert_fn *each = converts[from->dtype][wanted];
    uint64_t    lines = from->is_fortran ? from->cols : from->rows, len = from->is_fortran ? from->rows : from->cols;

    assert(each);
    for (uint64_t i = 0; i < lines; i++)
        each((const char *)from->numbers + i * from->ld * dtype_bytes(from->dtype), out + i * len * dtype_bytes(wanted),
             len);
}

static void generate(const struct source *s, const struct region *part, double *out)
{
    for (uint64_t i = 0; i < part->rows; i++)
        philox_fill(s->operand->seed, (s->region.row + part->row + i) * s->operand->cols + s->region.col + part->col,
                    out + i * part->cols, part->cols);
}

struct view source_fill(const struct source *s, const struct region *part, enum dtype wanted, void *out)
{
    struct view filled = {.numbers = out, .dtype = wanted, .rows = part->rows, .cols = part->cols};

    if (s->numbers) {
        struct view stored = source_view(s, part);

        convert(&stored, wanted, out);
        filled.is_fortran = stored.is_fortran;
    } else {
        assert(wanted == DTYPE_F8);
        generate(s, part, out);
    }
    filled.ld = filled.is_fortran ? part->rows : part->cols;
    return filled;
}
