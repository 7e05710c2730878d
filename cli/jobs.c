/* SPDX-License-Identifier: Apache-2.0 */
/* jobs.c - see the header. */
#include "cli/jobs.h"

#include <stdlib.h>
#include <string.h>

const char *text_of(const json_t *doc, const char *name)
{
    const char *text = json_string_value(json_object_get(doc, name));

    return text ? text : "";
}

enum outcome call_json(struct cli *cli, struct transfer *t, json_t **out)
{
    enum outcome o = http_do(cli->http, t);

    *out = NULL;
    if (o == EXIT_OK) {
        *out = json_loadb(t->answer.data, t->answer.len, 0, NULL);
        if (!json_is_object(*out)) {
            json_decref(*out);
            *out = NULL;
            o = give_up(EXIT_AWAY, "%s answered %d with something that is no JSON object", http_url(cli->http),
                        t->status);
        }
    } else {
        complain("%s", t->reason);
    }
    transfer_free(t);
    return o;
}

enum outcome job_get(struct cli *cli, const char *id, json_t **out)
{
    struct transfer t;
    struct buf      path = {0};

    http_escape(&path, id);
    buf_append(&path, "", 1);
    transfer_init(&t, "GET", "/jobs/%.200s", path.data);
    buf_free(&path);
    return call_json(cli, &t, out);
}

void print_json(const json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);

    puts(text ? text : "{}");
    free(text);
}

void print_record(const json_t *record) { printf("%s %s\n", text_of(record, "id"), text_of(record, "state")); }
