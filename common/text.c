/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - see the header. */
#include "common/text.h"

size_t text_character(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t               more = *s < 0x80 ? 0 : *s < 0xe0 ? 1 : *s < 0xf0 ? 2 : 3;
    unsigned             second_min = *s == 0xe0 ? 0xa0 : *s == 0xf0 ? 0x90 : 0x80;
    unsigned             second_max = *s == 0xed ? 0x9f : *s == 0xf4 ? 0x8f : 0xbf;

    if ((*s >= 0x80 && *s < 0xc2) || *s > 0xf4 || more >= len)
        return 0;
    for (size_t i = 1; i <= more; i++)
        if (s[i] < (i == 1 ? second_min : 0x80) || s[i] > (i == 1 ? second_max : 0xbf))
            return 0;
    return more + 1;
}

bool text_is_control(char c) { return (unsigned char)c < 0x20 || c == 0x7f; }

/* U+0080 to U+009F; U+009B is as good as ESC [. */
static bool is_high_control(const char *text) { return *text == '\xc2' && (unsigned char)text[1] - 0x80u < 0x20; }

void text_tame(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text_is_control(text[i]))
            text[i] = '?';
        else if (i + 1 < len && is_high_control(text + i))
            text[i] = text[i + 1] = '?';
}
