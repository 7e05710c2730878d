/* SPDX-License-Identifier: Apache-2.0 */
/* notation.h - what a number looks like in JSON (RFC 8259, section 6):
 *
 *   [-] 0 or digits without a zero in front [. digits] [e or E [+ or -] digits]
 *
 * Inline is what is asked for every number of a large document.
 */
#ifndef MILLRACE_NOTATION_H
#define MILLRACE_NOTATION_H

#include <stdbool.h>

static inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Whether the byte occurs in numbers at all. */
static inline bool notation_has(char c)
{
    return is_digit(c) || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

static inline const char *skip_digits(const char *p, const char *end)
{
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* Whether what numtext_scan took is such a number. It is laxer in three
 * points: digits before the point, no needless zero before them, digits behind
 * the point. */
static inline bool notation_is_json(const char *p, const char *end)
{
    p += *p == '-';
    if (p == end || !is_digit(*p))
        return false;
    if (*p == '0' && p + 1 < end && is_digit(p[1]))
        return false;
    p = skip_digits(p, end);
    return p == end || *p != '.' || (p + 1 < end && is_digit(p[1]));
}

/* The first byte of [p, end) that no number has there (end: something is
 * missing); NULL when all of it is one number. */
const char *notation_fault(const char *p, const char *end);

#endif
