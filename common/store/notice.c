/* SPDX-License-Identifier: Apache-2.0 */
/* notice.c - reads what rare.lua's `notice` packs of a job that has ended.
 *
 * It is MessagePack, which Redis writes in a fourth of the time that Lua takes
 * to write anything else: of each watched job the server pays for it. Strings
 * and arrays alone come; they are read into the same form as an answer. */
#include <stdlib.h>
#include <string.h>

#include "common/store/internal.h"

#define DEPTH_MAX 2 /* the notice, and in it the record */

struct packed {
    unsigned char *at, *end;
};

static bool read_length(struct packed *p, size_t bytes, size_t *len)
{
    *len = 0;
    if ((size_t)(p->end - p->at) < bytes)
        return false;
    while (bytes--)
        *len = *len << 8 | *p->at++;
    return true;
}

/* What stands in front of a value; len: bytes or elements. */
static bool read_head(struct packed *p, bool *is_array, size_t *len)
{
    enum { FIXED_STRING = 0xa0, FIXED_ARRAY = 0x90, STRING_8 = 0xd9, STRING_32 = 0xdb, ARRAY_16 = 0xdc, ARRAY_32 };
    unsigned char type;

    if (p->at == p->end)
        return false;
    type = *p->at++;
    *is_array = type == ARRAY_16 || type == ARRAY_32 || (type & 0xf0) == FIXED_ARRAY;
    if (type >= STRING_8 && type <= STRING_32)
        return read_length(p, (size_t)1 << (type - STRING_8), len);
    if (type == ARRAY_16 || type == ARRAY_32)
        return read_length(p, type == ARRAY_16 ? 2 : 4, len);
    *len = type & (*is_array ? 0x0f : 0x1f);
    return *is_array || (type & 0xe0) == FIXED_STRING;
}

/* out is zeroed, and to be freed whatever comes. */
static bool read_value(struct packed *p, int depth, redisReply *out)
{
    redisReply *elements;
    bool        is_array;
    size_t      len;

    if (!read_head(p, &is_array, &len) || len > (size_t)(p->end - p->at) || (is_array && depth > DEPTH_MAX))
        return false;
    out->type = is_array ? REDIS_REPLY_ARRAY : REDIS_REPLY_STRING;
    if (!is_array) {
        out->str = (char *)p->at;
        out->len = len;
        p->at += len;
        return true;
    }
    if (!len)
        return true;
    out->element = xcalloc(len, sizeof *out->element);
    elements = xcalloc(len, sizeof *elements);
    for (; out->elements < len; out->elements++)
        out->element[out->elements] = elements + out->elements;
    for (size_t i = 0; i < len; i++)
        if (!read_value(p, depth + 1, elements + i))
            return false;
    return true;
}

/* Every string ends in a NUL from now on: all that stood behind them has been read. */
static void end_strings(redisReply *r)
{
    if (r->str)
        r->str[r->len] = 0;
    for (size_t i = 0; i < r->elements; i++)
        end_strings(r->element[i]);
}

static void free_value(redisReply *r)
{
    for (size_t i = 0; i < r->elements; i++)
        free_value(r->element[i]);
    if (r->elements)
        free(r->element[0]);
    free(r->element);
}

bool notice_read(const char *id, const char *bytes, size_t len, struct notice *out)
{
    struct packed p;

    *out = (struct notice){.bytes = xmemdup(bytes, len)}; /* and a NUL */
    p = (struct packed){out->bytes, out->bytes + len};
    if (!read_value(&p, 1, &out->value))
        return false;
    end_strings(&out->value);
    return reply_read_notice(id, &out->value, &out->parts);
}

void notice_free(struct notice *n)
{
    reply_free(&n->parts);
    free_value(&n->value);
    free(n->bytes);
}
