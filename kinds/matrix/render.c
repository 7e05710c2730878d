/* SPDX-License-Identifier: Apache-2.0 */
/* render.c - a product as JSON, as a NumPy file, as bare numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/numtext.h"
#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"
#include "kinds/render.h"

/* Prints one row, with its brackets, straight into out. */
static enum err render_row(const char *numbers, size_t row, size_t cols, struct buf *out, struct fault *why)
{
    char *p = buf_reserve(out, cols * (NUMTEXT_BYTES + 1) + 2);

    *p++ = '[';
    for (size_t j = 0; j < cols; j++) {
        double value;

        memcpy(&value, numbers + (row * cols + j) * sizeof(value), sizeof(value));
        if (!isfinite(value))
            return fault_set(why, ERR_ACCEPT,
                             "row %zu, column %zu is not finite, which JSON cannot say; ask for application/x-npy", row,
                             j);
        p += numtext_print(value, p);
        if (value == 0 && signbit(value)) { /* "-0" reads as the integer 0 in many a language */
            *p++ = '.';
            *p++ = '0';
        }
        *p++ = ',';
    }
    p[-1] = ']';
    out->len = (size_t)(p - out->data);
    return ERR_OK;
}

static enum err render_json(const void *raw, size_t len, struct buf *out, struct fault *why)
{
    size_t      rows, cols, before = out->len;
    const char *numbers;
    enum err    e;

    e = npy_read(raw, len, &rows, &cols, &numbers, why);
    if (e)
        return e;
    buf_text(out, "{\"C\":[");
    for (size_t i = 0; i < rows && !e; i++) {
        if (i)
            buf_append(out, ",", 1);
        e = render_row(numbers, i, cols, out, why);
    }
    buf_text(out, "]}");
    if (e)
        out->len = before;
    return e;
}

static enum err render_octets(const void *raw, size_t len, struct buf *out, struct fault *why)
{
    size_t      rows, cols;
    const char *numbers;
    enum err    e;

    e = npy_read(raw, len, &rows, &cols, &numbers, why);
    if (!e)
        buf_append(out, numbers, rows * cols * sizeof(double));
    return e;
}


static enum err open_json(const struct result_face *face, const char *rows, const char *cols, void **stream,
                          uint64_t *size, struct fault *why)
{
    return render_open_whole(face, rows, cols, render_json, stream, size, why);
}

static enum err open_octets(const struct result_face *face, const char *rows, const char *cols, void **stream,
                            uint64_t *size, struct fault *why)
{
    return render_open_whole(face, rows, cols, render_octets, stream, size, why);
}

const struct rendering matrix_renderings[] = {
    {"application/json", true, open_json, render_read_whole, render_close_whole},
    {"application/x-npy", true, render_open_raw, render_read_whole, render_close_whole},
    {"application/octet-stream", true, open_octets, render_read_whole, render_close_whole},
    {0},
};
