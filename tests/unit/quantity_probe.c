/* SPDX-License-Identifier: Apache-2.0 */
/* quantity_probe.c - reads a quantity on each line of stdin; prints it in nano, in milli and in whole units, or "no".
 */
#include <stdio.h>
#include <string.h>

#include "cli/place/quantity.h"

static void print_wide(wide value)
{
    char text[48], *at = text + sizeof text - 1;
    wide left = value < 0 ? -value : value;

    *at = '\0';
    do
        *--at = (char)('0' + (int)(left % 10));
    while (left /= 10);
    printf("%s%s", value < 0 ? "-" : "", at);
}

int main(void)
{
    char line[512];

    while (fgets(line, sizeof line, stdin)) {
        wide nano;

        line[strcspn(line, "\n")] = '\0';
        if (quantity_read(line, &nano, NULL)) {
            puts("no");
            continue;
        }
        print_wide(nano);
        putchar(' ');
        print_wide(quantity_in(nano, QUANTITY_MILLI));
        putchar(' ');
        print_wide(quantity_in(nano, QUANTITY_ONE));
        putchar('\n');
    }
    return 0;
}
