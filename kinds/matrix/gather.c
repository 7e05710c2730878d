/* SPDX-License-Identifier: Apache-2.0 */
/* gather.c - where the numbers of an operand go, and what is said of them in the end. */
#include "kinds/matrix/gather.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 512 /* bytes; doubles up to inline_max */
#define ALIGNMENT 8    /* of B within a body */

static char letter(int i) { return (char)('A' + i); }

void gather_init(struct gather *g, const struct limits *limits, const struct blobs_face *blobs)
{
    *g = (struct gather){.limits = *limits};
    if (blobs && limits->has_blobs)
        g->face = *blobs;
}

void gather_fini(struct gather *g)
{
    for (int i = 0; i < OPERANDS; i++) {
        buf_free(&g->parts[i].numbers);
        buf_free(&g->parts[i].header);
    }
}

uint64_t gather_side_max(const struct gather *g)
{
    uint64_t most = (uint64_t)MATRIX_SIDE_MAX, limit = (uint64_t)g->limits.side_max;

    return limit && limit < most ? limit : most;
}

enum err gather_shape(struct gather *g, int i, uint64_t rows, uint64_t cols, struct fault *why)
{
    uint64_t most = gather_side_max(g);

    if (rows > most || cols > most)
        return fault_set(why, ERR_TOO_LARGE, "%c has %llu %s; at most %llu are taken", letter(i),
                         (ull)(rows > most ? rows : cols), rows > most ? "rows" : "columns", (ull)most);
    g->parts[i].o.rows = rows;
    g->parts[i].o.cols = cols;
    return ERR_OK;
}

/* ---- numbers ------------------------------------------------------------ */

static enum err flush(struct gather *g, struct gathered *p, struct fault *why)
{
    size_t len = p->numbers.len;

    p->numbers.len = 0;
    return len ? g->face.append(p->blob, p->numbers.data, len, why) : ERR_OK;
}

/* All of the numbers are in the blob: what stands in front of them is known now. */
static enum err end_blob(struct gather *g, struct gathered *p, struct fault *why)
{
    char     header[NPY_HEADER_BYTES];
    enum err e = flush(g, p, why);

    buf_free(&p->numbers);
    if (e || p->header.len)
        return e;
    npy_write_header(header, p->o.dtype, p->o.rows, p->o.cols);
    g->face.set_head(p->blob, header);
    return ERR_OK;
}

/* Moves an operand out of memory. The bytes of a file stay what they were, its header included. */
static enum err move_out(struct gather *g, struct gathered *p, struct fault *why)
{
    size_t   head = p->header.len ? 0 : NPY_HEADER_BYTES;
    enum err e = g->face.create(g->face.ctx, head, &p->blob, &p->name, why);

    if (e)
        return e;
    p->o.at = OPERAND_BLOB;
    p->o.offset = p->header.len ? p->header.len : NPY_HEADER_BYTES;
    if (p->header.len)
        e = g->face.append(p->blob, p->header.data, p->header.len, why);
    if (!e)
        e = p->is_closed ? end_blob(g, p, why) : flush(g, p, why);
    if (e || p->is_closed)
        return e;
    buf_free(&p->numbers);
    buf_reserve(&p->numbers, GATHER_CHUNK);
    return ERR_OK;
}

/* Both operands together are too large for memory. */
static enum err spill(struct gather *g, struct fault *why)
{
    enum err e = ERR_OK;

    if (!g->face.create)
        return fault_set(why, ERR_TOO_LARGE, "the operands take more than %zu bytes, which is the limit",
                         g->limits.inline_max);
    g->is_spilled = true;
    for (int i = 0; i < OPERANDS && !e; i++)
        if (g->parts[i].is_given && g->parts[i].o.at == OPERAND_BODY)
            e = move_out(g, &g->parts[i], why);
    return e;
}

