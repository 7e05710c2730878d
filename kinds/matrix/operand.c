/* SPDX-License-Identifier: Apache-2.0 */
/* operand.c - operands and layouts as JSON, the numbers' types, the tile of a job. */
#include "kinds/matrix/matrix.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t      bytes;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_F8] = {"f8", 8},
    [DTYPE_F4] = {"f4", 4},
    [DTYPE_I8] = {"i8", 8},
    [DTYPE_I4] = {"i4", 4},
};

static const char *const places[] = {[OPERAND_BODY] = "body", [OPERAND_BLOB] = "blob", [OPERAND_RANDOM] = "random"};
#define PLACE_COUNT (sizeof places / sizeof *places)

size_t      dtype_bytes(enum dtype t) { return dtypes[t].bytes; }
const char *dtype_name(enum dtype t) { return dtypes[t].name; }

enum dtype dtype_from_name(const char *name)
{
    int t = 0;

    while (t < DTYPE_COUNT && strcmp(dtypes[t].name, name) != 0)
        t++;
    return (enum dtype)t;
}

enum dtype dtype_promote(enum dtype a, enum dtype b)
{
    bool is_whole_a = a == DTYPE_I8 || a == DTYPE_I4, is_whole_b = b == DTYPE_I8 || b == DTYPE_I4;

    if (a == b)
        return a;
    return is_whole_a && is_whole_b ? DTYPE_I8 : DTYPE_F8;
}

/* ---- refs ---------------------------------------------------------------- */

/* A whole number of at least 0 under this name; absent counts as 0. */
static bool read_whole(const json_t *doc, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(doc, name);

    *out = (uint64_t)json_integer_value(value);
    return !value || (json_is_integer(value) && json_integer_value(value) >= 0);
}

static bool read_operand(const json_t *doc, int blob_count, struct operand *o)
{
    const char *at = json_string_value(json_object_get(doc, "at"));
    const char *type = json_string_value(json_object_get(doc, "dtype"));
    const char *order = json_string_value(json_object_get(doc, "order"));
    uint64_t    blob;
    size_t      place = 0;

    while (at && place < PLACE_COUNT && strcmp(places[place], at) != 0)
        place++;
    if (!at || place == PLACE_COUNT || !read_whole(doc, "blob", &blob) || !read_whole(doc, "offset", &o->offset) ||
        !read_whole(doc, "seed", &o->seed))
        return false;
    o->at = (enum operand_at)place;
    o->blob = (int)(blob < INPUT_BLOBS_MAX ? blob : INPUT_BLOBS_MAX);
    o->dtype = type ? dtype_from_name(type) : DTYPE_F8;
    o->is_fortran = order && !strcmp(order, "F");
    if (o->at == OPERAND_RANDOM && (o->dtype != DTYPE_F8 || o->is_fortran))
        return false; /* they are made as float64, row by row */
    return o->dtype < DTYPE_COUNT && (!order || o->is_fortran || !strcmp(order, "C")) &&
           (o->at != OPERAND_BLOB || o->blob < blob_count);
}

static enum err read_refs(const char *refs, struct operand out[2], struct fault *why)
{
    json_t  *doc = json_loads(refs, JSON_REJECT_DUPLICATES, NULL);
    int      blob_count = (int)json_array_size(json_object_get(doc, "blobs"));
    enum err e = ERR_OK;

    if (!read_operand(json_object_get(doc, "A"), blob_count, &out[0]) ||
        !read_operand(json_object_get(doc, "B"), blob_count, &out[1]))
        e = fault_set(why, ERR_BODY, "the input's references do not describe two operands");
    json_decref(doc);
    return e;
}

static enum err check_body(const struct operand operands[2], size_t body_len, struct fault *why)
{
    for (int i = 0; i < 2; i++) {
        const struct operand *o = &operands[i];
        uint64_t              bytes;

        if (__builtin_mul_overflow(o->rows * o->cols, dtype_bytes(o->dtype), &bytes)) /* sides are at most 2^31 */
            return fault_set(why, ERR_SHAPE, "operand %c has too many numbers to be counted in bytes", 'A' + i);
        if (o->at == OPERAND_BODY && (o->offset > body_len || bytes > body_len - o->offset))
            return fault_set(why, ERR_BODY, "operand %c of %llu x %llu does not fit into a body of %zu bytes", 'A' + i,
                             (unsigned long long)o->rows, (unsigned long long)o->cols, body_len);
    }
    return ERR_OK;
}

