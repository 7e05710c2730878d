/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - GET /jobs?state=&kind=&group=&limit=&after=: records, the newest first.
 *
 * One call of the store looks at a bounded number of jobs, so that nobody else
 * waits long; it is repeated until the page is full, nothing is left, or this
 * request has had its share. Then the page is short, and the client goes on
 * from its cursor, as from a full one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/gateway.h"
#include "api/query.h"

#define LIMIT_MAX 1000
#define LIMIT_DEFAULT 100
#define ROUNDS_MAX 100 /* calls of the store for one page */

struct listing {
    struct request     *request;
    struct store_filter filter;
    int64_t             limit, after;
    char                after_id[JOB_ID_BYTES];
    int                 rounds;
    struct buf          body; /* owned: the records so far, a comma between two */
};

/* A cursor is the place of the last job that was looked at: its time and its id. */
static enum err read_cursor(const char *text, struct listing *l, struct fault *why)
{
    size_t digits = strspn(text, "0123456789");

    if (!digits || digits > 15 || text[digits] != '-' || !job_id_is_valid(text + digits + 1))
        return fault_set(why, ERR_PARAM, "after is '%.60s'; it takes what an earlier answer has as next", text);
    l->after = strtoll(text, NULL, 10);
    memcpy(l->after_id, text + digits + 1, JOB_ID_BYTES);
    return ERR_OK;
}

static enum err check_state(const char *name, struct fault *why)
{
    enum job_state state = job_state_from_name(name);

    if (!*name || (state != JOB_STATE_COUNT && state != JOB_UNCONFIRMED))
        return ERR_OK;
    return fault_set(why, ERR_PARAM,
                     "state is '%.40s'; it takes pending, in-progress, retrying, completed, failed or cancelled", name);
}

static const char *text_of(struct request *r, const char *name)
{
    const char *text = request_query(r, name);

    return text ? text : "";
}

static enum err read_query(struct listing *l, struct fault *why)
{
    static const char *const parameters[] = {"state", "kind", "group", "limit", "after", NULL};
    struct request          *r = l->request;
    const char              *after = request_query(r, "after");
    enum err                 e = query_only(r, parameters, why);

    l->filter = (struct store_filter){text_of(r, "state"), text_of(r, "kind"), text_of(r, "group")};
    if (!e)
        e = query_number(r, "limit", 1, LIMIT_MAX, LIMIT_DEFAULT, &l->limit, why);
    if (!e)
        e = check_state(l->filter.state, why);
    if (!e && *l->filter.kind && kind_find(l->filter.kind) < 0)
        e = fault_set(why, ERR_PARAM, "there is no kind '%.60s'", l->filter.kind);
    if (!e && *l->filter.set && !job_id_is_valid(l->filter.set))
        e = fault_set(why, ERR_PARAM, "group is '%.60s'; an id is a UUID in lower case", l->filter.set);
    return e || !after ? e : read_cursor(after, l, why);
}

static void listing_free(struct listing *l)
{
    buf_free(&l->body);
    free(l);
}

static void answer_page(struct listing *l, bool has_more)
{
    struct buf page = {0};

    buf_text(&page, "{\"jobs\":[");
    buf_append(&page, l->body.data, l->body.len);
    buf_text(&page, "],\"next\":");
    if (has_more)
        buf_printf(&page, "\"%lld-%s\"}\n", (long long)l->after, l->after_id);
    else
        buf_text(&page, "null}\n");
    request_answer(l->request, 200, "application/json", &page);
}

static void ask(struct listing *l);

static void on_listed(void *ctx, const struct store_reply *reply)
{
    struct listing *l = ctx;

    if (reply->answer != STORE_OK) {
        answer_store_trouble(l->request, reply->answer);
        listing_free(l);
        return;
    }
    for (size_t i = 0; i < reply->record_count; i++) {
        buf_text(&l->body, l->body.len ? "," : "");
        record_to_json(&reply->records[i], &l->body);
    }
    l->limit -= (int64_t)reply->record_count;
    l->after = reply->position;
    snprintf(l->after_id, sizeof l->after_id, "%s", reply->last_id);
    if (reply->has_more && l->limit > 0 && ++l->rounds < ROUNDS_MAX) {
        ask(l);
        return;
    }
    answer_page(l, reply->has_more);
    listing_free(l);
}

static void ask(struct listing *l)
{
    store_list(request_gateway(l->request)->store, &l->filter, l->limit, l->after, l->after_id, on_listed, l);
}

static void list_end(struct request *r)
{
    struct listing *l = xcalloc(1, sizeof *l);
    struct fault    why;

    l->request = r;
    if (read_query(l, &why)) {
        request_fail_why(r, &why);
        listing_free(l);
        return;
    }
    ask(l);
}

const struct handler job_list_handler = {NULL, NULL, list_end, NULL};
