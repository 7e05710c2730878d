/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_form.c - any bytes as a multipart form, whole and in pieces: no crash, the same parts and the same end; and any
 * bytes as a part of a form that is right: they come out as they went in.
 *
 * The first line is the Content-Type, the rest the body.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/form.h"
#include "common/buf.h"

#define WHOLE (SIZE_MAX / 2)
#define HEAD "--ab\r\nContent-Disposition: form-data; name=\"A\"; filename=\"a\\\\\\\"b\"\r\n\r\n"
#define TAIL "\r\n--ab--\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All that was told, one behind the other: of each part its names, then its bytes. */
struct told {
    enum err     err;
    struct fault why;
    bool         is_whole;
    int          parts;
    struct buf   bytes;
    size_t       part_at; /* where the bytes of the present part begin */
};

static enum err on_part(void *ctx, const char *name, const char *filename, const char *bytes, size_t len, bool is_first,
                        struct fault *why)
{
    struct told *t = ctx;

    (void)why;
    if (is_first ? len != 0 : !t->parts || !len)
        abort();
    if (is_first) {
        t->parts++;
        buf_printf(&t->bytes, "[%s][%s]", name, filename ? filename : "(none)");
        t->part_at = t->bytes.len;
    }
    buf_append(&t->bytes, bytes, len);
    return ERR_OK;
}

/* Each piece has an allocation of its own, so that ASan sees a step beyond it. */
static enum err feed(struct form *f, const char *body, size_t len, size_t piece, struct fault *why)
{
    enum err e = ERR_OK;

    for (size_t at = 0; at < len && !e; at += piece) {
        size_t some = len - at < piece ? len - at : piece;
        char  *copy = xmalloc(some);

        memcpy(copy, body + at, some);
        e = form_feed(f, copy, some, why);
        free(copy);
    }
    return e;
}

static struct told read_form(const char *type, const char *body, size_t len, size_t piece)
{
    struct told  t = {0};
    struct form *f = NULL;

    t.err = form_new(type, on_part, &t, &f, &t.why);
    if (!t.err) {
        t.err = feed(f, body, len, piece, &t.why);
        t.is_whole = !t.err && form_is_whole(f);
    }
    form_free(f);
    return t;
}

static void compare(const char *type, const char *body, size_t len, size_t piece)
{
    struct told whole = read_form(type, body, len, WHOLE), cut = read_form(type, body, len, piece);

    if (whole.err != cut.err || (whole.err && strcmp(whole.why.detail, cut.why.detail)))
        abort();
    if (whole.is_whole != cut.is_whole || whole.parts != cut.parts)
        abort();
    /* What may be a boundary is held back, and what stands in front of a fault may have been told or not. */
    if (!whole.err && whole.is_whole &&
        (whole.bytes.len != cut.bytes.len ||
         (whole.bytes.len && memcmp(whole.bytes.data, cut.bytes.data, cut.bytes.len))))
        abort();
    buf_free(&whole.bytes);
    buf_free(&cut.bytes);
}

static void round_trip(const uint8_t *data, size_t size, size_t piece)
{
    struct buf  body = {0};
    struct told t;

    if (memmem(data, size, "\r\n--ab", 6))
        return;
    buf_text(&body, HEAD);
    buf_append(&body, data, size);
    buf_text(&body, TAIL);
    t = read_form("multipart/form-data; boundary=ab", body.data, body.len, piece);
    if (t.err || !t.is_whole || t.parts != 1 || memcmp(t.bytes.data, "[A][a\\\"b]", 9) ||
        t.bytes.len - t.part_at != size || (size && memcmp(t.bytes.data + t.part_at, data, size)))
        abort();
    buf_free(&t.bytes);
    buf_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    size_t         type_len = line ? (size_t)(line - data) : size, piece = 1 + (size ? data[size - 1] % 7 : 0);
    const char    *body = (const char *)data + (line ? type_len + 1 : size);
    size_t         len = size - (size_t)(body - (const char *)data);
    char          *type = xmemdup(data, type_len); /* with a NUL behind it */

    compare(type, body, len, piece);
    compare(type, body, len, 1);
    if (size)
        round_trip(data, size, piece);
    free(type);
    return 0;
}
