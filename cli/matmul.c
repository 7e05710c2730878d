/* SPDX-License-Identifier: Apache-2.0 */
/* matmul.c - millrace matmul A.npy B.npy -o C.npy: the product of two NumPy files, as a third. */
#include "cli/fetch.h"
#include "cli/jobs.h"

enum { OUTPUT_OPTION };

static const struct option options[] = {
    [OUTPUT_OPTION] = {"output", 'o', OPTION_FILE, "FILE", "the product, a .npy file; needed", 0, 0, NULL},
    {0},
};

static enum outcome submit(struct cli *cli, json_t **job)
{
    const char *const     *files = cli->line.operands;
    const struct form_part form[] = {{"A", files[0]}, {"B", files[1]}, {0}};
    struct transfer        t;

    transfer_init(&t, "POST", "/matrix_multiplication");
    t.form = form;
    return job_submit(cli, &t, file_bytes(files[0]) + file_bytes(files[1]), job);
}

static enum outcome finish(struct cli *cli, const char *id, const char *file)
{
    json_t      *record;
    enum outcome o = job_complete(cli, id, &record);

    if (o == EXIT_OK)
        o = job_result(cli, id, "application/x-npy", file);
    if (o == EXIT_OK && cli->is_json)
        print_json(record);
    json_decref(record);
    return o;
}

static enum outcome run(struct cli *cli)
{
    const char  *file = line_text(&cli->line, OUTPUT_OPTION, NULL);
    json_t      *job;
    enum outcome o;

    if (!file)
        return give_up(EXIT_USAGE, "matmul needs -o FILE, where the product goes");
    o = submit(cli, &job);
    if (o)
        return o;
    o = finish(cli, text_of(job, "id"), file);
    json_decref(job);
    return o;
}

const struct verb verb_matmul = {
    .name = "matmul",
    .operands = "A.npy B.npy",
    .summary = "Multiply two matrices in NumPy files",
    .text =
        "Both are sent as they lie, of any size and of float64, float32, int64 or int32; the product is waited for\n"
        "and written to the file of -o, which appears when it is whole. With --json the job's record is printed.\n",
    .options = options,
    .operands_min = 2,
    .operands_max = 2,
    .completes = OPERAND_FILE,
    .run = run,
};
