/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - see the header. */
#include "cli/table.h"

#include <assert.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/text.h"

void table_init(struct table *t, int columns, unsigned right)
{
    assert(columns <= TABLE_COLUMNS_MAX);
    *t = (struct table){.columns = columns, .right = right};
}

void table_add(struct table *t, const char *fmt, ...)
{
    char    text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    text_tame(text, strlen(text));
    if ((t->count & (t->count + 1)) == 0) /* 0, 1, 3, 7, ..: room for as many again and one */
        t->cells = xrealloc(t->cells, (2 * t->count + 1) * sizeof *t->cells);
    t->cells[t->count++] = xstrdup(text);
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void pad(struct buf *out, size_t blanks)
{
    while (blanks--)
        buf_append(out, " ", 1);
}

void table_end(struct table *t, struct buf *out)
{
    size_t columns = (size_t)t->columns, widths[TABLE_COLUMNS_MAX] = {0};

    for (size_t i = 0; i < t->count; i++)
        if (width_of(t->cells[i]) > widths[i % columns])
            widths[i % columns] = width_of(t->cells[i]);
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % columns, blanks = widths[column] - width_of(t->cells[i]);
        bool   is_right = t->right >> column & 1, is_last = column + 1 == columns;

        pad(out, is_right ? blanks : 0);
        buf_text(out, t->cells[i]);
        pad(out, is_last ? 0 : (is_right ? 0 : blanks) + 2);
        if (is_last)
            buf_append(out, "\n", 1);
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (struct table){.columns = t->columns, .right = t->right};
}
