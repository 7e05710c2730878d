/* SPDX-License-Identifier: Apache-2.0 */
/* map_html.c - see the header. */
#include "cli/map_html.h"

#include <stdint.h>
#include <string.h>

#include "common/text.h"

#define REPLACEMENT "\xef\xbf\xbd"

void html_text(struct buf *out, const char *text)
{
    while (*text) {
        size_t len = text_character(text, TEXT_ENDED);

        if (*text == '&')
            buf_text(out, "&amp;");
        else if (*text == '<')
            buf_text(out, "&lt;");
        else if (*text == '>')
            buf_text(out, "&gt;");
        else if (*text == '"')
            buf_text(out, "&quot;");
        else if (!len || text_is_control(*text))
            buf_text(out, REPLACEMENT);
        else
            buf_append(out, text, len);
        text += len ? len : 1;
    }
}

void html_data_uri(struct buf *out, const char *type, const void *bytes, size_t len)
{
    static const char    digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = bytes;

    buf_printf(out, "data:%s;base64,", type);
    for (size_t i = 0; i < len; i += 3) {
        size_t   rest = len - i;
        uint32_t word = (uint32_t)in[i] << 16 | (rest > 1 ? (uint32_t)in[i + 1] << 8 : 0) | (rest > 2 ? in[i + 2] : 0);
        char     text[4] = {digits[word >> 18], digits[word >> 12 & 63], digits[word >> 6 & 63], digits[word & 63]};

        if (rest < 3)
            text[3] = '=';
        if (rest < 2)
            text[2] = '=';
        buf_append(out, text, sizeof text);
    }
}

void html_bytes(struct buf *out, double bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    int                      unit = 0;

    for (; bytes >= 1000 && unit < 4; unit++)
        bytes /= 1000;
    buf_printf(out, unit && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

void html_seconds(struct buf *out, double seconds)
{
    if (seconds < 10)
        buf_printf(out, "%.2f s", seconds);
    else if (seconds < 600)
        buf_printf(out, "%.0f s", seconds);
    else if (seconds < 36000)
        buf_printf(out, "%.0f min", seconds / 60);
    else
        buf_printf(out, "%.1f h", seconds / 3600);
}
