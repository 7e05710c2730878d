/* SPDX-License-Identifier: Apache-2.0 */
/* workers.c - millrace workers: who computes, and how busy each is. */
#include "cli/views.h"

static enum outcome run(struct cli *cli)
{
    json_t      *stats;
    struct buf   text = {0};
    enum outcome o = stats_get(cli, &stats);

    if (o)
        return o;
    if (cli->is_json) {
        print_json(json_object_get(stats, "workers"));
    } else {
        view_workers(stats, &text);
        fwrite(text.data, 1, text.len, stdout);
    }
    buf_free(&text);
    json_decref(stats);
    return EXIT_OK;
}

const struct verb verb_workers = {
    .name = "workers",
    .operands = "",
    .summary = "List the workers that are alive",
    .text = "One that has not been heard of for five seconds is not listed.\n",
    .run = run,
};
