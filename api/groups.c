/* SPDX-License-Identifier: Apache-2.0 */
/* groups.c - groups that clients make of their jobs ("sets" in the store):
 * POST /groups, GET /groups/ID[?wait=S], GET /groups/ID/ends, POST /groups/ID/close,
 * DELETE /groups/ID. A member comes in by any submitting call with ?group=ID. */
#include <stdlib.h>
#include <string.h>

#include "api/gateway.h"
#include "api/query.h"
#include "common/clock.h"
#include "common/log.h"

#define NAME_MAX_BYTES 200
#define ENDS_MAX 1000 /* in one answer */
#define ENDS_DEFAULT 100
#define POSITION_MAX 999999999999999999 /* what eighteen digits hold */
#define LINGER_MS 20                    /* where ends come by the thousand, one answer takes many of them */

static const char *const state_names[] = {[SET_OPEN] = "open", [SET_CLOSED] = "closed", [SET_ENDED] = "ended"};

static void group_to_json(const char *id, const struct store_set *set, struct buf *out)
{
    char created[WALL_TEXT_BYTES];

    wall_format(set->created_ms, created);
    buf_printf(out, "{\"id\":\"%s\",\"name\":", id);
    buf_json(out, set->name);
    buf_printf(out, ",\"state\":\"%s\",\"created\":\"%s\",\"jobs\":{\"accepted\":%lld", state_names[set->state],
               created, (long long)set->accepted);
    for (int state = JOB_PENDING; state < JOB_STATE_COUNT; state++)
        buf_printf(out, ",\"%s\":%lld", job_state_name((enum job_state)state), (long long)set->jobs[state]);
    buf_printf(out, "},\"ends\":%lld,\"links\":{\"self\":\"/groups/%s\",\"ends\":\"/groups/%s/ends\"}}\n",
               (long long)set->ends, id, id);
}

static void answer_group(struct request *r, int status, const char *id, const struct store_set *set)
{
    struct buf body = {0};

    group_to_json(id, set, &body);
    request_answer(r, status, "application/json", &body);
}

static void answer_no_group(struct request *r, const char *id)
{
    struct gateway *gw = request_gateway(r);

    if (job_id_wall_ms(id) < store_epoch(gw->store) / 1000)
        request_fail(r, ERR_NOT_FOUND,
                     "there is no such group; Redis was restarted or lost its data after this id was made: a group "
                     "with queued jobs will be known again as soon as a worker takes one");
    else
        request_fail(r, ERR_NOT_FOUND, "there is no such group, or it ended and has expired");
}

/* The id in the path if the call has none but these parameters, or NULL after a refusal. */
static const char *group_of(struct request *r, const char *const *parameters)
{
    const char  *id = request_segment(r);
    struct fault why;

    if (!job_id_is_valid(id)) {
        request_fail(r, ERR_NOT_FOUND, "the path names no group: an id is a UUID in lower case");
        return NULL;
    }
    if (query_only(r, parameters, &why)) {
        request_fail_why(r, &why);
        return NULL;
    }
    return id;
}

static const char *const no_parameters[] = {NULL};

/* ---- POST /groups ---------------------------------------------------------------- */

struct making {
    struct request *request;
    char            id[JOB_ID_BYTES];
};

static void on_made(void *ctx, const struct store_reply *reply)
{
    struct making *m = ctx;
    char           path[64];

    if (reply->answer == STORE_OK) {
        snprintf(path, sizeof path, "/groups/%s", m->id);
        request_add_header(m->request, "Location", path);
        answer_group(m->request, 201, m->id, reply->set);
    } else {
        answer_store_trouble(m->request, reply->answer);
    }
    free(m);
}

static void group_post_end(struct request *r)
{
    static const char *const parameters[] = {"name", NULL};
    const char              *name = request_query(r, "name");
    struct making           *m;
    struct fault             why;
    enum err                 e = query_only(r, parameters, &why);

    if (!e && name && strlen(name) > NAME_MAX_BYTES)
        e = fault_set(&why, ERR_PARAM, "name has %zu bytes; at most %d are taken", strlen(name), NAME_MAX_BYTES);
    if (e) {
        request_fail_why(r, &why);
        return;
    }
    m = xcalloc(1, sizeof *m);
    m->request = r;
    job_id_new(m->id);
    store_set_make(request_gateway(r)->store, m->id, name ? name : "", on_made, m);
}

/* ---- GET /groups/ID ---------------------------------------------------------------- */

static void ask_group(struct request *r, const char *id, bool watch, store_fn *fn, void *ctx)
{
    store_set_get(request_gateway(r)->store, id, watch, fn, ctx);
}

