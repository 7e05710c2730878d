/* SPDX-License-Identifier: Apache-2.0 */
/* ls.c - millrace ls: jobs, the newest first. */
#include "cli/jobs.h"
#include "cli/query.h"
#include "cli/table.h"

#define PAGE_MAX 1000 /* records in one answer */

enum { STATE_OPTION, KIND_OPTION, GROUP_OPTION, LIMIT_OPTION };

static const struct option options[] = {
    [STATE_OPTION] = {"state", 's', OPTION_TEXT, "STATE", "only jobs in this state", 0, 0,
                      "pending in-progress retrying completed failed cancelled"},
    [KIND_OPTION] = {"kind", 'k', OPTION_TEXT, "KIND", "only jobs of this kind", 0, 0, NULL},
    [GROUP_OPTION] = {"group", 'g', OPTION_TEXT, "ID", "only members of this group", 0, 0, NULL},
    [LIMIT_OPTION] = {"limit", 'l', OPTION_COUNT, "N", "at most so many (100)", 1, 1e9, NULL},
    {0},
};

/* One page, behind the cursor (NULL: from the newest). */
static enum outcome get_page(struct cli *cli, int64_t count, const char *after, json_t **out)
{
    const struct line *line = &cli->line;
    struct transfer    t;
    struct buf         path = {0};

    buf_printf(&path, "/jobs?limit=%lld", (long long)count);
    for (int i = STATE_OPTION; i <= GROUP_OPTION; i++)
        if (line_has(line, i))
            query_put(&path, options[i].name, line_text(line, i, NULL));
    if (after)
        query_put(&path, "after", after);
    transfer_init(&t, "GET", "%.*s", (int)path.len, path.data);
    buf_free(&path);
    return call_json(cli, &t, out);
}

static void add_row(struct table *table, const json_t *job)
{
    table_add(table, "%s", text_of(job, "id"));
    table_add(table, "%s", text_of(job, "kind"));
    table_add(table, "%s", text_of(job, "state"));
    table_add(table, "%s", text_of(job, "created"));
    table_add(table, "%s", text_of(json_object_get(job, "error"), "code"));
}

static void print_page(struct cli *cli, const json_t *jobs, bool is_first)
{
    static const char *const heads[] = {"ID", "KIND", "STATE", "CREATED", "ERROR"};
    struct table             table;
    struct buf               text = {0};
    size_t                   i;
    const json_t            *job;

    table_init(&table, 5, 0);
    for (i = 0; is_first && i < 5; i++)
        table_add(&table, "%s", heads[i]);
    json_array_foreach(jobs, i, job)
    {
        if (cli->is_json)
            print_json(job);
        else
            add_row(&table, job);
    }
    table_end(&table, &text);
    if (!cli->is_json)
        fwrite(text.data ? text.data : "", 1, text.len, stdout);
    fflush(stdout);
    buf_free(&text);
}

static enum outcome run(struct cli *cli)
{
    int64_t      left = line_count(&cli->line, LIMIT_OPTION, 100);
    json_t      *page = NULL, *next;
    const char  *after = NULL;
    enum outcome o = EXIT_OK;

    /* Whoever reads it may have read enough. */
    for (bool is_first = true; left > 0 && (is_first || after) && !ferror(stdout); is_first = false) {
        const json_t *jobs;

        o = get_page(cli, left < PAGE_MAX ? left : PAGE_MAX, after, &next);
        json_decref(page); /* after was in it */
        page = next;
        if (o)
            break;
        jobs = json_object_get(page, "jobs");
        print_page(cli, jobs, is_first);
        left -= (int64_t)json_array_size(jobs);
        after = json_string_value(json_object_get(page, "next")); /* also of a page that is short, or empty */
    }
    json_decref(page);
    return o;
}

const struct verb verb_ls = {
    .name = "ls",
    .operands = "",
    .summary = "List jobs, the newest first",
    .text = "With --json a record a line.\n",
    .options = options,
    .run = run,
};
