/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - bytes that grow.
 *
 * A zeroed struct buf is an empty one. Running out of memory ends the process:
 * whoever must stay within a bound checks the bound before he appends.
 */
#ifndef MILLRACE_BUF_H
#define MILLRACE_BUF_H

#include <stdarg.h>
#include <stddef.h>

#include "common/err.h"

struct buf {
    char  *data; /* owned; NULL while cap is 0 */
    size_t len;
    size_t cap;
};

/* Makes room for more_bytes beyond len and returns where they go; the caller
 * adds to len what it wrote. */
char *buf_reserve(struct buf *b, size_t more_bytes);

void buf_append(struct buf *b, const void *bytes, size_t len);
void buf_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3); /* a NUL is behind it, not counted in len */
void buf_vprintf(struct buf *b, const char *fmt, va_list args);

/* Appends text as a JSON string, quotes included; bytes that are not UTF-8
 * become U+FFFD. */
void buf_json(struct buf *b, const char *text);

/* The bytes with a NUL behind them, owned by the caller; b is empty then.
 * Never NULL. */
char *buf_detach(struct buf *b);

/* Frees the bytes; b is empty then. */
void buf_free(struct buf *b);

/* Grow or die: malloc, calloc, strdup and memdup that never return NULL. */
void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes);
void *xrealloc(void *p, size_t bytes);
char *xstrdup(const char *text);
void *xmemdup(const void *p, size_t bytes);

#endif
