/* SPDX-License-Identifier: Apache-2.0 */
/* beat.c - once a second: who this worker is and what it measured, and the
 * ready file that tells an orchestrator that it consumes.
 *
 * Samples are summed up here and told by their difference; those of a beat
 * without an answer are told again with the next one.
 */
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"

#define BEAT_MS 1000
#define WORKERS_MAX 10000 /* more slots would make no other tiles */

struct histogram {
    int64_t buckets[METRICS_BUCKETS + 1];
    double  sum;
};

struct numbers {
    struct histogram wait[KIND_COUNT], run[KIND_COUNT];
    int64_t          dead, unverified;
};

struct beat {
    struct numbers fresh, told; /* told: with the beat under way */
    bool           is_asked;
    int64_t        beat_ms;
    struct buf     json, samples;
};

/* ---- samples ----------------------------------------------------------------- */

static void observe(struct histogram *h, double seconds)
{
    int i = 0;

    while (i < METRICS_BUCKETS && seconds > metrics_bounds[i])
        i++;
    h->buckets[i]++;
    h->sum += seconds;
}

void beat_wait(struct worker *w, int kind, double seconds)
{
    observe(&w->beat->fresh.wait[kind], seconds > 0 ? seconds : 0);
}

void beat_run(struct worker *w, int kind, double seconds) { observe(&w->beat->fresh.run[kind], seconds); }

void beat_dead(struct worker *w) { w->beat->fresh.dead++; }

void beat_unverified(struct worker *w) { w->beat->fresh.unverified++; }

static void add_histogram(struct histogram *to, const struct histogram *from)
{
    for (int i = 0; i <= METRICS_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    to->sum += from->sum;
}

static void add_numbers(struct numbers *to, const struct numbers *from)
{
    for (int i = 0; i < KIND_COUNT; i++) {
        add_histogram(&to->wait[i], &from->wait[i]);
        add_histogram(&to->run[i], &from->run[i]);
    }
    to->dead += from->dead;
    to->unverified += from->unverified;
}

/* ---- a beat -------------------------------------------------------------------- */

static void write_histogram(struct buf *out, const char *what, const char *kind, const struct histogram *h)
{
    size_t before = out->len;

    for (int i = 0; i <= METRICS_BUCKETS; i++)
        if (h->buckets[i] > 0)
            buf_printf(out, "%s[\"%s:%s\",%d,%" PRId64 "],", out->len ? "" : "[", what, kind, i, h->buckets[i]);
    if (out->len > before)
        buf_printf(out, "[\"%s:%s\",\"sum\",%.6f],", what, kind, h->sum);
}

static void write_count(struct buf *out, const char *what, int64_t count)
{
    if (count > 0)
        buf_printf(out, "%s[\"%s\",\"count\",%" PRId64 "],", out->len ? "" : "[", what, count);
}

static void write_samples(const struct worker *w, const struct numbers *n, struct buf *out)
{
    out->len = 0;
    for (int i = 0; i < w->kind_count; i++) {
        write_histogram(out, "wait", w->kind_names[i], &n->wait[i]);
        write_histogram(out, "run", w->kind_names[i], &n->run[i]);
    }
    write_count(out, "dead", n->dead);
    write_count(out, "unverified", n->unverified);
    if (out->len > 0)
        out->data[out->len - 1] = ']'; /* was the last comma */
    buf_append(out, "", 1);
}

static void write_self(const struct worker *w, struct buf *out)
{
    out->len = 0;
    buf_text(out, "{\"id\":");
    buf_json(out, w->id);
    buf_text(out, ",\"host\":");
    buf_json(out, w->host);
    buf_printf(out, ",\"pid\":%d,\"slots\":%d,\"busy\":%d,\"started\":\"%s\",\"kinds\":[", (int)getpid(), w->slot_count,
               worker_busy(w), w->started);
    for (int i = 0; i < w->kind_count; i++)
        buf_printf(out, "%s\"%s\"", i ? "," : "", w->kind_names[i]);
    buf_append(out, "]}", 3);
}

static void on_told(void *ctx, const struct store_reply *reply)
{
    struct worker *w = ctx;
    struct beat   *b = w->beat;

    b->is_asked = false;
    if (reply->answer != STORE_OK)
        add_numbers(&b->fresh, &b->told);
    else if (reply->workers > 0)
        w->share.slots = w->slot_count * (int)(reply->workers < WORKERS_MAX ? reply->workers : WORKERS_MAX);
    memset(&b->told, 0, sizeof b->told);
}

void beat_tick(struct worker *w, int64_t now_ms)
{
    struct beat *b = w->beat;

    if (now_ms < b->beat_ms || b->is_asked || w->phase >= PHASE_LEAVING || !store_is_up(w->store))
        return;
    b->beat_ms = now_ms + BEAT_MS;
    b->told = b->fresh;
    memset(&b->fresh, 0, sizeof b->fresh);
    write_self(w, &b->json);
    write_samples(w, &b->told, &b->samples);
    b->is_asked = true;
    store_beat(w->store, w->id, b->json.data, b->samples.data, on_told, w);
}

/* ---- life ------------------------------------------------------------------------ */

void beat_ready_file(struct worker *w)
{
    const char *path = w->settings->ready_file;
    int         fd;

    if (!path[0])
        return;
    if (w->served_count == 0) {
        if (unlink(path) != 0 && errno != ENOENT)
            log_event(EVENT_READY_FILE, LOG_TEXT("path", path), LOG_TEXT("reason", strerror(errno)));
        return;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        log_event(EVENT_READY_FILE, LOG_TEXT("path", path), LOG_TEXT("reason", strerror(errno)));
    else
        close(fd);
}

void beat_open(struct worker *w)
{
    w->beat = xcalloc(1, sizeof *w->beat);
    beat_ready_file(w); /* one that a killed predecessor left says nothing */
}

void beat_close(struct worker *w)
{
    w->served_count = 0;
    beat_ready_file(w);
    if (!w->beat)
        return;
    buf_free(&w->beat->json);
    buf_free(&w->beat->samples);
    free(w->beat);
    w->beat = NULL;
}
