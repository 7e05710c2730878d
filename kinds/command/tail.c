/* SPDX-License-Identifier: Apache-2.0 */
/* tail.c - see the header. */
#include "kinds/command/tail.h"

#include <stdbool.h>
#include <string.h>

#include "common/text.h"

void tail_add(struct tail *t, const char *bytes, size_t len)
{
    if (len > TAIL_BYTES) {
        bytes += len - TAIL_BYTES;
        len = TAIL_BYTES;
    }
    if (t->len + len > sizeof t->bytes) {
        memmove(t->bytes, t->bytes + t->len - TAIL_BYTES, TAIL_BYTES);
        t->len = TAIL_BYTES;
    }
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
}

static bool is_line_end(char c) { return c == '\n' || c == '\r'; }

/* Writes it as one line; returns its length. */
static size_t print_line(const struct tail *t, char out[3 * TAIL_BYTES])
{
    size_t      len = t->len < TAIL_BYTES ? t->len : TAIL_BYTES, at = 0, count;
    const char *s = t->bytes + t->len - len;
    bool        is_new_line = false;

    for (; len; s += count, len -= count) {
        count = text_character(s, len);
        if (is_line_end(*s)) {
            is_new_line = at > 0;
            count = 1;
            continue;
        }
        if (is_new_line) {
            memcpy(out + at, " | ", 3);
            at += 3;
            is_new_line = false;
        }
        if (!count || text_is_control(*s)) {
            out[at++] = *s == '\t' ? ' ' : '?';
            count = 1;
        } else {
            memcpy(out + at, s, count);
            at += count;
        }
    }
    return at;
}

void tail_print(const struct tail *t, char out[TAIL_BYTES + 1])
{
    char   line[3 * TAIL_BYTES];
    size_t len = print_line(t, line), from = len > TAIL_BYTES ? len - TAIL_BYTES : 0;

    while (from < len && ((unsigned char)line[from] & 0xc0) == 0x80)
        from++; /* not in the middle of a character */
    memcpy(out, line + from, len - from);
    out[len - from] = '\0';
}
