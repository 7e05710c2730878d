/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c - millrace stats: the numbers of the fleet at one moment. */
#include "cli/views.h"

static void view(const json_t *stats, struct buf *out)
{
    view_jobs(stats, out);
    buf_text(out, "\n");
    view_queues(stats, out);
}

static enum outcome run(struct cli *cli) { return stats_show(cli, NULL, view); }

const struct verb verb_stats = {
    .name = "stats",
    .operands = "",
    .summary = "Count jobs by state and by queue",
    .run = run,
};
