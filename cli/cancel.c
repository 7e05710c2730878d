/* SPDX-License-Identifier: Apache-2.0 */
/* cancel.c - millrace cancel ID...: jobs that nobody wants any more, queued or running. */
#include "cli/jobs.h"

static enum outcome cancel(struct cli *cli, const char *id)
{
    json_t      *record;
    enum outcome o = job_call(cli, "DELETE", id, "", &record);

    if (o)
        return o;
    if (cli->is_json)
        print_json(record);
    else
        print_state(record);
    json_decref(record);
    return EXIT_OK;
}

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
