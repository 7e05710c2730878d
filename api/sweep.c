/* SPDX-License-Identifier: Apache-2.0 */
/* sweep.c - removes blobs that are older than their time to live and that no job needs.
 *
 *   every minute: walk through the directory -> ask the store which of the old ones are needed -> remove the others
 *
 * Every gateway does so: what one has removed the next does not find. Without
 * an answer of the store nothing is removed, nor while its epoch is younger than
 * the retention: jobs that only the broker knows may wait for their inputs.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/gateway.h"
#include "common/blob/blob.h"
#include "common/clock.h"
#include "common/log.h"

#define FIRST_MS 2000 /* behind the start: the store has answered by then */
#define PERIOD_MS 60000
#define BATCH 100        /* names that the store is asked about at one time */
#define ROUND_MAX 100000 /* names of one walk; the next one goes on behind them */

struct sweep {
    struct gateway *gw;
    uv_timer_t      timer;
    bool            is_busy;
    bool            is_stopped;
    char          **names; /* owned, each: of this round */
    size_t          count, asked;
    int64_t         removed, removed_bytes;
    struct series  *blob_count, *blob_bytes;
};

static void on_closed(uv_handle_t *handle) { free(handle->data); }

static void round_end(struct sweep *s)
{
    struct blob_usage usage = blob_usage(s->gw->blobs);

    if (s->removed)
        log_event(EVENT_BLOBS_SWEPT, LOG_INT("removed", s->removed), LOG_INT("bytes", s->removed_bytes),
                  LOG_INT("left", usage.count), LOG_INT("left_bytes", usage.bytes));
    series_set(s->blob_count, (double)usage.count);
    series_set(s->blob_bytes, (double)usage.bytes);
    for (size_t i = 0; i < s->count; i++)
        free(s->names[i]);
    free(s->names);
    s->names = NULL;
    s->count = s->asked = 0;
    s->removed = s->removed_bytes = 0;
    s->is_busy = false;
    if (s->is_stopped)
        uv_close((uv_handle_t *)&s->timer, on_closed);
}

static bool is_needed(const struct store_reply *reply, const char *name)
{
    for (size_t i = 0; i < reply->item_count; i++)
        if (!strcmp(reply->items[i].id, name))
            return true;
    return false;
}

/* Looks at its age once more: a job may have been given it as input meanwhile. */
static void remove_blob(struct sweep *s, const char *name)
{
    struct blob_info info;
    struct fault     why;
    int              fd;

    if (blob_open(s->gw->blobs, name, &fd, &info, &why))
        return;
    close(fd);
    if (wall_ms() - info.sealed_ms < s->gw->settings.blob_ttl_s * 1000 || blob_delete(s->gw->blobs, name, &why))
        return;
    s->removed++;
    s->removed_bytes += info.size;
    log_event(EVENT_BLOB_SWEPT, LOG_TEXT("blob", name), LOG_INT("bytes", info.size));
}

static void ask(struct sweep *s);

static void on_needed(void *ctx, const struct store_reply *reply)
{
    struct sweep *s = ctx;
    size_t        end = s->asked + BATCH < s->count ? s->asked + BATCH : s->count;

    if (reply->answer != STORE_OK || s->is_stopped) {
        round_end(s);
        return;
    }
    for (; s->asked < end; s->asked++)
        if (!is_needed(reply, s->names[s->asked]))
            remove_blob(s, s->names[s->asked]);
    ask(s);
}

static void ask(struct sweep *s)
{
    size_t left = s->count - s->asked;

    if (left)
        store_blobs_needed(s->gw->store, (const char *const *)s->names + s->asked, left < BATCH ? left : BATCH,
                           s->gw->settings.retention_s * 1000, on_needed, s);
    else
        round_end(s);
}

static void on_walked(void *ctx, enum err e, const char *const *names, size_t count)
{
    struct sweep *s = ctx;

    if (e && !s->is_stopped)
        log_event(EVENT_SWEEP_FAILED, LOG_TEXT("error", err_code(e)));
    s->names = xcalloc(count + 1, sizeof *s->names);
    for (; s->count < count; s->count++)
        s->names[s->count] = xstrdup(names[s->count]);
    ask(s);
}

static void on_timer(uv_timer_t *timer)
{
    struct sweep *s = timer->data;

    if (s->is_busy || !store_is_up(s->gw->store))
        return;
    s->is_busy = true;
    blob_sweep(s->gw->blobs, s->gw->settings.blob_ttl_s * 1000, ROUND_MAX, on_walked, s);
}

struct sweep *sweep_new(struct gateway *gw)
{
    struct sweep *s = xcalloc(1, sizeof *s);

    s->gw = gw;
    s->blob_count = metrics_series(gw->metrics, METRIC_BLOB_COUNT, "");
    s->blob_bytes = metrics_series(gw->metrics, METRIC_BLOB_BYTES, "");
    s->timer.data = s;
    uv_timer_init(gw->loop, &s->timer);
    uv_timer_start(&s->timer, on_timer, FIRST_MS, PERIOD_MS);
    return s;
}

void sweep_stop(struct sweep *s)
{
    if (!s)
        return;
    s->is_stopped = true;
    uv_timer_stop(&s->timer);
    if (!s->is_busy)
        uv_close((uv_handle_t *)&s->timer, on_closed);
}
