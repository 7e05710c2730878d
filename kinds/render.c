/* SPDX-License-Identifier: Apache-2.0 */
/* render.c - see the header. */
#include "kinds/render.h"

#include <stdlib.h>
#include <string.h>

static enum err refuse_window(const char *rows, const char *cols, struct fault *why)
{
    if (!rows && !cols)
        return ERR_OK;
    return fault_set(why, ERR_PARAM, "this result has no rows and columns to choose from");
}

enum err render_open_whole(const struct result_face *face, const char *rows, const char *cols, render_whole *render,
                           void **stream, uint64_t *size, struct fault *why)
{
    size_t      len = (size_t)face->size(face->ctx, 0);
    struct buf *made;
    void       *raw;
    enum err    e = refuse_window(rows, cols, why);

    if (e)
        return e;
    made = xcalloc(1, sizeof *made);
    raw = xmalloc(len ? len : 1);
    if (!face->read(face->ctx, 0, 0, raw, len))
        e = fault_set(why, ERR_RESULT_GONE, "the result's bytes cannot be read");
    else
        e = render(raw, len, made, why);
    free(raw);
    if (e) {
        render_close_whole(made);
        return e;
    }
    *size = made->len;
    *stream = made;
    return ERR_OK;
}

int64_t render_read_whole(void *stream, uint64_t offset, char *out, size_t len, struct fault *why)
{
    const struct buf *made = stream;
    size_t            left = offset < made->len ? made->len - (size_t)offset : 0;

    (void)why;
    len = len < left ? len : left;
    memcpy(out, made->data + offset, len);
    return (int64_t)len;
}

void render_close_whole(void *stream)
{
    buf_free(stream);
    free(stream);
}

/* The face itself is the stream. */
enum err render_open_raw(const struct result_face *face, const char *rows, const char *cols, void **stream,
                         uint64_t *size, struct fault *why)
{
    enum err e = refuse_window(rows, cols, why);

    if (e)
        return e;
    *size = face->size(face->ctx, 0);
    *stream = (void *)face;
    return ERR_OK;
}

int64_t render_read_raw(void *stream, uint64_t offset, char *out, size_t len, struct fault *why)
{
    const struct result_face *face = stream;
    uint64_t                  size = face->size(face->ctx, 0), left = offset < size ? size - offset : 0;

    len = len < left ? len : (size_t)left;
    if (len && !face->read(face->ctx, 0, offset, out, len)) {
        fault_set(why, ERR_RESULT_GONE, "the result's bytes cannot be read");
        return -1;
    }
    return (int64_t)len;
}

void render_close_raw(void *stream) { (void)stream; }
