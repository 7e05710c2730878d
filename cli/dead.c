/* SPDX-License-Identifier: Apache-2.0 */
/* dead.c - millrace dead ls | replay ID...: messages that no worker could take for a job. */
#include <string.h>

#include "cli/jobs.h"
#include "cli/query.h"
#include "cli/table.h"

static void print_list(const json_t *dead)
{
    static const char *const heads[] = {"ID", "KIND", "REASON", "RECEIVED", "BYTES"};
    struct table             t;
    struct buf               text = {0};
    size_t                   i;
    const json_t            *each;

    table_init(&t, 5, 16);
    for (i = 0; i < 5; i++)
        table_add(&t, "%s", heads[i]);
    json_array_foreach(dead, i, each)
    {
        table_add(&t, "%s", text_of(each, "id"));
        table_add(&t, "%s", text_of(each, "kind"));
        table_add(&t, "%s", text_of(each, "reason"));
        table_add(&t, "%s", text_of(each, "received"));
        table_add(&t, "%lld", (long long)count_of(each, "bytes"));
    }
    table_end(&t, &text);
    fwrite(text.data, 1, text.len, stdout);
    buf_free(&text);
}

static enum outcome list(struct cli *cli)
{
    struct transfer t;
    json_t         *doc;
    enum outcome    o;

    transfer_init(&t, "GET", "/dead?limit=1000");
    o = call_json(cli, &t, &doc);
    if (o)
        return o;
    if (cli->is_json)
        print_json(doc);
    else
        print_list(json_object_get(doc, "dead"));
    if (!cli->is_json && count_of(doc, "count") > (json_int_t)json_array_size(json_object_get(doc, "dead")))
        printf("of %lld dead messages\n", (long long)count_of(doc, "count"));
    json_decref(doc);
    return EXIT_OK;
}

/* What the gateway answers need not be looked at: 2xx is all that counts. */
static enum outcome replay(struct cli *cli, const char *id)
{
    struct transfer t;
    struct buf      escaped = {0};
    enum outcome    o;

    query_escape(&escaped, id);
    buf_append(&escaped, "", 1);
    transfer_init(&t, "POST", "/dead/%s/replay", escaped.data);
    buf_free(&escaped);
    o = http_do(cli->http, &t);
    if (o)
        complain("%s", t.reason);
    else if (cli->is_json)
        printf("%.*s\n", (int)strcspn(t.answer.data, "\r\n"), t.answer.data);
    else
        printf("%s replayed\n", id);
    transfer_free(&t);
    return o;
}

static enum outcome run(struct cli *cli)
{
    const char *what = cli->line.operands[0];

    if (!strcmp(what, "ls") && cli->line.operand_count == 1)
        return list(cli);
    if (!strcmp(what, "replay") && cli->line.operand_count > 1)
        return for_each_operand(cli, 1, replay);
    return give_up(EXIT_USAGE, "dead takes 'ls', or 'replay' and ids; see millrace help dead");
}

const struct verb verb_dead = {
    .name = "dead",
    .operands = "ls | replay ID...",
    .summary = "List messages that could not be run, or let them run again",
    .text = "A replayed message goes to the queue of its kind once more, as it was.\n",
    .operands_min = 1,
    .operands_max = -1,
    .completes = OPERAND_WORD,
    .words = "ls replay",
    .run = run,
};
