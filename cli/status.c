/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - millrace status ID...: how jobs are at this moment. */
#include "cli/jobs.h"

static enum outcome show(struct cli *cli, const char *id)
{
    json_t      *record;
    enum outcome o = job_call(cli, "GET", id, "", &record);

    if (o)
        return o;
    if (cli->is_json) {
        print_json(record);
    } else {
        print_record(record);
        if (cli->line.operand_count > 1)
            putchar('\n');
    }
    json_decref(record);
    return EXIT_OK;
}

static enum outcome run(struct cli *cli) { return for_each_operand(cli, 0, show); }

const struct verb verb_status = {
    .name = "status",
    .operands = "ID...",
    .summary = "Show the records of jobs",
    .text = "The exit status says whether the jobs could be asked for, not how they are.\n",
    .operands_min = 1,
    .operands_max = -1,
    .completes = OPERAND_JOB,
    .run = run,
};
