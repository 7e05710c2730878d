/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c - millrace stats: the numbers of the fleet at one moment. */
#include "cli/views.h"

static enum outcome run(struct cli *cli)
{
    json_t      *stats;
    struct buf   text = {0};
    enum outcome o = stats_get(cli, &stats);

    if (o)
        return o;
    if (cli->is_json) {
        print_json(stats);
    } else {
        view_jobs(stats, &text);
        buf_text(&text, "\n");
        view_queues(stats, &text);
        fwrite(text.data, 1, text.len, stdout);
    }
    buf_free(&text);
    json_decref(stats);
    return EXIT_OK;
}

const struct verb verb_stats = {
    .name = "stats",
    .operands = "",
    .summary = "Count jobs by state and by queue",
    .run = run,
};
