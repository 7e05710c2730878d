/* SPDX-License-Identifier: Apache-2.0 */
/* submit.c - millrace submit KIND [NAME=VALUE...]: a job of any kind; prints its id. */
#include <string.h>

#include "cli/fetch.h"
#include "cli/jobs.h"
#include "cli/query.h"

enum { FILE_OPTION, TYPE_OPTION, IDEMPOTENCY_OPTION };

static const struct option options[] = {
    [FILE_OPTION] = {"file", 'f', OPTION_FILE, "FILE", "the job's input; - for stdin", 0, 0, NULL},
    [TYPE_OPTION] = {"type", 't', OPTION_TEXT, "TYPE",
                     "content type of the input (application/json for *.json, else application/octet-stream)", 0, 0,
                     NULL},
    [IDEMPOTENCY_OPTION] = {"idempotency-key", 0, OPTION_TEXT, "TEXT",
                            "the same text again gives the job that there is already", 0, 0, NULL},
    {0},
};

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);

    return len > end_len && !strcmp(text + len - end_len, end);
}

/* "/jobs/KIND?name=value&...": false after a complaint. */
static bool make_path(const struct line *line, struct buf *path)
{
    buf_text(path, "/jobs/");
    query_escape(path, line->operands[0]);
    for (int i = 1; i < line->operand_count; i++)
        if (!query_put_pair(path, line->operands[i])) {
            complain("'%.60s' is no parameter; one is NAME=VALUE", line->operands[i]);
            return false;
        }
    buf_append(path, "", 1);
    return true;
}

static enum outcome run(struct cli *cli)
{
    const struct line *line = &cli->line;
    struct transfer    t;
    struct buf         path = {0};
    const char        *file = line_text(line, FILE_OPTION, NULL);
    json_t            *job;
    enum outcome       o;

    transfer_init(&t, "POST", "/");
    if (!make_path(line, &path)) {
        buf_free(&path);
        transfer_free(&t);
        return EXIT_USAGE;
    }
    buf_free(&t.path);
    t.path = path;
    t.idempotency = line_text(line, IDEMPOTENCY_OPTION, NULL);
    t.body_file = file && !strcmp(file, "-") ? "/dev/stdin" : file;
    if (file)
        t.content_type =
            line_text(line, TYPE_OPTION, ends_in(file, ".json") ? "application/json" : "application/octet-stream");
    o = job_submit(cli, &t, file ? file_bytes(file) : 0, &job);
    if (o)
        return o;
    if (cli->is_json)
        print_json(job);
    else
        print_line(text_of(job, "id"));
    json_decref(job);
    return EXIT_OK;
}

const struct verb verb_submit = {
    .name = "submit",
    .operands = "KIND [NAME=VALUE...]",
    .summary = "Submit a job of any kind and print its id",
    .text = "The parameters are those of the kind, and those that every kind takes: timeout=SECONDS of one\n"
            "attempt, deadline=SECONDS until it must have started, attempts=N on errors of its own, group=ID\n"
            "that it joins. The id alone is printed, on a line. While the gateway is away the request is\n"
            "repeated, and makes one job however often it arrived.\n",
    .options = options,
    .operands_min = 1,
    .operands_max = -1,
    .run = run,
};
