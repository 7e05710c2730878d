/* SPDX-License-Identifier: Apache-2.0 */
/* audit.c - GET /audit: whether every accepted job is accounted for.
 *
 *   read the counters, count messages, read the counters -> walk the indexes, the
 *   outbox, the kept inputs, part by part -> name the oldest jobs, if there are fewer
 *   messages -> look ROUNDS times again at what was found, a second apart -> answer
 *
 * Each part is one script of a few milliseconds at most, however many jobs there
 * are. Nothing is changed. One audit runs at a time; who asks meanwhile gets the
 * next one, which begins after he has asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/audit_impl.h"
#include "api/query.h"
#include "common/broker/browse.h"

#define PART 250       /* entries that one script looks at */
#define ROUNDS 3       /* looks at what was found, beyond the first */
#define ROUND_MS 1000  /* between two */
#define OLDEST_MAX 500 /* jobs of one kind that are candidates for having no message */
#define SUM_TRIES 4    /* for a sum to hold still */
#define RESTARTS 3     /* by a store with a new epoch */

/* ---- who asks ------------------------------------------------------------------ */

static void begin(struct audits *a);

/* Answers all who wait for this one, with a copy of body each, or the fault. */
static void answer_all(struct audits *a, const struct buf *body, enum err err, const char *detail)
{
    struct asker *each = a->running, *next;

    a->running = NULL;
    for (; each; each = next) {
        struct buf copy = {0};

        next = each->next;
        if (err) {
            request_fail(each->request, err, detail);
        } else {
            buf_append(&copy, body->data, body->len);
            request_answer(each->request, 200, "application/json", &copy);
        }
        free(each);
    }
}

static void forget(struct audits *a)
{
    findings_clear(&a->found);
    json_decref(a->before);
    json_decref(a->books);
    a->before = a->books = NULL;
}

/* This audit is over. */
static void end(struct audits *a)
{
    forget(a);
    a->is_busy = false;
    if (a->waiting && !a->is_stopped)
        begin(a);
}

static void fail(struct audits *a, enum err err, const char *detail)
{
    answer_all(a, NULL, err, detail);
    end(a);
}

static void answer(struct audits *a)
{
    struct buf body = {0};

    series_add(audit_to_json(a, &body) ? a->ok : a->wrong, 1);
    answer_all(a, &body, ERR_OK, NULL);
    buf_free(&body);
    end(a);
}

/* ---- asking the store --------------------------------------------------------------- */

/* What is to be done with a reply about the books: false, and all is done, when there is none to go on with. */
static bool go_on(struct audits *a, const struct store_reply *reply)
{
    if (reply->answer != STORE_OK || a->is_stopped) {
        fail(a, ERR_STORE_DOWN, "Redis does not answer");
        return false;
    }
    if (a->epoch && reply->epoch != a->epoch) {
        findings_clear(&a->found);
        if (++a->restarts > RESTARTS)
            fail(a, ERR_BUSY, "Redis was restarted while the books were read; try again");
        else
            begin(a);
        return false;
    }
    a->epoch = reply->epoch;
    return true;
}

static const char *text(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value ? value : "";
}

static struct finding finding_of(const json_t *each, int kind)
{
    struct finding f = {.kind = kind, .since = (int64_t)json_number_value(json_object_get(each, "since"))};

    snprintf(f.id, sizeof f.id, "%s", text(each, "id"));
    snprintf(f.state, sizeof f.state, "%s", text(each, "state"));
    snprintf(f.mark, sizeof f.mark, "%s", text(each, "mark"));
    f.is_bare = json_is_true(json_object_get(each, "bare"));
    f.is_final = json_is_true(json_object_get(each, "final"));
    return f;
}

/* Adds what a part has found. */
static void take_found(struct audits *a, const json_t *part, int kind)
{
    const json_t *list = json_object_get(part, "found"), *each;
    size_t        i;

    json_array_foreach(list, i, each)
    {
        struct finding f = finding_of(each, kind);

        findings_add(&a->found, &f, text(each, "why"));
    }
}

static json_t *read_part(const struct store_reply *reply) { return json_loadb(reply->data, reply->data_len, 0, NULL); }

static void ask_part(struct audits *a, const char *what, const char *kind, int count, store_fn *fn)
{
    store_audit(a->gw->store, &(struct store_part){what, kind, a->cursor, count}, NULL, 0, fn, a);
}

/* ---- looking again ---------------------------------------------------------------------- */

static void count_messages(struct audits *a);
static void check_next(struct audits *a);

static void finish(struct audits *a)
{
    findings_suspect(&a->found, &a->balance, a->has_broker ? a->missing : 0);
    answer(a);
}

static void on_round(uv_timer_t *timer)
{
    struct audits *a = timer->data;

    a->round++;
    count_messages(a);
}

static void next_round(struct audits *a)
{
    bool is_open = false;

    for (size_t i = 0; i < a->found.count; i++) /* where there are enough messages a bare job is none */
        is_open = is_open || (!a->found.each[i].is_final && (!a->found.each[i].is_bare || a->missing > 0));
    if (is_open && a->round < ROUNDS)
        uv_timer_start(&a->timer, on_round, ROUND_MS, 0);
    else
        finish(a);
}

