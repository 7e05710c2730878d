/* SPDX-License-Identifier: Apache-2.0 */
/* result.c - millrace result ID: what a job computed, to a file or to stdout. */
#include <string.h>

#include "cli/jobs.h"

enum { OUTPUT_OPTION, ACCEPT_OPTION, WAIT_OPTION };

static const struct option options[] = {
    [OUTPUT_OPTION] = {"output", 'o', OPTION_FILE, "FILE", "write it there, all of it or nothing", 0, 0, NULL},
    [ACCEPT_OPTION] = {"accept", 'a', OPTION_TEXT, "TYPE",
                       "the form that is wanted (the kind's default; application/x-npy for *.npy)", 0, 0,
                       "application/json application/x-npy application/octet-stream"},
    [WAIT_OPTION] = {"wait", 'w', OPTION_FLAG, NULL, "wait until the job has ended", 0, 0, NULL},
    {0},
};

static enum outcome run(struct cli *cli)
{
    const struct line *line = &cli->line;
    const char        *id = line->operands[0], *file = line_text(line, OUTPUT_OPTION, NULL);
    const char        *dot = file ? strrchr(file, '.') : NULL;
    const char        *form = dot && !strcmp(dot, ".npy") ? "application/x-npy" : NULL;
    json_t            *record = NULL;
    enum outcome       o = line_has(line, WAIT_OPTION) ? job_complete(cli, id, &record) : EXIT_OK;

    json_decref(record);
    if (cli->is_json)
        form = "application/json";
    return o ? o : job_result(cli, id, line_text(line, ACCEPT_OPTION, form), file && strcmp(file, "-") ? file : NULL);
}

const struct verb verb_result = {
    .name = "result",
    .operands = "ID",
    .summary = "Fetch the result of a job",
    .text =
        "It goes to stdout, or with -o into a file, which appears under its name when it is whole. A download that\n"
        "breaks off goes on where it was. A job that has not completed is refused (3), or with -w waited for.\n",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .completes = OPERAND_JOB,
    .run = run,
};
