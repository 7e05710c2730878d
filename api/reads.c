/* SPDX-License-Identifier: Apache-2.0 */
/* reads.c - states and results, for calls that do not wait of a replica first.
 *
 * A replica tells what was so a moment ago. It is believed where that cannot
 * mislead: of the same epoch as the store, about a job that it knows, and about
 * a result only when the job has ended. That it has failed may have been taken
 * back by a retry. All else is asked of the store, so that who was told an id
 * finds it, and who was told of an end finds the result. */
#include <stdlib.h>
#include <string.h>

#include "api/gateway.h"

#define LATE_MS 200 /* a replica that owes an answer for so long keeps nobody else waiting */

struct reading {
    struct gateway *gw;
    char            id[JOB_ID_BYTES];
    bool            with_result;
    store_fn       *fn;
    void           *ctx;
};

static void ask_store(struct gateway *gw, const char *id, bool watch, bool with_result, store_fn *fn, void *ctx)
{
    if (with_result)
        store_result(gw->store, id, watch, fn, ctx);
    else
        store_get(gw->store, id, watch, fn, ctx);
}

static bool is_believed(const struct reading *reading, const struct store_reply *reply)
{
    return reply->answer == STORE_OK && reply->epoch == store_epoch(reading->gw->store) &&
           reply->record->state != JOB_FAILED && (!reading->with_result || job_has_ended(reply));
}

static void on_read(void *ctx, const struct store_reply *reply)
{
    struct reading *reading = ctx;
    struct gateway *gw = reading->gw;
    bool            is_given = is_believed(reading, reply);

    series_add(gw->replica_reads[is_given], 1);
    if (is_given)
        reading->fn(reading->ctx, reply);
    else
        ask_store(gw, reading->id, false, reading->with_result, reading->fn, reading->ctx);
    free(reading);
}

void read_job(struct request *r, const char *id, bool watch, bool with_result, store_fn *fn, void *ctx)
{
    struct gateway *gw = request_gateway(r);
    struct reading *reading;

    if (request_query(r, "wait") || !gw->replica || !store_is_up(gw->replica) || store_is_late(gw->replica, LATE_MS)) {
        ask_store(gw, id, watch, with_result, fn, ctx);
        return;
    }
    reading = xcalloc(1, sizeof *reading);
    *reading = (struct reading){.gw = gw, .with_result = with_result, .fn = fn, .ctx = ctx};
    memcpy(reading->id, id, sizeof reading->id);
    store_read(gw->replica, id, with_result, on_read, reading);
}