static void on_checked(void *ctx, const struct store_reply *reply)
{
    struct audits *a = ctx;
    json_t        *part, *each;
    size_t         i;

    if (!go_on(a, reply))
        return;
    part = read_part(reply);
    json_array_foreach(json_object_get(part, "found"), i, each)
        findings_see(&a->found, text(each, "id"), a->part, text(each, "mark"));
    json_decref(part);
    check_next(a);
}

/* Looks at the next findings, as many of one kind as one script may. */
static void check_next(struct audits *a)
{
    const char *ids[PART];
    size_t      count = 0;

    while (a->at < a->found.count && a->found.each[a->at].is_final)
        a->at++;
    if (a->at == a->found.count) {
        findings_keep(&a->found);
        next_round(a);
        return;
    }
    a->part = a->found.each[a->at].kind;
    while (a->at < a->found.count && count < PART && a->found.each[a->at].kind == a->part)
        ids[count++] = a->found.each[a->at++].id;
    store_audit(a->gw->store, &(struct store_part){"check", kinds[a->part]->name, "0", 0}, ids, count, on_checked, a);
}

static void check_again(struct audits *a)
{
    findings_look(&a->found);
    a->at = 0;
    check_next(a);
}

/* ---- the oldest jobs ------------------------------------------------------------------------ */

/* What came while the messages were counted may have its message behind the count: it is no bare job. Nor is one
 * whose outbox entry was sent meanwhile. */
static void set_bare(struct audits *a)
{
    int64_t sent = audit_number(json_object_get(a->before, "outbox"), "count");

    for (int i = 0; i < KIND_COUNT; i++) {
        const json_t *now = audit_kind(a->books, i);
        int64_t       came = audit_number(now, "accepted") - audit_number(audit_kind(a->before, i), "accepted");
        int64_t       bare = audit_number(now, "pending") + audit_number(now, "retrying") + findings_lost(&a->found, i);

        a->balance.bare[i] = bare > came ? bare - came : 0;
    }
    a->balance.outbox = audit_number(json_object_get(a->books, "outbox"), "count");
    if (a->balance.outbox < sent)
        a->balance.outbox = sent;
}

/* What is being claimed this very moment stands in front, so a few more than are missing. */
static int candidates(const struct audits *a, int kind)
{
    int64_t count = a->missing + a->consumers[kind];

    return a->balance.bare[kind] <= a->balance.ready[kind] ? 0 : (int)(count < OLDEST_MAX ? count : OLDEST_MAX);
}

static void ask_oldest(struct audits *a);

static void on_oldest(void *ctx, const struct store_reply *reply)
{
    struct audits *a = ctx;
    json_t        *part;

    if (!go_on(a, reply))
        return;
    part = read_part(reply);
    take_found(a, part, a->part++);
    json_decref(part);
    ask_oldest(a);
}

static void ask_oldest(struct audits *a)
{
    while (a->part < KIND_COUNT && !candidates(a, a->part))
        a->part++;
    if (a->part < KIND_COUNT)
        ask_part(a, "oldest", kinds[a->part]->name, candidates(a, a->part), on_oldest);
    else
        next_round(a);
}

static void on_walked(struct audits *a)
{
    set_bare(a);
    a->missing = balance_missing(&a->balance);
    a->part = a->has_broker && a->missing > 0 ? 0 : KIND_COUNT;
    ask_oldest(a);
}

/* ---- the walk: indexes, then sums ----------------------------------------------------------- */

static void walk_sum(struct audits *a);

/* At the end of a set: the sum has to be that of its entries, unless it moved meanwhile. */
static void end_sum(struct audits *a, int64_t sum)
{
    struct finding wrong = {.kind = -1, .is_final = true};
    char           why[160];
    bool           has_moved = sum != a->sum_first;

    if (a->bytes != sum && ++a->tries < SUM_TRIES) {
        walk_sum(a);
        return;
    }
    a->is_moving[a->part] = a->bytes != sum && has_moved;
    if (a->bytes != sum && !has_moved) {
        snprintf(wrong.id, sizeof wrong.id, "%s:bytes", audit_sums[a->part]);
        snprintf(why, sizeof why, "it says %lld, and the entries have %lld", (long long)sum, (long long)a->bytes);
        findings_add(&a->found, &wrong, why);
    }
    a->tries = 0;
    a->part++;
    walk_sum(a);
}

static void on_sum_part(void *ctx, const struct store_reply *reply)
{
    struct audits *a = ctx;
    bool           is_first = strcmp(a->cursor, "0") == 0;
    json_t        *part;
    int64_t        sum;

    if (!go_on(a, reply))
        return;
    part = read_part(reply);
    sum = audit_number(part, "sum");
    if (is_first)
        a->sum_first = sum;
    a->bytes += audit_number(part, "bytes");
    take_found(a, part, -1);
    snprintf(a->cursor, sizeof a->cursor, "%s", text(part, "cursor"));
    json_decref(part);
    if (strcmp(a->cursor, "0") == 0)
        end_sum(a, sum);
    else
        ask_part(a, audit_sums[a->part], "", PART, on_sum_part);
}