/* Bytes of a body with so many of A and of B. */
static uint64_t body_bytes(uint64_t a, uint64_t b) { return (a + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + b; }

void gather_open(struct gather *g, int i)
{
    g->parts[i].is_given = true;
    g->parts[i].o = (struct operand){.at = OPERAND_BODY, .dtype = DTYPE_F8};
}

/* More memory, within what inline_max leaves. */
static void grow(struct buf *b, size_t most)
{
    size_t cap = b->cap ? b->cap * 2 : FIRST_ROOM;

    b->cap = cap < most ? cap : most;
    b->data = xrealloc(b->data, b->cap);
}

enum err gather_room(struct gather *g, int i, struct fault *why)
{
    struct gathered *p = &g->parts[i];
    uint64_t         used = body_bytes(g->parts[0].numbers.len, g->parts[1].numbers.len);

    if (p->blob)
        return flush(g, p, why);
    if (g->is_spilled)
        return move_out(g, p, why);
    if (g->limits.inline_max - used < sizeof(double))
        return spill(g, why);
    grow(&p->numbers, g->limits.inline_max - (used - p->numbers.len));
    return ERR_OK;
}

enum err gather_open_file(struct gather *g, int i, const struct npy *n, const void *header, struct fault *why)
{
    struct gathered *p = &g->parts[i];
    uint64_t         bytes = npy_data_bytes(n), other = g->parts[!i].numbers.len;
    uint64_t         sum = i ? body_bytes(other, bytes) : body_bytes(bytes, other);
    enum err         e = gather_shape(g, i, n->rows, n->cols, why);

    if (e)
        return e;
    p->is_given = true;
    p->o.at = OPERAND_BODY;
    p->o.dtype = n->dtype;
    p->o.is_fortran = n->is_fortran;
    buf_append(&p->header, header, n->data_at);
    if (g->is_spilled)
        return move_out(g, p, why);
    if (sum > g->limits.inline_max)
        return spill(g, why);
    buf_reserve(&p->numbers, bytes);
    return ERR_OK;
}

enum err gather_append(struct gather *g, int i, const char *bytes, size_t len, struct fault *why)
{
    struct gathered *p = &g->parts[i];

    if (p->blob && len > p->numbers.cap - p->numbers.len) {
        enum err e = flush(g, p, why);

        if (!e && len > p->numbers.cap / 4)
            return g->face.append(p->blob, bytes, len, why); /* large enough to go as it is */
        if (e)
            return e;
    }
    buf_append(&p->numbers, bytes, len);
    return ERR_OK;
}

enum err gather_close(struct gather *g, int i, struct fault *why)
{
    struct gathered *p = &g->parts[i];

    p->is_closed = true;
    return p->blob ? end_blob(g, p, why) : ERR_OK;
}

/* ---- operands without numbers ------------------------------------------------ */

static enum err refuse_name(int i, const char *name, struct fault *why)
{
    return fault_set(why, ERR_NO_BLOB, "operand %c: there is no blob '%.*s'", letter(i), BLOB_NAME_BYTES, name);
}

enum err gather_blob(struct gather *g, int i, const char *name, struct fault *why)
{
    struct gathered *p = &g->parts[i];
    size_t           len = strlen(name);

    if (!g->face.create)
        return fault_set(why, ERR_NO_BLOB,
                         "operand %c names a blob; there are none here (MILLRACE_BLOB_DIR is not set)", letter(i));
    if (!len || len >= sizeof(p->named) || name[strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz-")])
        return refuse_name(i, name, why);
    memcpy(p->named, name, len + 1);
    p->name = p->named;
    p->o = (struct operand){.at = OPERAND_BLOB};
    p->is_given = p->is_closed = true;
    return ERR_OK;
}

enum err gather_random(struct gather *g, int i, uint64_t rows, uint64_t cols, uint64_t seed, struct fault *why)
{
    struct gathered *p = &g->parts[i];

    p->o = (struct operand){.at = OPERAND_RANDOM, .dtype = DTYPE_F8, .seed = seed};
    p->is_given = p->is_closed = true;
    return gather_shape(g, i, rows, cols, why);
}

/* Reads what kind of matrix the named blob is. */
static enum err look_into(struct gather *g, int i, struct fault *why)
{
    struct gathered *p = &g->parts[i];
    char            *start = xmalloc(NPY_HEADER_MAX);
    size_t           got = 0, need = 0;
    uint64_t         size = 0;
    struct npy       n = {0};
    struct fault     inner = {0};
    enum err         e = g->face.peek(g->face.ctx, p->named, start, NPY_HEADER_MAX, &got, &size, why);

    if (e == ERR_NO_BLOB)
        e = refuse_name(i, p->named, why);
    if (e)
        goto out;
    e = npy_read_header(start, got, &n, &need, &inner);
    if (e)
        e = fault_set(why, e, "operand %c, blob %s: %s", letter(i), p->named, inner.detail);
    else if (need > got)
        e = fault_set(why, ERR_BODY, "operand %c, blob %s: the NumPy header is cut short", letter(i), p->named);
    else if (size != n.data_at + npy_data_bytes(&n))
        e = fault_set(why, ERR_BODY, "operand %c, blob %s has %llu bytes; %llu x %llu of %s take %llu", letter(i),
                      p->named, (ull)size, (ull)n.rows, (ull)n.cols, dtype_name(n.dtype),
                      (ull)(n.data_at + npy_data_bytes(&n)));
    else
        e = gather_shape(g, i, n.rows, n.cols, why);
    p->o.dtype = n.dtype;
    p->o.is_fortran = n.is_fortran;
    p->o.offset = n.data_at;
out:
    free(start);
    return e;
}

/* ---- the input --------------------------------------------------------------- */

/* A side that the query named too must be that of the operands. */
static enum err set_side(struct args *args, int i, uint64_t side, struct fault *why)
{
    const struct param *p = &matrix_spec.params[i];

    if (!isnan(args->real[i]) && (uint64_t)args->integer[i] != side)
        return fault_set(why, ERR_PARAM, "%s is given as %lld, but there are %llu %s", p->name,
                         (long long)args->integer[i], (ull)side, p->help);
    args->integer[i] = (int64_t)side;
    args->real[i] = (double)side;
    return ERR_OK;
}

static enum err set_sides(const struct gather *g, struct args *args, struct fault *why)
{
    const struct operand *a = &g->parts[0].o, *b = &g->parts[1].o;
    enum err              e;

    if (a->cols != b->rows)
        return fault_set(why, ERR_SHAPE, "A is %llu x %llu and B is %llu x %llu: A must have as many columns as B rows",
                         (ull)a->rows, (ull)a->cols, (ull)b->rows, (ull)b->cols);
    e = set_side(args, MATRIX_M, a->rows, why);
    if (!e)
        e = set_side(args, MATRIX_K, a->cols, why);
    return e ? e : set_side(args, MATRIX_N, b->cols, why);
}

/* Whether the operands are what a body without refs is. */
static bool is_plain(const struct gather *g)
{
    for (int i = 0; i < OPERANDS; i++) {
        const struct operand *o = &g->parts[i].o;

        if (o->at != OPERAND_BODY || o->dtype != DTYPE_F8 || o->is_fortran)
            return false;
    }
    return true;
}

/* Puts what is in memory one behind the other. */
static void make_body(struct gather *g, struct buf *body)
{
    for (int i = 0; i < OPERANDS; i++) {
        struct gathered *p = &g->parts[i];

        if (p->o.at != OPERAND_BODY)
            continue;
        while (body->len % ALIGNMENT)
            buf_append(body, "", 1);
        p->o.offset = body->len;
        if (body->data) {
            buf_append(body, p->numbers.data, p->numbers.len);
        } else { /* nothing to add to: give away what is at hand */
            *body = p->numbers;
            p->numbers = (struct buf){0};
        }
    }
}

/* Names each blob once and describes both operands. */
static void make_refs(struct gather *g, struct buf *refs)
{
    const char    *names[OPERANDS];
    struct operand operands[OPERANDS];
    int            count = 0;

    for (int i = 0; i < OPERANDS; i++) {
        struct gathered *p = &g->parts[i];

        if (p->o.at == OPERAND_BLOB) {
            p->o.blob = count && !strcmp(names[0], p->name) ? 0 : count;
            names[p->o.blob] = p->name;
            count = p->o.blob + 1 > count ? p->o.blob + 1 : count;
        }
        operands[i] = p->o;
    }
    operands_write(operands, names, count, refs);
}

enum err gather_finish(struct gather *g, struct args *args, struct taken *out, struct fault *why)
{
    enum err e = ERR_OK;

    for (int i = 0; i < OPERANDS && !e; i++)
        if (*g->parts[i].named)
            e = look_into(g, i, why);
    if (!e)
        e = set_sides(g, args, why);
    if (e)
        return e;
    make_body(g, &out->body);
    if (!is_plain(g))
        make_refs(g, &out->refs);
    return ERR_OK;
}
