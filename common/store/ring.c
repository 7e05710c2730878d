/* SPDX-License-Identifier: Apache-2.0 */
/* ring.c - this process's confirmed transitions of the last seconds.
 *
 * Redis may forget its last writes (a crash before the fsync, a failover); who
 * made them says them again on the new epoch. Every script allows that. Kept:
 * the worker's finish, fail, and claim that ended its job; the gateway's accept,
 * outbox, cancel, retry and pull. A replayed finish or fail names the answer that
 * it got: that stands, whatever the server knows by then. A drain is not kept: its
 * message is back in the broker and takes over the old claim at the price of one
 * loss. An entry is forgotten once the server has shown itself alive 5 s after it:
 * a server that has gone proves nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/store/internal.h"

#define RING_MS 5000
#define RING_BYTES (32u << 20)

struct ring_entry {
    struct ring_entry *next;
    uint64_t           at_ms; /* loop time */
    enum script        script;
    int                argc;
    const char        *answer; /* static: one more argument at a replay; NULL: none */
    size_t             len;
    char               bytes[]; /* arguments as RESP */
};

void ring_init(struct ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->last = &ring->first;
}

static void drop_first(struct ring *ring)
{
    struct ring_entry *e = ring->first;

    ring->first = e->next;
    if (!ring->first)
        ring->last = &ring->first;
    ring->bytes -= sizeof *e + e->len;
    free(e);
}

void ring_free(struct ring *ring)
{
    while (ring->first)
        drop_first(ring);
}

void ring_trim(struct ring *ring, uint64_t alive_ms)
{
    while (ring->first && ring->first->at_ms + RING_MS <= alive_ms)
        drop_first(ring);
    if (!ring->first)
        ring->has_dropped = false;
}

static void add(struct store *s, const struct call *c, const char *answer)
{
    struct ring       *ring = &s->ring;
    size_t             len = c->bytes.len - CALL_HEAD;
    struct ring_entry *e = xmalloc(sizeof *e + len);

    e->next = NULL;
    e->at_ms = uv_now(s->loop);
    e->script = c->script;
    e->argc = c->argc;
    e->answer = answer;
    e->len = len;
    memcpy(e->bytes, c->bytes.data + CALL_HEAD, len);
    *ring->last = e;
    ring->last = &e->next;
    ring->bytes += sizeof *e + len;
    ring_trim(ring, e->at_ms);
    while (ring->bytes > RING_BYTES && ring->first != e) {
        if (!ring->has_dropped)
            log_event(LOG_WARN, "store-ring-full", "bytes=%u kept_ms=%llu", RING_BYTES,
                      (unsigned long long)(e->at_ms - ring->first->at_ms));
        ring->has_dropped = true;
        drop_first(ring);
    }
    store_trim_later(s);
}

/* Transitions whose replay says more than the call did. */
static void add_cancel(struct store *s, const struct call *c, const struct record *record)
{
    struct call *replay = call_new(s, SCRIPT_cancel, NULL, NULL);

    call_text(replay, c->subject);
    call_int(replay, s->config.retention_ms);
    call_text(replay, s->epoch_text);
    call_text(replay, record->kind);
    add(s, replay, NULL);
    call_free(replay);
}

static void add_retry(struct store *s, const struct call *c, const struct record *record)
{
    struct call *replay = call_new(s, SCRIPT_retry, NULL, NULL);

    call_text(replay, c->subject);
    call_int(replay, record->fence);
    add(s, replay, NULL);
    call_free(replay);
}

static void add_pull(struct store *s, const struct call *c, const struct store_reply *reply)
{
    struct call *replay;

    if (!reply->item_count)
        return;
    replay = call_new(s, SCRIPT_pulled, NULL, NULL);
    call_text(replay, c->subject);
    call_int(replay, s->config.retention_ms);
    for (size_t i = 0; i < reply->item_count; i++)
        call_text(replay, reply->items[i].id);
    add(s, replay, NULL);
    call_free(replay);
}

/* Its message will be acked: the job must not come back without it. */
static void add_ended(struct store *s, const struct call *c, const struct reply_parts *parts)
{
    struct lease l = *c->lease;
    struct call *replay;

    l.fence = parts->reply.fence;
    l.attempt = parts->reply.attempt;
    l.errors = parts->reply.errors;
    l.claim_epoch = s->epoch;
    l.started_ms = parts->started_ms;
    replay = call_fail(s, &l, "permanent", parts->code, parts->detail, 0);
    add(s, replay, "failed");
    call_free(replay);
}

void ring_keep(struct store *s, const struct call *c, const struct reply_parts *parts)
{
    const struct store_reply *reply = &parts->reply;

    switch (c->script) {
    case SCRIPT_accept:
    case SCRIPT_outbox:
        if (reply->answer == STORE_OK)
            add(s, c, NULL);
        break;
    case SCRIPT_claim:
        if (parts->code)
            add_ended(s, c, parts);
        break;
    case SCRIPT_finish:
        if (reply->answer == STORE_OK)
            add(s, c, "ok");
        break;
    case SCRIPT_fail:
        if (reply->answer == STORE_FAILED)
            add(s, c, "failed");
        else if (reply->answer == STORE_RETRYING)
            add(s, c, "retrying");
        break;
    case SCRIPT_cancel:
        if (reply->answer == STORE_OK)
            add_cancel(s, c, reply->record);
        break;
    case SCRIPT_retry:
        if (reply->answer == STORE_OK)
            add_retry(s, c, reply->record);
        break;
    case SCRIPT_pull:
        add_pull(s, c, reply);
        break;
    default:
        break;
    }
}

int ring_replay(struct store *s)
{
    int count = 0;

    for (struct ring_entry *e = s->ring.first; e; e = e->next) {
        struct call *c = call_new(s, e->script, NULL, NULL);

        c->is_replay = true;
        c->argc = e->argc;
        buf_append(&c->bytes, e->bytes, e->len);
        if (e->answer)
            call_text(c, e->answer);
        e->at_ms = uv_now(s->loop);
        count++;
        call_send(c);
    }
    return count;
}
