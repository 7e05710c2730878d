/* SPDX-License-Identifier: Apache-2.0 */
/* longpoll.c - calls about one job that may wait for its end (?wait=S).
 *
 * The store is asked and, where the call may wait, told in the same script to
 * watch; it then names each watched job that ended to every gateway. A tree by
 * id finds who waits for it here; several may wait for one job.
 */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "api/gateway.h"
#include "common/clock.h"

#define WAIT_MAX_S 60

/* One call, from its end of body to its answer: the request's state. */
struct waiter {
    char                   id[JOB_ID_BYTES]; /* first: the tree compares by it */
    bool                   is_waiting;       /* in the tree, with the timer running */
    const struct longpoll *poll;
    struct waiter         *same; /* next one who waits for this id */
    struct longpolls      *set;
    struct request        *request;
    int64_t                until_ms; /* mono; 0: answers with what there is */
    uv_timer_t             timer;
};

struct longpolls {
    struct gateway *gw;
    void           *tree; /* of struct waiter, by id; further ones hang on same */
    struct series  *gauge;
    int             count;
};

struct longpolls *longpolls_new(struct gateway *gw)
{
    struct longpolls *set = xcalloc(1, sizeof *set);

    set->gw = gw;
    set->gauge = metrics_series(gw->metrics, METRIC_HTTP_WAITING, "");
    return set;
}

void longpolls_free(struct longpolls *set) { free(set); }

/* ---- the set of those who wait --------------------------------------------- */

static int compare(const void *a, const void *b) { return memcmp(a, b, JOB_ID_BYTES - 1); }

/* Takes all who wait for id out of the tree. */
static struct waiter *take(struct longpolls *set, const char *id)
{
    struct waiter **node = tfind(id, &set->tree, compare);
    struct waiter  *first = node ? *node : NULL;

    if (first)
        tdelete(first, &set->tree, compare);
    return first;
}

static void insert(struct waiter *w)
{
    struct waiter **node = tsearch(w, &w->set->tree, compare);

    if (!node)
        abort(); /* out of memory */
    w->same = NULL;
    if (*node != w) {
        w->same = (*node)->same;
        (*node)->same = w;
    }
}

static void ask(struct waiter *w);

/* The waiter has left the tree: it asks again, for the last time if is_last. */
static void wake(struct waiter *w, bool is_last)
{
    uv_timer_stop(&w->timer);
    w->is_waiting = false;
    series_set(w->set->gauge, --w->set->count);
    if (is_last)
        w->until_ms = 0;
    ask(w);
}

static void wake_list(struct waiter *w, bool is_last)
{
    for (struct waiter *next; w; w = next) {
        next = w->same;
        wake(w, is_last);
    }
}

static void wake_all(struct longpolls *set, bool is_last)
{
    while (set->tree)
        wake_list(take(set, (*(struct waiter **)set->tree)->id), is_last);
}

static void on_timer(uv_timer_t *timer)
{
    struct waiter *w = timer->data, *next;

    /* Those who wait on for the same id go back into the tree. */
    for (struct waiter *each = take(w->set, w->id); each; each = next) {
        next = each->same;
        if (each != w)
            insert(each);
    }
    wake(w, true);
}

static void wait_for_end(struct waiter *w)
{
    int64_t left = w->until_ms - mono_ms();

    w->is_waiting = true;
    uv_timer_start(&w->timer, on_timer, left > 0 ? (uint64_t)left : 0, 0);
    insert(w);
    series_set(w->set->gauge, ++w->set->count);
}

void longpolls_ended(struct longpolls *set, const char *id)
{
    if (id)
        wake_list(take(set, id), false);
    else
        wake_all(set, false);
}

void longpolls_finish(struct longpolls *set) { wake_all(set, true); }

/* ---- one call ------------------------------------------------------------------ */

static void on_reply(void *ctx, const struct store_reply *reply)
{
    struct waiter *w = ctx;

    if (reply->answer == STORE_GONE)
        answer_no_job(w->request, w->id);
    else if (reply->answer != STORE_OK)
        answer_store_trouble(w->request, reply->answer);
    else if (w->until_ms && !w->set->gw->is_stopping && !job_state_is_terminal(reply->record->state))
        wait_for_end(w);
    else
        w->poll->answer(w->request, reply);
}

static void ask(struct waiter *w) { w->poll->ask(w->set->gw->store, w->id, w->until_ms > 0, on_reply, w); }

static enum err read_wait(struct request *r, int64_t *wait_ms, struct fault *why)
{
    const char *text = request_query(r, "wait");
    char       *end;
    double      seconds;

    *wait_ms = 0;
    if (!text)
        return ERR_OK;
    seconds = strtod(text, &end);
    if (strspn(text, "0123456789.") != strlen(text) || end == text || *end)
        return fault_set(why, ERR_PARAM, "wait is '%.40s'; it takes seconds from 0 to %d", text, WAIT_MAX_S);
    *wait_ms = (int64_t)((seconds > WAIT_MAX_S ? WAIT_MAX_S : seconds) * 1000);
    return ERR_OK;
}

void longpoll_start(struct request *r, const struct longpoll *poll)
{
    struct gateway *gw = request_gateway(r);
    const char     *id = request_job_id(r);
    struct waiter  *w;
    int64_t         wait_ms;
    struct fault    why;

    if (!id)
        return;
    if (read_wait(r, &wait_ms, &why)) {
        request_fail_why(r, &why);
        return;
    }
    w = xcalloc(1, sizeof *w);
    memcpy(w->id, id, JOB_ID_BYTES);
    w->poll = poll;
    w->set = gw->longpolls;
    w->request = r;
    w->until_ms = wait_ms ? mono_ms() + wait_ms : 0;
    uv_timer_init(gw->loop, &w->timer);
    w->timer.data = w;
    request_set_state(r, w);
    ask(w);
}

static void on_timer_closed(uv_handle_t *timer) { free(timer->data); }

void longpoll_gone(struct request *r)
{
    struct waiter *w = request_state(r);

    if (w)
        uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}
