/* SPDX-License-Identifier: Apache-2.0 */
/* workers.c - millrace workers: who computes, and how busy each is. */
#include "cli/views.h"

static enum outcome run(struct cli *cli) { return stats_show(cli, "workers", view_workers); }

const struct verb verb_workers = {
    .name = "workers",
    .operands = "",
    .summary = "List the workers that are alive",
    .text = "One that has not been heard of for five seconds is not listed.\n",
    .run = run,
};
