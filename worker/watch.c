/* SPDX-License-Identifier: Apache-2.0 */
/* watch.c - what this worker shows of itself to its surroundings: a port with
 * probes and metrics, and in a cluster how dear its pod is to delete. Both are
 * off unless the settings ask for them. */
#include <stdio.h>

#include "worker/pod.h"
#include "worker/probe.h"
#include "worker/worker.h"

static int busy_for_long(const struct worker *w, int64_t now_ms)
{
    int count = 0;

    for (int i = 0; i < w->slot_count; i++)
        count += w->slots[i].claimed_ms && now_ms - w->slots[i].claimed_ms >= w->settings->pod_cost_s * 1000;
    return count;
}

/* ---- metrics -------------------------------------------------------------------- */

static void set(struct worker *w, enum metric id, const char *labels, double value)
{
    series_set(metrics_series(w->metrics, id, labels), value);
}

static void write_metrics(void *ctx, struct buf *out)
{
    struct worker *w = ctx;

    set(w, METRIC_BUILD_INFO, "version=\"" MILLRACE_VERSION "\"", 1);
    set(w, METRIC_BROKER_UP, "", broker_publisher_is_up(w->broker));
    set(w, METRIC_STORE_UP, "", store_is_up(w->store));
    set(w, METRIC_WORKER_SLOTS, "", w->slot_count);
    set(w, METRIC_WORKER_BUSY, "", worker_busy(w));
    set(w, METRIC_WORKER_CONSUMING, "", w->served_count);
    if (w->pod) {
        struct pod_numbers numbers = pod_numbers(w->pod);

        set(w, METRIC_POD_COST, "", numbers.told > 0 ? numbers.told : 0);
        set(w, METRIC_POD_PATCHES, "result=\"ok\"", (double)numbers.changed);
        set(w, METRIC_POD_PATCHES, "result=\"failed\"", (double)numbers.failed);
    }
    metrics_render(w->metrics, out);
}

void watch_settled(struct worker *w, int kind, bool is_finished, double seconds)
{
    char labels[128];

    if (!w->probe)
        return;
    snprintf(labels, sizeof labels, "kind=\"%s\"", w->kind_names[kind]);
    series_add(metrics_series(w->metrics, METRIC_WORKER_SECONDS, labels), seconds);
    snprintf(labels, sizeof labels, "kind=\"%s\",outcome=\"%s\"", w->kind_names[kind],
             is_finished ? "finished" : "failed");
    series_add(metrics_series(w->metrics, METRIC_WORKER_ATTEMPTS, labels), 1);
}

/* ---- life ------------------------------------------------------------------------- */

static bool is_ready(void *ctx)
{
    const struct worker *w = ctx;

    return w->phase == PHASE_SERVING && w->served_count > 0;
}

enum err watch_open(struct worker *w, struct fault *why)
{
    const struct settings *settings = w->settings;
    struct probe_config    config = {.listen = settings->listen,
                                     .port = (int)settings->probe_port,
                                     .is_ready = is_ready,
                                     .write_metrics = write_metrics,
                                     .ctx = w};
    enum err               e = ERR_OK;

    if (settings->pod_name[0] || settings->pod_namespace[0])
        e = pod_open(w->loop, settings->pod_name, settings->pod_namespace, &w->pod, why);
    if (e || !settings->probe_port)
        return e;
    w->metrics = metrics_new();
    return probe_open(w->loop, &config, &w->probe, why);
}

void watch_tick(struct worker *w, int64_t now_ms)
{
    probe_tick(w->probe);
    if (w->pod && w->phase == PHASE_SERVING)
        pod_tick(w->pod, worker_busy(w), busy_for_long(w, now_ms), now_ms);
}

void watch_close(struct worker *w)
{
    probe_close(w->probe);
    pod_close(w->pod);
    metrics_free(w->metrics);
    w->probe = NULL;
    w->pod = NULL;
    w->metrics = NULL;
}
