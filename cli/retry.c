/* SPDX-License-Identifier: Apache-2.0 */
/* retry.c - millrace retry ID...: failed jobs once more, with the input they had. */
#include "cli/jobs.h"

static enum outcome retry(struct cli *cli, const char *id) { return job_change(cli, "POST", id, "/retry"); }

static enum outcome run(struct cli *cli) { return for_each_operand(cli, 0, retry); }

const struct verb verb_retry = {
    .name = "retry",
    .operands = "ID...",
    .summary = "Run failed jobs again with their original input",
    .text = "A job that has not failed is refused (3), as is one whose input is no longer kept.\n",
    .operands_min = 1,
    .operands_max = -1,
    .completes = OPERAND_JOB,
    .run = run,
};
