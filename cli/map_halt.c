/* SPDX-License-Identifier: Apache-2.0 */
/* map_halt.c - see the header. */
#include "cli/map_halt.h"

#include <stdlib.h>
#include <string.h>

#define PERCENT_LEAST 3 /* failures before a percentage means anything */

bool halt_parse(const char *text, struct halt *out)
{
    static const struct {
        const char    *start;
        enum halt_when when;
    } forms[] = {{"soon,fail=", HALT_SOON}, {"now,fail=", HALT_NOW}};

    if (!strcmp(text, "never")) {
        *out = (struct halt){.when = HALT_NEVER};
        return true;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t        len = strlen(forms[i].start);
        const char   *digits = text + len;
        char         *end;
        unsigned long limit;

        if (strncmp(text, forms[i].start, len) || *digits < '1' || *digits > '9')
            continue;
        limit = strtoul(digits, &end, 10);
        out->when = forms[i].when;
        out->is_percent = !strcmp(end, "%");
        out->limit = (unsigned)limit;
        return (!*end && limit <= 1000000000) || (out->is_percent && limit <= 100);
    }
    return false;
}

bool halt_is_due(const struct halt *h, size_t failed, size_t ended)
{
    if (h->when == HALT_NEVER)
        return false;
    if (!h->is_percent)
        return failed >= h->limit;
    return failed >= PERCENT_LEAST && failed * 100 >= (size_t)h->limit * ended;
}
