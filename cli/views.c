/* SPDX-License-Identifier: Apache-2.0 */
/* views.c - see the header. */
#include "cli/views.h"

#include "cli/table.h"
#include "common/job.h"

enum outcome stats_get(struct cli *cli, json_t **out)
{
    struct transfer t;

    transfer_init(&t, "GET", "/stats");
    return call_json(cli, &t, out);
}

enum outcome stats_show(struct cli *cli, const char *member, void (*view)(const json_t *stats, struct buf *out))
{
    json_t      *stats;
    struct buf   text = {0};
    enum outcome o = stats_get(cli, &stats);

    if (o)
        return o;
    if (cli->is_json) {
        print_json(member ? json_object_get(stats, member) : stats);
    } else {
        view(stats, &text);
        fwrite(text.data, 1, text.len, stdout);
    }
    buf_free(&text);
    json_decref(stats);
    return EXIT_OK;
}

void view_jobs(const json_t *stats, struct buf *out)
{
    const json_t *jobs = json_object_get(stats, "jobs"), *outbox = json_object_get(stats, "outbox");
    struct table  t;

    table_init(&t, 2, 2);
    table_add(&t, "accepted");
    table_add(&t, "%lld", (long long)count_of(jobs, "accepted"));
    for (int s = JOB_PENDING; s < JOB_STATE_COUNT; s++) {
        table_add(&t, "%s", job_state_name(s));
        table_add(&t, "%lld", (long long)count_of(jobs, job_state_name(s)));
    }
    if (count_of(outbox, "count")) {
        table_add(&t, "in outbox");
        table_add(&t, "%lld", (long long)count_of(outbox, "count"));
    }
    table_end(&t, out);
}

void view_queues(const json_t *stats, struct buf *out)
{
    struct table  t;
    const char   *kind;
    const json_t *queue;

    table_init(&t, 4, 14);
    table_add(&t, "KIND");
    table_add(&t, "QUEUED");
    table_add(&t, "RUNNING");
    table_add(&t, "OLDEST");
    json_object_foreach((json_t *)json_object_get(stats, "queues"), kind, queue)
    {
        table_add(&t, "%s", kind);
        table_add(&t, "%lld", (long long)count_of(queue, "ready"));
        table_add(&t, "%lld", (long long)count_of(queue, "unacknowledged"));
        table_add(&t, "%.1f s", json_number_value(json_object_get(queue, "oldest_seconds")));
    }
    table_end(&t, out);
}

static void add_kinds(struct table *t, const json_t *kinds)
{
    struct buf    text = {0};
    size_t        i;
    const json_t *kind;

    json_array_foreach(kinds, i, kind) buf_printf(&text, "%s%s", i ? " " : "", json_string_value(kind));
    table_add(t, "%.*s", (int)text.len, text.data ? text.data : "");
    buf_free(&text);
}

void view_workers(const json_t *stats, struct buf *out)
{
    static const char *const heads[] = {"WORKER", "HOST", "PID", "BUSY", "SINCE", "KINDS"};
    struct table             t;
    size_t                   i;
    const json_t            *w;

    table_init(&t, 6, 12);
    for (i = 0; i < 6; i++)
        table_add(&t, "%s", heads[i]);
    json_array_foreach(json_object_get(stats, "workers"), i, w)
    {
        table_add(&t, "%s", text_of(w, "id"));
        table_add(&t, "%s", text_of(w, "host"));
        table_add(&t, "%lld", (long long)count_of(w, "pid"));
        table_add(&t, "%lld/%lld", (long long)count_of(w, "busy"), (long long)count_of(w, "slots"));
        table_add(&t, "%s", text_of(w, "started"));
        add_kinds(&t, json_object_get(w, "kinds"));
    }
    table_end(&t, out);
}
