/* SPDX-License-Identifier: Apache-2.0 */
/* cancel.c - millrace cancel ID...: jobs that nobody wants any more, queued or running. */
#include "cli/jobs.h"

static enum outcome cancel(struct cli *cli, const char *id) { return job_change(cli, "DELETE", id, ""); }

static enum outcome run(struct cli *cli) { return for_each_operand(cli, 0, cancel); }

const struct verb verb_cancel = {
    .name = "cancel",
    .operands = "ID...",
    .summary = "Cancel jobs, queued or running",
    .text = "One that has ended is refused (3).\n",
    .operands_min = 1,
    .operands_max = -1,
    .completes = OPERAND_JOB,
    .run = run,
};
