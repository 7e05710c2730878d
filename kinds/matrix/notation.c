/* SPDX-License-Identifier: Apache-2.0 */
/* notation.c - the grammar, walked by hand: no conversion happens here. */
#include "kinds/matrix/notation.h"

#include <stddef.h>

const char *notation_fault(const char *p, const char *end)
{
    const char *digits;

    if (p < end && *p == '-')
        p++;
    digits = p;
    p = p < end && *p == '0' ? p + 1 : skip_digits(p, end);
    if (p == digits)
        return p;
    if (p < end && *p == '.') {
        digits = ++p;
        p = skip_digits(p, end);
        if (p == digits)
            return p;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        p = skip_digits(p, end);
        if (p == digits)
            return p;
    }
    return p == end ? NULL : p;
}
