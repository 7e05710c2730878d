/* SPDX-License-Identifier: Apache-2.0 */
/* status.c - millrace status ID...: how jobs are at this moment. */
#include "cli/jobs.h"

static enum outcome run(struct cli *cli)
{
    enum outcome worst = EXIT_OK;

    for (int i = 0; i < cli->line.operand_count; i++) {
        json_t      *record;
        enum outcome o = job_get(cli, cli->line.operands[i], &record);

        if (o == EXIT_INTERRUPTED)
            return o;
        if (o > worst)
            worst = o;
        if (record && cli->is_json)
            print_json(record);
        else if (record)
            print_record(record);
        json_decref(record);
    }
    return worst;
}

const struct verb verb_status = {
    .name = "status",
    .operands = "ID...",
    .summary = "Show the state of jobs",
    .text = "The exit status says whether the jobs could be asked for, not how they are.\n",
    .operands_min = 1,
    .operands_max = -1,
    .completes = OPERAND_JOB,
    .run = run,
};
