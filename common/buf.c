/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - growth by doubling, death by abort. */
#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

static void *or_die(void *p)
{
    if (!p) {
        fputs("out of memory\n", stderr);
        abort();
    }
    return p;
}

#define CACHED_BYTES 1024 /* glibc keeps freed blocks up to this size at hand for malloc, but not for calloc */

void *xmalloc(size_t bytes) { return or_die(malloc(bytes ? bytes : 1)); }

void *xcalloc(size_t count, size_t bytes)
{
    size_t total;

    if (__builtin_mul_overflow(count, bytes, &total) || total > CACHED_BYTES)
        return or_die(calloc(count, bytes));
    return memset(xmalloc(total), 0, total);
}

void *xrealloc(void *p, size_t bytes) { return or_die(realloc(p, bytes ? bytes : 1)); }
char *xstrdup(const char *text) { return or_die(strdup(text)); }

void *xmemdup(const void *p, size_t bytes)
{
    char *copy = xmalloc(bytes + 1);

    if (bytes)
        memcpy(copy, p, bytes);
    copy[bytes] = 0;
    return copy;
}

char *buf_reserve(struct buf *b, size_t more_bytes)
{
    if (b->cap - b->len < more_bytes) {
        size_t cap = b->cap ? b->cap * 2 : 128;

        if (cap < b->len + more_bytes)
            cap = b->len + more_bytes;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void buf_append(struct buf *b, const void *bytes, size_t len)
{
    if (!len)
        return;
    memcpy(buf_reserve(b, len), bytes, len);
    b->len += len;
}

void buf_text(struct buf *b, const char *text) { buf_append(b, text, strlen(text)); }

void buf_vprintf(struct buf *b, const char *fmt, va_list args)
{
    va_list again;
    int     len;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, fmt, args);
    if (len >= 0) {
        vsnprintf(buf_reserve(b, (size_t)len + 1), (size_t)len + 1, fmt, again);
        b->len += (size_t)len;
    }
    va_end(again);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    buf_vprintf(b, fmt, args);
    va_end(args);
}

void buf_json(struct buf *b, const char *text)
{
    buf_append(b, "\"", 1);
    while (*text) {
        size_t n = text_character(text, TEXT_ENDED);

        if (*text == '"' || *text == '\\')
            buf_printf(b, "\\%c", *text);
        else if (text_is_control(*text))
            buf_printf(b, "\\u%04x", *text);
        else if (n)
            buf_append(b, text, n);
        else
            buf_text(b, "\\ufffd");
        text += n ? n : 1;
    }
    buf_append(b, "\"", 1);
}

char *buf_detach(struct buf *b)
{
    char *data;

    *buf_reserve(b, 1) = 0;
    data = b->data;
    *b = (struct buf){0};
    return data;
}

void buf_free(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}
