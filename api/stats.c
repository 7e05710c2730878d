/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c - numbers about the fleet: /stats, /metrics, /healthz, /readyz.
 *
 * The store counts jobs; only the broker knows how many messages are ready.
 * It is asked at every call, and its answer waited for at most 50 ms.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/gateway.h"

#define DEPTHS_WAIT_MS 50

/* ---- queue depths ----------------------------------------------------------- */

struct ask {
    struct ask     *next;
    struct request *request;
};

struct depths {
    struct gateway *gw;
    int64_t         ready[KIND_COUNT]; /* -1: the broker did not say */
    struct ask     *waiting;           /* requests that want fresh counts */
    uv_timer_t      timer;
};

static void stats_ask(struct request *r);

static void serve_waiting(struct depths *d)
{
    struct ask *each = d->waiting, *next;

    d->waiting = NULL;
    uv_timer_stop(&d->timer);
    for (; each; each = next) {
        next = each->next;
        stats_ask(each->request);
        free(each);
    }
}

static void on_no_answer(uv_timer_t *timer)
{
    struct depths *d = timer->data;

    for (int i = 0; i < KIND_COUNT; i++)
        d->ready[i] = -1;
    serve_waiting(d);
}

struct depths *depths_new(struct gateway *gw)
{
    struct depths *d = xcalloc(1, sizeof *d);

    d->gw = gw;
    uv_timer_init(gw->loop, &d->timer);
    d->timer.data = d;
    for (int i = 0; i < KIND_COUNT; i++)
        d->ready[i] = -1;
    return d;
}

static void on_closed(uv_handle_t *timer) { free(timer->data); }

void depths_free(struct depths *d)
{
    if (!d)
        return;
    serve_waiting(d);
    uv_close((uv_handle_t *)&d->timer, on_closed);
}

void depths_arrived(struct depths *d, const int64_t *ready)
{
    memcpy(d->ready, ready, sizeof d->ready);
    serve_waiting(d);
}

/* Asks the broker; goes on with the request when it has answered, or has not in time. */
static void depths_then_stats(struct depths *d, struct request *r)
{
    struct ask *ask = xcalloc(1, sizeof *ask);

    ask->request = r;
    ask->next = d->waiting;
    d->waiting = ask;
    if (!broker_publisher_is_up(d->gw->broker) || d->gw->is_stopping) {
        on_no_answer(&d->timer);
        return;
    }
    if (!ask->next)
        uv_timer_start(&d->timer, on_no_answer, DEPTHS_WAIT_MS, 0);
    broker_ask_depths(d->gw->broker);
}

/* ---- the two documents --------------------------------------------------------- */

static int64_t number(json_t *object, const char *name) { return json_integer_value(json_object_get(object, name)); }

/* {"ready","unacknowledged","oldest_seconds"} of one kind. While the broker is
 * away, what the store knows to be pending stands for ready. */
static json_t *queue_stats(const struct gateway *gw, int kind, json_t *counts)
{
    int64_t ready = gw->depths->ready[kind];

    return json_pack("{s:I, s:I, s:f}", "ready", (json_int_t)(ready >= 0 ? ready : number(counts, "pending")),
                     "unacknowledged", (json_int_t)number(counts, "in-progress"), "oldest_seconds",
                     (double)number(counts, "oldest_ms") / 1000);
}