static void walk_sum(struct audits *a)
{
    a->bytes = 0;
    strcpy(a->cursor, "0");
    if (a->part < SUM_COUNT)
        ask_part(a, audit_sums[a->part], "", PART, on_sum_part);
    else
        on_walked(a);
}

static void on_index_part(void *ctx, const struct store_reply *reply)
{
    struct audits *a = ctx;
    json_t        *part;

    if (!go_on(a, reply))
        return;
    part = read_part(reply);
    a->outboxed[a->part] += audit_number(part, "outbox");
    a->owned[a->part] += audit_number(part, "owned");
    take_found(a, part, a->part);
    snprintf(a->cursor, sizeof a->cursor, "%s", text(part, "cursor"));
    json_decref(part);
    if (strcmp(a->cursor, "0") == 0)
        a->part++;
    if (a->part < KIND_COUNT) {
        ask_part(a, "index", kinds[a->part]->name, PART, on_index_part);
    } else {
        a->part = 0;
        walk_sum(a);
    }
}

/* ---- the counters --------------------------------------------------------------------------- */

static void on_books(void *ctx, const struct store_reply *reply)
{
    struct audits *a = ctx;
    int64_t        missing;

    if (!go_on(a, reply))
        return;
    json_decref(a->books);
    a->books = read_part(reply);
    if (a->round == 0) {
        a->part = 0;
        strcpy(a->cursor, "0");
        ask_part(a, "index", kinds[0]->name, PART, on_index_part);
        return;
    }
    set_bare(a);
    missing = balance_missing(&a->balance);
    if (missing < a->missing)
        a->missing = missing;
    check_again(a);
}

/* The counters again: a message that is taken before its job is counted was counted here. */
static void on_counted(void *ctx, const struct browsed *seen)
{
    struct audits *a = ctx;

    a->has_broker = a->has_broker && seen->outcome == BROWSE_OK;
    for (int i = 0; i < KIND_COUNT && a->has_broker; i++) {
        a->balance.ready[i] = seen->ready[i];
        a->consumers[i] = seen->consumers[i];
    }
    a->balance.delayed = a->has_broker ? seen->delayed : 0;
    store_stats(a->gw->store, on_books, a);
}

static void on_before(void *ctx, const struct store_reply *reply)
{
    struct audits *a = ctx;

    if (!go_on(a, reply))
        return;
    json_decref(a->before);
    a->before = read_part(reply);
    broker_count(a->gw->broker, on_counted, a);
}

static void count_messages(struct audits *a) { store_stats(a->gw->store, on_before, a); }

static void begin(struct audits *a)
{
    if (!a->running) {
        a->running = a->waiting;
        a->waiting = NULL;
        a->restarts = 0;
    }
    if (a->gw->is_stopping) {
        fail(a, ERR_BUSY, "the gateway stops");
        return;
    }
    a->is_busy = true;
    a->has_broker = true;
    a->epoch = 0;
    a->round = a->tries = 0;
    memset(a->outboxed, 0, sizeof a->outboxed);
    memset(a->owned, 0, sizeof a->owned);
    memset(a->is_moving, 0, sizeof a->is_moving);
    count_messages(a);
}

/* ---- the call --------------------------------------------------------------------------------- */

static void audit_end(struct request *r)
{
    static const char *const parameters[] = {NULL};
    struct audits           *a = request_gateway(r)->audits;
    struct asker            *asker;
    struct fault             why;

    if (query_only(r, parameters, &why)) {
        request_fail_why(r, &why);
        return;
    }
    asker = xcalloc(1, sizeof *asker);
    asker->request = r;
    asker->next = a->waiting;
    a->waiting = asker;
    if (!a->is_busy)
        begin(a);
}

const struct handler audit_handler = {NULL, NULL, audit_end, NULL};

struct audits *audits_new(struct gateway *gw)
{
    struct audits *a = xcalloc(1, sizeof *a);

    a->gw = gw;
    a->ok = metrics_series(gw->metrics, METRIC_AUDITS, "result=\"ok\"");
    a->wrong = metrics_series(gw->metrics, METRIC_AUDITS, "result=\"wrong\"");
    uv_timer_init(gw->loop, &a->timer);
    a->timer.data = a;
    return a;
}

static void on_closed(uv_handle_t *timer) { free(timer->data); }

void audits_stop(struct audits *a)
{
    if (!a)
        return;
    a->is_stopped = true;
    answer_all(a, NULL, ERR_BUSY, "the gateway stops");
    a->running = a->waiting;
    a->waiting = NULL;
    answer_all(a, NULL, ERR_BUSY, "the gateway stops");
    forget(a);
    uv_close((uv_handle_t *)&a->timer, on_closed);
}
