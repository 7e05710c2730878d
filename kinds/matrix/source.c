/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - mapping, viewing, converting. */
#include "kinds/matrix/source.h"

#include <limits.h>

#include "kinds/crew.h"
#include "kinds/matrix/philox.h"
#include "kinds/matrix/wide.h"

#define SHARED_FROM (1u << 16) /* numbers that are worth waking others for */

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

/* Lines of a block (rows; columns where it lies by columns) that go into the buffer. */
struct filling {
    const struct source *source;
    const struct region *part;
    struct view          filled; /* all of it */
};

static void convert(const struct filling *f, struct stretch lines)
{
    struct view stored = source_view(f->source, f->part);
    convert_fn *each = converts[stored.dtype][f->filled.dtype];
    uint64_t    len = f->filled.ld;

    assert(each);
    for (uint64_t i = lines.from; i < lines.from + lines.count; i++)
        each((const char *)stored.numbers + i * stored.ld * dtype_bytes(stored.dtype),
             (char *)f->filled.numbers + i * len * dtype_bytes(f->filled.dtype), len);
}

static void generate(const struct filling *f, struct stretch rows)
{
    const struct source *s = f->source;
    const struct region *part = f->part;

    for (uint64_t i = rows.from; i < rows.from + rows.count; i++)
        philox_fill(s->operand->seed, (s->region.row + part->row + i) * s->operand->cols + s->region.col + part->col,
                    (double *)f->filled.numbers + i * part->cols, part->cols);
}

static void fill(void *ctx, int part, int parts)
{
    const struct filling *f = ctx;
    uint64_t              lines = f->filled.is_fortran ? f->filled.cols : f->filled.rows;

    (f->source->numbers ? convert : generate)(f, crew_stretch(lines, part, parts));
}

struct view source_fill(const struct source *s, const struct region *part, enum dtype wanted, void *out,
                        struct crew *crew)
{
    bool           is_fortran = s->numbers && s->operand->is_fortran;
    struct filling f = {s,
                        part,
                        {.numbers = out,
                         .dtype = wanted,
                         .is_fortran = is_fortran,
                         .rows = part->rows,
                         .cols = part->cols,
                         .ld = is_fortran ? part->rows : part->cols}};

    assert(s->numbers || wanted == DTYPE_F8);
    crew_run(part->rows * part->cols >= SHARED_FROM ? crew : NULL, fill, &f);
    return f.filled;
}
