/* SPDX-License-Identifier: Apache-2.0 */
/* render.c - a product as JSON, as a NumPy file, as bare numbers; whole, or a window of it.
 *
 * All are made while they are read, from blocks of the product, so that a
 * product of any size takes as much memory as a small one.
 *
 * JSON knows no infinity. A product of up to SCAN_BYTES is looked through
 * before anything is said and refused as a whole; in a larger one the stream
 * breaks off where the number stands, which the client sees as an answer that
 * has no end.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/numtext.h"
#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"
#include "kinds/matrix/mosaic.h"
#include "kinds/render.h"

/* ---- JSON -------------------------------------------------------------------------- */

#define NUMBERS_BYTES (64u << 10)      /* read from the product at a time */
#define SCAN_BYTES (4u << 20)          /* milliseconds; no result in a record is larger */
#define SCAN_SPANS 1024                /* nor in more reads: a narrow window of long rows has many */
#define CELL_BYTES (NUMTEXT_BYTES + 4) /* one number, and at most "[" and "]]}" around it */

struct json {
    struct mosaic product;
    uint64_t      row, col; /* of the next number, within the window */
    uint64_t      read;     /* bytes of the window that have been read into numbers */
    char         *numbers;
    size_t        have, used;
    char          left[CELL_BYTES]; /* printed, but too long for what was asked for */
    size_t        left_len, left_at;
};

static bool is_finite(enum dtype type, const char *bytes)
{
    double f8;
    float  f4;

    if (type == DTYPE_F8)
        return memcpy(&f8, bytes, sizeof f8), isfinite(f8);
    if (type == DTYPE_F4)
        return memcpy(&f4, bytes, sizeof f4), isfinite(f4);
    return true;
}

/* Prints one finite number; returns the end. Where it reads "-0" it becomes -0.0: many a language has no other. */
static char *print_number(enum dtype type, const char *bytes, char *out)
{
    char   *start = out;
    double  f8;
    float   f4;
    int64_t i8;
    int32_t i4;

    switch (type) {
    case DTYPE_I8:
        memcpy(&i8, bytes, sizeof i8);
        return out + numtext_print_int(i8, out);
    case DTYPE_I4:
        memcpy(&i4, bytes, sizeof i4);
        return out + numtext_print_int(i4, out);
    case DTYPE_F4:
        memcpy(&f4, bytes, sizeof f4);
        out += numtext_print_f32(f4, out);
        break;
    default:
        memcpy(&f8, bytes, sizeof f8);
        out += numtext_print(f8, out);
    }
    if (out - start == 2 && start[0] == '-' && start[1] == '0') {
        *out++ = '.';
        *out++ = '0';
    }
    return out;
}

static enum err not_finite(const struct json *j, struct fault *why)
{
    return fault_set(
        why, ERR_ACCEPT, "row %llu, column %llu is not finite, which JSON cannot say; ask for application/x-npy",
        (unsigned long long)(j->product.window.row + j->row), (unsigned long long)(j->product.window.col + j->col));
}

/* Goes on to the next number. */
static void advance(struct json *j)
{
    j->used += dtype_bytes(j->product.layout.dtype);
    if (++j->col == j->product.window.cols) {
        j->col = 0;
        j->row++;
    }
}

/* The next number and what stands around it, at most CELL_BYTES; NULL when JSON has no word for it. */
static char *print_cell(struct json *j, char *out)
{
    enum dtype type = j->product.layout.dtype;
    bool       is_last = j->col + 1 == j->product.window.cols;

    if (!is_finite(type, j->numbers + j->used))
        return NULL;
    if (!j->col)
        *out++ = '[';
    out = print_number(type, j->numbers + j->used, out);
    if (is_last)
        *out++ = ']';
    if (is_last && j->row + 1 == j->product.window.rows) {
        *out++ = ']';
        *out++ = '}';
    } else {
        *out++ = ',';
    }
    advance(j);
    return out;
}

/* More numbers, if all were used and there are more: false when they cannot be read. */
static bool fill(struct json *j, struct fault *why)
{
    size_t  room = (size_t)(j->product.bytes < NUMBERS_BYTES ? j->product.bytes : NUMBERS_BYTES);
    int64_t got;

    if (j->used < j->have)
        return true;
    got = mosaic_read(&j->product, j->read, j->numbers, room, why);
    if (got < 0)
        return false;
    j->read += (uint64_t)got;
    j->have = (size_t)got;
    j->used = 0;
    return true;
}

/* Hands out what was printed and did not fit. */
static char *take_left(struct json *j, char *out, size_t len)
{
    size_t left = j->left_len - j->left_at;

    len = len < left ? len : left;
    memcpy(out, j->left + j->left_at, len);
    j->left_at += len;
    return out + len;
}

