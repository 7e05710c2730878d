/* SPDX-License-Identifier: Apache-2.0 */
/* longpoll.c - calls about one job or group that may wait for its end, or for that of a member (?wait=S).
 *
 * The store is asked and, where the call may wait, told in the same script to
 * watch; it then tells every gateway of what is watched when something happened,
 * with the record of a job that ended: the call is answered by that, or asks again. A tree
 * by id finds who waits for it here; several may wait for one id. The event is told
 * on another connection than the answer, and may overtake it: so a call is in
 * the tree before it asks, and asks again when something happened meanwhile.
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
    bool                   is_in_tree;
    bool                   is_asking; /* an answer of the store is under way */
    bool                   has_news;  /* something happened while it was */
    const struct longpoll *poll;
    struct waiter         *same, *before; /* next and last one who wait for this id */
    struct longpolls      *set;
    struct request        *request;
    int64_t                until_ms; /* mono; 0: answers with what there is */
    uv_timer_t             timer;    /* active while it waits */
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

/* The tree holds the first who waits for an id, the others hang on it. */
static void insert(struct waiter *w)
{
    struct waiter **node = tsearch(w, &w->set->tree, compare);

    if (!node)
        abort(); /* out of memory */
    w->is_in_tree = true;
    w->same = w->before = NULL;
    if (*node == w)
        return;
    w->same = (*node)->same;
    w->before = *node;
    (*node)->same = w;
    if (w->same)
        w->same->before = w;
}

/* Takes all who wait for id out of the tree: a list by same. */
static struct waiter *take(struct longpolls *set, const char *id)
{
    struct waiter **node = tfind(id, &set->tree, compare);
    struct waiter  *first = node ? *node : NULL;

    if (first)
        tdelete(first, &set->tree, compare);
    for (struct waiter *each = first; each; each = each->same)
        each->is_in_tree = false;
    return first;
}

/* Takes this one out; the others who wait for its id stay. */
static void leave(struct waiter *w)
{
    struct waiter **node;

    if (!w->is_in_tree)
        return;
    w->is_in_tree = false;
    if (w->same)
        w->same->before = w->before;
    if (w->before) {
        w->before->same = w->same;
    } else if (w->same) { /* the next one is the first now: an equal key, so the tree stays as it is */
        node = tfind(w, &w->set->tree, compare);
        *node = w->same;
    } else {
        tdelete(w, &w->set->tree, compare);
    }
}

static void count(struct longpolls *set, int change) { series_set(set->gauge, set->count += change); }

static void ask(struct waiter *w);

static void on_linger(uv_timer_t *timer) { ask(timer->data); }

/* Whether the reply has all that the call asks for. */
static bool is_enough(const struct waiter *w, const struct store_reply *reply)
{
    return !w->poll->wants_result || reply->record->state != JOB_COMPLETED || reply->data ||
           *reply->record->result_blob;
}

/* Something happened, or the time is over: is answered by the reply, or asks again, for the last time if is_last. */
static void wake(struct waiter *w, const struct store_reply *reply, bool is_last)
{
    if (is_last)
        w->until_ms = 0;
    if (w->is_asking) {
        w->has_news = true;
        return;
    }
    uv_timer_stop(&w->timer);
    count(w->set, -1);
    if (reply && is_enough(w, reply))
        w->poll->answer(w->request, reply);
    else if (w->poll->linger_ms && !is_last)
        uv_timer_start(&w->timer, on_linger, (uint64_t)w->poll->linger_ms, 0);
    else
        ask(w);
}

static void wake_list(struct waiter *w, const struct store_reply *reply, bool is_last)
{
    for (struct waiter *next; w; w = next) {
        next = w->same;
        wake(w, reply, is_last);
    }
}

/* Who asks anew goes back into the tree, so the old tree is taken apart first. */
static void wake_all(struct longpolls *set, bool is_last)
{
    struct waiter *all = NULL;

    while (set->tree) {
        struct waiter *first = take(set, (*(struct waiter **)set->tree)->id), *last = first;

        while (last->same)
            last = last->same;
        last->same = all;
        all = first;
    }
    wake_list(all, NULL, is_last);
}

void longpolls_ended(struct longpolls *set, const char *id, const struct store_reply *reply)
{
    if (id)
        wake_list(take(set, id), reply, false);
    else
        wake_all(set, false);
}

void longpolls_finish(struct longpolls *set) { wake_all(set, true); }

/* ---- one call ------------------------------------------------------------------ */

static void on_timer(uv_timer_t *timer)
{
    leave(timer->data);
    wake(timer->data, NULL, true);
}

static void wait_for_end(struct waiter *w)
{
    int64_t left = w->until_ms - mono_ms();

    uv_timer_start(&w->timer, on_timer, left > 0 ? (uint64_t)left : 0, 0);
    count(w->set, 1);
}

static void on_reply(void *ctx, const struct store_reply *reply)
{
    struct waiter *w = ctx;
    bool           is_open = reply->answer == STORE_OK && !w->poll->is_over(reply);

    w->is_asking = false;
    if (is_open && w->has_news) {
        ask(w);
    } else if (is_open && w->until_ms && !w->set->gw->is_stopping) {
        wait_for_end(w);
    } else {
        leave(w);
        if (reply->answer == STORE_OK)
            w->poll->answer(w->request, reply);
        else if (reply->answer == STORE_GONE)
            w->poll->answer_gone(w->request, w->id);
        else
            answer_store_trouble(w->request, reply->answer);
    }
}

static void ask(struct waiter *w)
{
    w->is_asking = true;
    w->has_news = false;
    if (w->until_ms && !w->is_in_tree)
        insert(w);
    w->poll->ask(w->request, w->id, w->until_ms > 0, on_reply, w);
}

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

void longpoll_start(struct request *r, const char *id, const struct longpoll *poll)
{
    struct gateway *gw = request_gateway(r);
    struct waiter  *w;
    int64_t         wait_ms;
    struct fault    why;

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
