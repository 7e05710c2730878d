/* SPDX-License-Identifier: Apache-2.0 */
/* settings_doc.c - prints docs/settings.md from the rows of common/settings.def. */
#include <stdio.h>

#include "common/config.h"

int main(void)
{
    puts("# Settings\n\n"
         "Daemons are configured by environment variables alone. A name with the prefix `MILLRACE_` that is not in "
         "this\n"
         "table, or a value outside its bounds, is refused at start. Values in bytes take a suffix K, M or G.\n"
         "This page is printed by `build/release/settings-doc` from `common/settings.def`.\n");
    config_print_markdown();
    return 0;
}
