/* SPDX-License-Identifier: Apache-2.0 */
/* map_joblog.c - see the header. */
#include "cli/map_joblog.h"

#include <inttypes.h>

FILE *joblog_open(const char *path, bool goes_on)
{
    FILE *log = fopen(path, goes_on ? "ae" : "we");

    if (log && (!goes_on || !ftello(log)))
        fputs("Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n", log);
    return log;
}

void joblog_put(FILE *log, const struct plan *p, size_t index, const struct ending *end)
{
    fprintf(log, "%zu\t%s\t%.3f\t%.3f\t%" PRIu64 "\t%" PRIu64 "\t%d\t0\t", index + 1, *end->worker ? end->worker : "-",
            (double)end->started_ms / 1e3, (double)end->run_us / 1e6, p->files[index].size, end->bytes, !end->is_done);
    for (const char *c = plan_name(p, index); *c; c++)
        fputc((unsigned char)*c < 0x20 ? '?' : *c, log); /* a name is one field of one line */
    fputc('\n', log);
}
