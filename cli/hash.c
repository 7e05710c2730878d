/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - millrace hash FILE -n N: SHA-512 of a file, applied N times. */
#include <string.h>

#include "cli/jobs.h"

enum { TIMES_OPTION };

static const struct option options[] = {
    [TIMES_OPTION] = {"times", 'n', OPTION_COUNT, "N", "how often SHA-512 is applied (1)", 1, 1e12, NULL},
    {0},
};

static enum outcome print_digest(struct cli *cli, const char *id)
{
    json_t      *result;
    enum outcome o = job_call(cli, "GET", id, "/result", &result);

    if (o)
        return o;
    if (cli->is_json)
        print_json(result);
    else
        print_line(text_of(result, "value"));
    json_decref(result);
    return EXIT_OK;
}

static enum outcome finish(struct cli *cli, const char *id)
{
    json_t      *record;
    enum outcome o = job_complete(cli, id, &record);

    json_decref(record);
    return o ? o : print_digest(cli, id);
}

static enum outcome run(struct cli *cli)
{
    const char     *file = cli->line.operands[0];
    struct transfer t;
    json_t         *job;
    enum outcome    o;

    transfer_init(&t, "PUT", "/enqueue?iterations=%lld", (long long)line_count(&cli->line, TIMES_OPTION, 1));
    t.body_file = strcmp(file, "-") ? file : "/dev/stdin";
    t.content_type = "application/octet-stream";
    o = job_submit(cli, &t, 0, &job);
    if (o)
        return o;
    o = finish(cli, text_of(job, "id"));
    json_decref(job);
    return o;
}

const struct verb verb_hash = {
    .name = "hash",
    .operands = "FILE",
    .summary = "Apply SHA-512 to a file, many times over",
    .text = "Prints the last digest in hex. FILE may be - for stdin.\n",
    .options = options,
    .operands_min = 1,
    .operands_max = 1,
    .completes = OPERAND_FILE,
    .run = run,
};
