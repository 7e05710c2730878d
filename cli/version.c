/* SPDX-License-Identifier: Apache-2.0 */
/* version.c - millrace version. */
#include "cli/cli.h"

static enum outcome run(struct cli *cli)
{
    puts(cli->is_json ? "{\"version\":\"" MILLRACE_VERSION "\"}" : "millrace " MILLRACE_VERSION);
    return EXIT_OK;
}

const struct verb verb_version = {
    .name = "version",
    .operands = "",
    .summary = "Print the version of this program",
    .is_offline = true,
    .run = run,
};