enum err operands_read(const struct args *args, const struct input *in, struct operand out[2], struct fault *why)
{
    uint64_t m = (uint64_t)args->integer[MATRIX_M], k = (uint64_t)args->integer[MATRIX_K];
    uint64_t n = (uint64_t)args->integer[MATRIX_N];
    enum err e = ERR_OK;

    memset(out, 0, 2 * sizeof *out);
    out[0].rows = m;
    out[0].cols = out[1].rows = k;
    out[1].cols = n;
    if (*in->refs)
        e = read_refs(in->refs, out, why);
    else
        out[1].offset = m * k * sizeof(double);
    return e ? e : check_body(out, in->body_len, why);
}

static void write_operand(const struct operand *o, struct buf *refs)
{
    buf_printf(refs, "{\"at\":\"%s\"", places[o->at]);
    if (o->at == OPERAND_RANDOM) {
        buf_printf(refs, ",\"seed\":%llu}", (unsigned long long)o->seed);
        return;
    }
    if (o->at == OPERAND_BLOB)
        buf_printf(refs, ",\"blob\":%d", o->blob);
    buf_printf(refs, ",\"offset\":%llu,\"dtype\":\"%s\",\"order\":\"%s\"}", (unsigned long long)o->offset,
               dtype_name(o->dtype), o->is_fortran ? "F" : "C");
}

void operands_write(const struct operand operands[2], const char *const *names, int name_count, struct buf *refs)
{
    buf_text(refs, "{\"blobs\":[");
    for (int i = 0; i < name_count; i++)
        buf_printf(refs, "%s\"%s\"", i ? "," : "", names[i]);
    buf_text(refs, "],\"A\":");
    write_operand(&operands[0], refs);
    buf_text(refs, ",\"B\":");
    write_operand(&operands[1], refs);
    buf_text(refs, "}");
}

/* ---- tiles ------------------------------------------------------------------ */

struct region matrix_region(const struct args *args)
{
    uint64_t m = (uint64_t)args->integer[MATRIX_M], n = (uint64_t)args->integer[MATRIX_N];
    uint64_t tile_m = (uint64_t)args->integer[MATRIX_TILE_M], tile_n = (uint64_t)args->integer[MATRIX_TILE_N];
    uint64_t tile = (uint64_t)args->integer[MATRIX_TILE], across;

    if (isnan(args->real[MATRIX_TILE]) || !tile_m || !tile_n) /* what is absent has the integer 0 */
        return (struct region){0, m, 0, n};
    across = (n + tile_n - 1) / tile_n;
    struct region r = {.row = tile / across * tile_m, .col = tile % across * tile_n};
    r.rows = r.row >= m ? 0 : m - r.row < tile_m ? m - r.row : tile_m;
    r.cols = n - r.col < tile_n ? n - r.col : tile_n;
    return r;
}

void layout_write(const struct layout *l, struct buf *out)
{
    buf_printf(out, "{\"rows\":%llu,\"cols\":%llu,\"tile_rows\":%llu,\"tile_cols\":%llu,\"dtype\":\"%s\"}",
               (unsigned long long)l->rows, (unsigned long long)l->cols, (unsigned long long)l->tile_rows,
               (unsigned long long)l->tile_cols, dtype_name(l->dtype));
}

enum err layout_read(const char *text, struct layout *out, struct fault *why)
{
    json_t     *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(doc, "dtype"));
    bool        is_fine = read_whole(doc, "rows", &out->rows) && read_whole(doc, "cols", &out->cols) &&
                   read_whole(doc, "tile_rows", &out->tile_rows) && read_whole(doc, "tile_cols", &out->tile_cols);

    out->dtype = type ? dtype_from_name(type) : DTYPE_COUNT;
    json_decref(doc);
    if (!is_fine || out->dtype == DTYPE_COUNT || !out->rows || !out->cols || !out->tile_rows || !out->tile_cols)
        return fault_set(why, ERR_INTERNAL, "the record's layout of the product cannot be read");
    return ERR_OK;
}
