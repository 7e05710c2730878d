/* SPDX-License-Identifier: Apache-2.0 */
/* jobs.c - see the header. */
#include "cli/jobs.h"

#include <stdlib.h>
#include <string.h>

#include "cli/fetch.h"
#include "cli/query.h"
#include "common/job.h"
#include "common/text.h"

#define WAIT_SECONDS 30 /* of one long poll */

const char *text_of(const json_t *doc, const char *name)
{
    const char *text = json_string_value(json_object_get(doc, name));

    return text ? text : "";
}

int64_t count_of(const json_t *doc, const char *name) { return json_integer_value(json_object_get(doc, name)); }

/* ---- calls -------------------------------------------------------------------- */

/* What has become of t, which is freed. */
static enum outcome read_json(struct cli *cli, struct transfer *t, json_t **out)
{
    enum outcome o = t->outcome;

    *out = o == EXIT_OK ? json_loadb(t->answer.data, t->answer.len, 0, NULL) : NULL;
    if (o != EXIT_OK)
        complain("%s", t->reason);
    else if (!json_is_object(*out))
        o = give_up(EXIT_AWAY, "%s answered %d with something that is no JSON object", http_url(cli->http), t->status);
    if (o != EXIT_OK) {
        json_decref(*out);
        *out = NULL;
    }
    transfer_free(t);
    return o;
}

enum outcome call_json(struct cli *cli, struct transfer *t, json_t **out)
{
    http_do(cli->http, t);
    return read_json(cli, t, out);
}

static void job_transfer(struct transfer *t, const char *method, const char *id, const char *behind)
{
    struct buf path = {0};

    query_escape(&path, id);
    buf_append(&path, "", 1);
    transfer_init(t, method, "/jobs/%s%s", path.data, behind);
    buf_free(&path);
}

enum outcome job_call(struct cli *cli, const char *method, const char *id, const char *behind, json_t **out)
{
    struct transfer t;

    job_transfer(&t, method, id, behind);
    return call_json(cli, &t, out);
}

enum outcome job_change(struct cli *cli, const char *method, const char *id, const char *behind)
{
    json_t      *record;
    enum outcome o = job_call(cli, method, id, behind, &record);

    if (o)
        return o;
    if (cli->is_json)
        print_json(record);
    else
        print_state(record);
    json_decref(record);
    return EXIT_OK;
}

enum outcome job_submit(struct cli *cli, struct transfer *t, uint64_t progress_bytes, json_t **out)
{
    char key[JOB_ID_BYTES];

    job_id_new(key);
    if (!t->idempotency)
        t->idempotency = key;
    fetch_shown(cli->http, t, "sent", &t->sent, progress_bytes);
    return read_json(cli, t, out);
}

enum outcome job_wait(struct cli *cli, const char *id, json_t **out)
{
    char behind[32];

    snprintf(behind, sizeof behind, "?wait=%d", WAIT_SECONDS);
    for (;;) {
        enum outcome   o = job_call(cli, "GET", id, behind, out);
        enum job_state state = o ? JOB_STATE_COUNT : job_state_from_name(text_of(*out, "state"));

        if (o)
            return o;
        if (state == JOB_STATE_COUNT || job_state_is_terminal(state))
            return state == JOB_COMPLETED ? EXIT_OK : EXIT_JOB;
        json_decref(*out);
    }
}

enum outcome job_complete(struct cli *cli, const char *id, json_t **out)
{
    enum outcome  o = job_wait(cli, id, out);
    const json_t *error = *out ? json_object_get(*out, "error") : NULL;

    if (o == EXIT_JOB)
        complain("job %s is %s%s%s: %s", id, text_of(*out, "state"), error ? ", " : "", text_of(error, "code"),
                 error ? text_of(error, "detail") : "there is no result");
    if (o == EXIT_INTERRUPTED)
        complain("job %s goes on; millrace result -w %s fetches its result, millrace cancel %s ends it", id, id, id);
    return o;
}

enum outcome job_result(struct cli *cli, const char *id, const char *accept, const char *file)
{
    struct transfer t;
    enum outcome    o;

    job_transfer(&t, "GET", id, "/result");
    t.accept = accept;
    o = fetch_into(cli->http, &t, file);
    if (o)
        complain("%s", t.reason);
    transfer_free(&t);
    return o;
}

enum outcome for_each_operand(struct cli *cli, int first, enum outcome (*each)(struct cli *cli, const char *id))
{
    enum outcome worst = EXIT_OK;

    for (int i = first; i < cli->line.operand_count; i++) {
        enum outcome o = each(cli, cli->line.operands[i]);

        worst = o > worst ? o : worst;
        if (o == EXIT_INTERRUPTED || ferror(stdout)) /* nobody reads on */
            break;
    }
    return worst;
}

/* ---- showing ------------------------------------------------------------------- */

void print_json(const json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);

    puts(text ? text : "{}");
    fflush(stdout); /* whoever reads it may be waiting */
    free(text);
}

void print_text(const char *text)
{
    char *tame = xstrdup(text);

    text_tame(tame, strlen(tame));
    fputs(tame, stdout);
    free(tame);
}

void print_line(const char *text)
{
    print_text(text);
    putchar('\n');
}

static void print_row(const char *name, const char *text)
{
    if (!*text)
        return;
    printf("%-10s ", name);
    print_line(text);
}

void print_state(const json_t *record)
{
    const json_t *error = json_object_get(record, "error");

    print_text(text_of(record, "id"));
    putchar(' ');
    print_text(text_of(record, "state"));
    if (*text_of(error, "code") && !strcmp(text_of(record, "state"), "failed")) {
        printf(" ");
        print_text(text_of(error, "code"));
        printf(": ");
        print_text(text_of(error, "detail"));
    }
    putchar('\n');
    fflush(stdout);
}

static void print_seconds(const char *name, const json_t *seconds)
{
    if (json_is_number(seconds))
        printf("%-10s %.3f s\n", name, json_number_value(seconds));
}

void print_record(const json_t *record)
{
    const json_t *error = json_object_get(record, "error"), *tiles = json_object_get(record, "tiles");
    const json_t *result = json_object_get(record, "result");

    print_row("id", text_of(record, "id"));
    print_row("kind", text_of(record, "kind"));
    print_row("state", text_of(record, "state"));
    printf("%-10s %lld of %lld", "attempt", (long long)count_of(record, "attempt"),
           (long long)count_of(record, "max_attempts"));
    if (count_of(record, "losses"))
        printf(", lost %lld times", (long long)count_of(record, "losses"));
    putchar('\n');
    print_row("created", text_of(record, "created"));
    print_row("started", text_of(record, "started"));
    print_row("finished", text_of(record, "finished"));
    print_row("deadline", text_of(record, "deadline"));
    print_row("next run", text_of(record, "next_attempt_at"));
    print_seconds("waited", json_object_get(record, "wait_seconds"));
    print_seconds("ran", json_object_get(record, "run_seconds"));
    print_row("worker", text_of(record, "worker"));
    print_row("group", text_of(record, "group"));
    if (json_number_value(json_object_get(record, "progress")) > 0)
        printf("%-10s %.0f %%\n", "progress", 100 * json_number_value(json_object_get(record, "progress")));
    if (tiles)
        printf("%-10s %lld of %lld\n", "tiles", (long long)count_of(tiles, "done"),
               (long long)count_of(tiles, "total"));
    print_row("error", text_of(error, "code"));
    print_row("", text_of(error, "detail"));
    if (result) {
        printf("%-10s %lld bytes, ", "result", (long long)count_of(result, "size"));
        print_line(text_of(result, "content_type"));
    }
}