static void answer_stats(struct request *r, json_t *store)
{
    struct gateway *gw = request_gateway(r);
    json_t         *queues = json_object(), *all;
    struct buf      body = {0};
    char           *text;

    for (int i = 0; i < KIND_COUNT; i++)
        json_object_set_new(queues, kinds[i]->name,
                            queue_stats(gw, i, json_object_get(json_object_get(store, "kinds"), kinds[i]->name)));
    all = json_pack("{s:I, s:O, s:o, s:O, s:O}", "epoch", (json_int_t)number(store, "epoch"), "jobs",
                    json_object_get(store, "jobs"), "queues", queues, "outbox", json_object_get(store, "outbox"),
                    "workers", json_object_get(store, "workers"));
    text = json_dumps(all, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(all);
    buf_text(&body, text ? text : "{}");
    buf_text(&body, "\n");
    free(text);
    request_answer(r, 200, "application/json", &body);
}

static void set_gauge(struct metrics *m, enum metric id, const char *labels, double value)
{
    series_set(metrics_series(m, id, labels), value);
}

/* One histogram of the fleet: {"0":n, .., "sum":seconds}, an entry per bucket. */
static void set_histogram(struct metrics *m, enum metric id, const char *kind, json_t *samples)
{
    double buckets[METRICS_BUCKETS + 1] = {0};
    char   labels[64], name[16];

    for (int i = 0; i <= METRICS_BUCKETS; i++) {
        snprintf(name, sizeof name, "%d", i);
        buckets[i] = json_number_value(json_object_get(samples, name));
    }
    snprintf(labels, sizeof labels, "kind=\"%s\"", kind);
    series_replace(metrics_series(m, id, labels), buckets, json_number_value(json_object_get(samples, "sum")));
}

/* A counter that the scripts keep beside the histograms. */
static double count_of(json_t *histograms, const char *name)
{
    return json_number_value(json_object_get(json_object_get(histograms, name), "count"));
}

/* What the scripts count of one kind. */
static void set_kind_metrics(struct metrics *m, const char *kind, json_t *counts, json_t *histograms)
{
    char labels[96], name[64];

    for (int s = JOB_PENDING; s < JOB_STATE_COUNT; s++) {
        snprintf(labels, sizeof labels, "kind=\"%s\",state=\"%s\"", kind, job_state_name(s));
        set_gauge(m, METRIC_JOBS, labels, (double)number(counts, job_state_name(s)));
    }
    snprintf(name, sizeof name, "wait:%s", kind);
    set_histogram(m, METRIC_WAIT_SECONDS, kind, json_object_get(histograms, name));
    snprintf(name, sizeof name, "run:%s", kind);
    set_histogram(m, METRIC_RUN_SECONDS, kind, json_object_get(histograms, name));
    snprintf(labels, sizeof labels, "kind=\"%s\"", kind);
    set_gauge(m, METRIC_OLDEST, labels, (double)number(counts, "oldest_ms") / 1000);
    snprintf(name, sizeof name, "retries:%s", kind);
    set_gauge(m, METRIC_RETRIES, labels, count_of(histograms, name));
    snprintf(name, sizeof name, "losses:%s", kind);
    set_gauge(m, METRIC_LOSSES, labels, count_of(histograms, name));
}

/* Jobs accepted, less those in all states: of one moment, as the script counted them. */
static double books_difference(json_t *jobs)
{
    int64_t difference = number(jobs, "accepted");

    for (int s = JOB_PENDING; s < JOB_STATE_COUNT; s++)
        difference -= number(jobs, job_state_name(s));
    return (double)difference;
}

static void set_fleet_metrics(struct gateway *gw, json_t *store)
{
    struct metrics *m = gw->metrics;
    json_t         *histograms = json_object_get(store, "histograms");
    json_t         *outbox = json_object_get(store, "outbox");
    json_t         *by_kind = json_object_get(store, "kinds");

    for (int i = 0; i < KIND_COUNT; i++)
        set_kind_metrics(m, kinds[i]->name, json_object_get(by_kind, kinds[i]->name), histograms);
    set_gauge(m, METRIC_BOOKS, "", books_difference(json_object_get(store, "jobs")));
    set_gauge(m, METRIC_OUTBOX_COUNT, "", (double)number(outbox, "count"));
    set_gauge(m, METRIC_OUTBOX_BYTES, "", (double)number(outbox, "bytes"));
    set_gauge(m, METRIC_DEAD, "", count_of(histograms, "dead"));
    set_gauge(m, METRIC_UNVERIFIED, "", count_of(histograms, "unverified"));
    set_gauge(m, METRIC_EPOCH, "", (double)number(store, "epoch"));
}

/* store: NULL while Redis is away; the fleet's numbers stay as they were last seen. */
static void answer_metrics(struct request *r, json_t *store)
{
    struct gateway *gw = request_gateway(r);
    struct buf      body = {0};

    if (store)
        set_fleet_metrics(gw, store);
    set_gauge(gw->metrics, METRIC_STORE_UP, "", store_is_up(gw->store));
    set_gauge(gw->metrics, METRIC_BROKER_UP, "", broker_publisher_is_up(gw->broker));
    set_gauge(gw->metrics, METRIC_CONFIRMS, "", (double)broker_confirms_outstanding(gw->broker));
    set_gauge(gw->metrics, METRIC_BUILD_INFO, "version=\"" MILLRACE_VERSION "\"", 1);
    metrics_render(gw->metrics, &body);
    request_answer(r, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

/* ---- readiness -------------------------------------------------------------------- */

static void answer_ready(struct request *r, const char *how)
{
    struct buf body = {0};

    buf_printf(&body, "{\"ready\":true,\"accepts_by\":\"%s\"}\n", how);
    request_answer(r, 200, "application/json", &body);
}

/* The broker is away: ready while the outbox has room. */
static void answer_outbox_room(struct request *r, json_t *store)
{
    int64_t bytes = number(json_object_get(store, "outbox"), "bytes");

    if (!store)
        request_fail(r, ERR_STORE_DOWN, "Redis does not answer");
    else if (bytes < request_gateway(r)->settings.outbox_max)
        answer_ready(r, "outbox");
    else
        request_fail(r, ERR_BROKER_DOWN, "the broker is away and the outbox is full");
}

/* ---- the calls --------------------------------------------------------------------- */

static void on_stats(void *ctx, const struct store_reply *reply)
{
    struct request       *r = ctx;
    const struct handler *handler = request_route(r)->handler;
    json_t               *store = NULL;

    if (reply->answer == STORE_OK)
        store = json_loadb(reply->data, reply->data_len, 0, NULL);
    if (handler == &metrics_handler)
        answer_metrics(r, store);
    else if (handler == &readyz_handler)
        answer_outbox_room(r, store);
    else if (store)
        answer_stats(r, store);
    else
        answer_store_trouble(r, reply->answer);
    json_decref(store);
}

static void stats_ask(struct request *r) { store_stats(request_gateway(r)->store, on_stats, r); }

static void stats_end(struct request *r) { depths_then_stats(request_gateway(r)->depths, r); }

static void readyz_end(struct request *r)
{
    struct gateway *gw = request_gateway(r);

    if (gw->is_stopping)
        request_fail(r, ERR_BUSY, "this gateway is stopping");
    else if (!store_is_up(gw->store))
        request_fail(r, ERR_STORE_DOWN, "Redis is not connected");
    else if (broker_publisher_is_up(gw->broker))
        answer_ready(r, "broker");
    else
        stats_ask(r);
}

static void healthz_end(struct request *r)
{
    struct buf body = {0};

    buf_printf(&body, "{\"alive\":true,\"version\":\"%s\"}\n", MILLRACE_VERSION);
    request_answer(r, 200, "application/json", &body);
}

const struct handler stats_handler = {NULL, NULL, stats_end, NULL};
const struct handler metrics_handler = {NULL, NULL, stats_ask, NULL};
const struct handler readyz_handler = {NULL, NULL, readyz_end, NULL};
const struct handler healthz_handler = {NULL, NULL, healthz_end, NULL};