static int64_t read_json(void *stream, uint64_t offset, char *out, size_t len, struct fault *why)
{
    struct json *j = stream;
    char        *p = take_left(j, out, len), *end = out + len;

    (void)offset;
    if (!fill(j, why))
        return -1;
    while (p < end && j->used < j->have) {
        bool  fits = end - p >= CELL_BYTES;
        char *printed = print_cell(j, fits ? p : j->left);

        if (!printed) {
            not_finite(j, why);
            return -1;
        }
        if (fits) {
            p = printed;
        } else {
            j->left_at = 0;
            j->left_len = (size_t)(printed - j->left);
            p = take_left(j, p, (size_t)(end - p));
        }
    }
    return p - out;
}

static void close_json(void *stream)
{
    struct json *j = stream;

    free(j->numbers);
    free(j);
}

/* Whether every number of the window can be said; of one that is large or scattered nobody looks ahead. What was
 * read is kept if it is all there is. */
static enum err scan(struct json *j, struct fault *why)
{
    enum dtype type = j->product.layout.dtype;

    if (j->product.bytes > SCAN_BYTES || mosaic_spans(&j->product) > SCAN_SPANS ||
        (type != DTYPE_F8 && type != DTYPE_F4))
        return ERR_OK;
    while (j->read < j->product.bytes) {
        if (!fill(j, why))
            return why->err;
        while (j->used < j->have) {
            if (!is_finite(type, j->numbers + j->used))
                return not_finite(j, why);
            advance(j);
        }
    }
    j->row = j->col = j->used = 0;
    if (j->have < j->product.bytes)
        j->have = j->read = 0;
    return ERR_OK;
}

static enum err open_json(const struct result_face *face, const char *rows, const char *cols, void **stream,
                          uint64_t *size, struct fault *why)
{
    static const char head[] = "{\"C\":[";
    struct json      *j = xcalloc(1, sizeof *j);
    enum err          e = mosaic_open(face, rows, cols, &j->product, why);

    if (!e) {
        j->numbers = xmalloc(j->product.bytes < NUMBERS_BYTES ? (size_t)j->product.bytes : NUMBERS_BYTES);
        e = scan(j, why);
    }
    if (e) {
        close_json(j);
        return e;
    }
    memcpy(j->left, head, sizeof head - 1);
    j->left_len = sizeof head - 1;
    *size = RENDER_SIZE_UNKNOWN;
    *stream = j;
    return ERR_OK;
}

/* ---- NumPy, bare numbers ------------------------------------------------------------- */

struct numbers {
    struct mosaic product;
    char          head[NPY_HEADER_BYTES];
    size_t        head_len; /* 0: without one */
};

static enum err open_numbers(const struct result_face *face, const char *rows, const char *cols, size_t head_len,
                             void **stream, uint64_t *size, struct fault *why)
{
    struct numbers *n = xcalloc(1, sizeof *n);
    enum err        e = mosaic_open(face, rows, cols, &n->product, why);

    if (e) {
        free(n);
        return e;
    }
    n->head_len = head_len;
    npy_write_header(n->head, n->product.layout.dtype, n->product.window.rows, n->product.window.cols);
    *size = head_len + n->product.bytes;
    *stream = n;
    return ERR_OK;
}

static enum err open_npy(const struct result_face *face, const char *rows, const char *cols, void **stream,
                         uint64_t *size, struct fault *why)
{
    return open_numbers(face, rows, cols, NPY_HEADER_BYTES, stream, size, why);
}

static enum err open_octets(const struct result_face *face, const char *rows, const char *cols, void **stream,
                            uint64_t *size, struct fault *why)
{
    return open_numbers(face, rows, cols, 0, stream, size, why);
}

static int64_t read_numbers(void *stream, uint64_t offset, char *out, size_t len, struct fault *why)
{
    const struct numbers *n = stream;
    size_t                head = 0;
    int64_t               got;

    if (offset < n->head_len) {
        head = n->head_len - (size_t)offset;
        head = head < len ? head : len;
        memcpy(out, n->head + offset, head);
        if (head == len)
            return (int64_t)len;
    }
    got = mosaic_read(&n->product, offset + head - n->head_len, out + head, len - head, why);
    return got < 0 ? got : got + (int64_t)head;
}

const struct rendering matrix_renderings[] = {
    {"application/json", false, open_json, read_json, close_json},
    {"application/x-npy", true, open_npy, read_numbers, free},
    {"application/octet-stream", true, open_octets, read_numbers, free},
    {0},
};