static bool group_has_ended(const struct store_reply *reply) { return reply->set->state == SET_ENDED; }

static void answer_view(struct request *r, const struct store_reply *reply)
{
    answer_group(r, 200, request_segment(r), reply->set);
}

static const struct longpoll group_poll = {
    .ask = ask_group, .is_over = group_has_ended, .answer = answer_view, .answer_gone = answer_no_group};

static void group_get_end(struct request *r)
{
    static const char *const parameters[] = {"wait", NULL};
    const char              *id = group_of(r, parameters);

    if (id)
        longpoll_start(r, id, &group_poll);
}

/* ---- GET /groups/ID/ends ------------------------------------------------------------- */

static enum err read_window(struct request *r, int64_t *after, int64_t *limit, struct fault *why)
{
    enum err e = query_number(r, "after", 0, POSITION_MAX, 0, after, why);

    return e ? e : query_number(r, "limit", 1, ENDS_MAX, ENDS_DEFAULT, limit, why);
}

static void ask_ends(struct request *r, const char *id, bool watch, store_fn *fn, void *ctx)
{
    int64_t after, limit;

    if (!read_window(r, &after, &limit, NULL)) /* it was read once already */
        store_set_ends(request_gateway(r)->store, id, after, limit, watch, fn, ctx);
}

static bool has_ends(const struct store_reply *reply) { return reply->record_count || reply->set->state == SET_ENDED; }

static void answer_ends(struct request *r, const struct store_reply *reply)
{
    struct buf body = {0};

    buf_text(&body, "{\"ends\":");
    records_to_json(reply->records, reply->record_count, &body);
    buf_printf(&body, ",\"next\":%lld,\"state\":\"%s\"}\n", (long long)reply->position, state_names[reply->set->state]);
    request_answer(r, 200, "application/json", &body);
}

static const struct longpoll ends_poll = {.linger_ms = LINGER_MS,
                                          .ask = ask_ends,
                                          .is_over = has_ends,
                                          .answer = answer_ends,
                                          .answer_gone = answer_no_group};

static void ends_get_end(struct request *r)
{
    static const char *const parameters[] = {"after", "limit", "wait", NULL};
    const char              *id = group_of(r, parameters);
    int64_t                  after, limit;
    struct fault             why;

    if (!id)
        return;
    if (read_window(r, &after, &limit, &why))
        request_fail_why(r, &why);
    else
        longpoll_start(r, id, &ends_poll);
}

/* ---- close, cancel ------------------------------------------------------------------------ */

static void answer_closed(struct request *r, const struct store_reply *reply, int status)
{
    if (reply->answer == STORE_OK)
        answer_group(r, status, request_segment(r), reply->set);
    else if (reply->answer == STORE_GONE)
        answer_no_group(r, request_segment(r));
    else
        answer_store_trouble(r, reply->answer);
}

static void on_closed(void *ctx, const struct store_reply *reply) { answer_closed(ctx, reply, 200); }

static void group_close_end(struct request *r)
{
    const char *id = group_of(r, no_parameters);

    if (id)
        store_set_close(request_gateway(r)->store, id, on_closed, r);
}

/* A batch is cancelled: the next, until none is live. Each is a call of its own, so that others have their turn. */
static void on_cancelled(void *ctx, const struct store_reply *reply)
{
    struct request         *r = ctx;
    const struct store_set *set = reply->set;

    if (reply->answer == STORE_OK && set->jobs[JOB_PENDING] + set->jobs[JOB_IN_PROGRESS] + set->jobs[JOB_RETRYING]) {
        store_set_cancel(request_gateway(r)->store, request_segment(r), on_cancelled, r);
        return;
    }
    if (reply->answer == STORE_OK)
        log_event(EVENT_GROUP_CANCELLED, LOG_TEXT("group", request_segment(r)),
                  LOG_INT("jobs", set->jobs[JOB_CANCELLED]));
    answer_closed(r, reply, 202);
}

static void group_delete_end(struct request *r)
{
    const char *id = group_of(r, no_parameters);

    if (id)
        store_set_cancel(request_gateway(r)->store, id, on_cancelled, r);
}

const struct handler group_post_handler = {NULL, NULL, group_post_end, NULL};
const struct handler group_get_handler = {NULL, NULL, group_get_end, longpoll_gone};
const struct handler group_ends_handler = {NULL, NULL, ends_get_end, longpoll_gone};
const struct handler group_close_handler = {NULL, NULL, group_close_end, NULL};
const struct handler group_delete_handler = {NULL, NULL, group_delete_end, NULL};
