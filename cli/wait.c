/* SPDX-License-Identifier: Apache-2.0 */
/* wait.c - millrace wait ID...: until jobs have ended. */
#include "cli/jobs.h"

static enum outcome await(struct cli *cli, const char *id)
{
    json_t      *record;
    enum outcome o = job_wait(cli, id, &record);

    if (record && cli->is_json)
        print_json(record);
    else if (record)
        print_state(record);
    json_decref(record);
    return o;
}

static enum outcome run(struct cli *cli) { return for_each_operand(cli, 0, await); }

const struct verb verb_wait = {
    .name = "wait",
    .operands = "ID...",
    .summary = "Wait until jobs have ended",
    .text = "Prints \"ID STATE\" for each, in the order in which they are named, and of a failed job why. The exit\n"
            "status is 0 only if all of them completed.\n",
    .operands_min = 1,
    .operands_max = -1,
    .completes = OPERAND_JOB,
    .run = run,
};
