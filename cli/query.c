/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - see the header. */
#include "cli/query.h"

#include <string.h>

void query_escape(struct buf *out, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:,";

    for (; *text; text++)
        if (strchr(plain, *text))
            buf_append(out, text, 1);
        else
            buf_printf(out, "%%%02X", (unsigned char)*text);
}

void query_put(struct buf *out, const char *name, const char *value)
{
    buf_text(out, out->len && memchr(out->data, '?', out->len) ? "&" : "?");
    query_escape(out, name);
    buf_text(out, "=");
    query_escape(out, value);
}

bool query_put_pair(struct buf *out, const char *text)
{
    const char *equals = strchr(text, '=');
    struct buf  name = {0};

    if (!equals || equals == text)
        return false;
    buf_append(&name, text, (size_t)(equals - text));
    buf_append(&name, "", 1);
    query_put(out, name.data, equals + 1);
    buf_free(&name);
    return true;
}
