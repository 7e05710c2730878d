/* SPDX-License-Identifier: Apache-2.0 */
/* ring.c - this process's confirmed transitions of the last seconds.
 *
 * Redis may forget its last writes (a crash before the fsync, a failover); who
 * made them says them again on the new epoch. Every script allows that. Kept:
 * the worker's finish, fail, split, and claim or renew that ended its job; the
 * gateway's accept, outbox, cancel, retry, pull, and what it did to sets. A replayed finish or fail names the answer
 * that it got: that stands, whatever the server knows by then. A drain is not kept: its message is back in the broker
 * and takes over the old claim at the price of one loss. An entry is forgotten once the server has shown itself alive 5
 * s after it: a server that has gone proves nothing.
 *
 * Entries come and go in order, a hundred thousand of them on a busy gateway:
 * they lie one behind the other in blocks, so that malloc sees the blocks only.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/store/internal.h"

#define RING_MS 5000
#define RING_BYTES (32u << 20)
#define BLOCK_BYTES 65536 /* with its header; a larger entry has a block of its own */

/* What a replay adds to the arguments: the answer that the call had got. */
enum known { KNOWN_NONE, KNOWN_OK, KNOWN_FAILED, KNOWN_RETRYING };
static const char *const known_words[] = {NULL, "ok", "failed", "retrying"};

struct ring_entry {
    uint64_t at_ms; /* loop time */
    uint32_t len;
    uint16_t argc;
    uint8_t  script, known;
    char     bytes[]; /* arguments as RESP, then up to a multiple of 8 */
};

struct ring_block {
    struct ring_block *next;
    size_t             first, end, room; /* offsets in bytes: of the oldest entry, behind the newest */
    char               bytes[];
};

_Static_assert(SCRIPT_COUNT <= UINT8_MAX && sizeof(struct ring_block) % 8 == 0, "entries are compact and aligned");

void ring_init(struct ring *ring) { memset(ring, 0, sizeof *ring); }

static size_t entry_bytes(size_t len) { return (sizeof(struct ring_entry) + len + 7) & ~(size_t)7; }

static struct ring_entry *entry_at(struct ring_block *block, size_t offset)
{
    return (struct ring_entry *)(void *)(block->bytes + offset);
}

static struct ring_entry *first_of(const struct ring *ring) { return entry_at(ring->first, ring->first->first); }

/* Room for an entry of so many bytes behind the newest. */
static struct ring_entry *append(struct ring *ring, size_t bytes)
{
    struct ring_block *block = ring->last;

    if (!block || block->room - block->end < bytes) {
        size_t room = BLOCK_BYTES - sizeof *block;

        if (room < bytes)
            room = bytes;
        block = xmalloc(sizeof *block + room);
        *block = (struct ring_block){.room = room};
        *(ring->last ? &ring->last->next : &ring->first) = block;
        ring->last = block;
        ring->bytes += sizeof *block + room;
    }
    block->end += bytes;
    return entry_at(block, block->end - bytes);
}

static void drop_first(struct ring *ring)
{
    struct ring_block *block = ring->first;

    block->first += entry_bytes(first_of(ring)->len);
    if (block->first < block->end)
        return;
    ring->first = block->next;
    if (!ring->first)
        ring->last = NULL;
    ring->bytes -= sizeof *block + block->room;
    free(block);
}

void ring_free(struct ring *ring)
{
    while (ring->first)
        drop_first(ring);
}

void ring_trim(struct ring *ring, uint64_t alive_ms)
{
    while (ring->first && first_of(ring)->at_ms + RING_MS <= alive_ms)
        drop_first(ring);
    if (!ring->first)
        ring->has_dropped = false;
}

static void add(struct store *s, const struct call *c, enum known known)
{
    struct ring       *ring = &s->ring;
    size_t             len = c->bytes.len - CALL_HEAD;
    struct ring_entry *e;

    assert(len <= UINT32_MAX && c->argc < UINT16_MAX);
    ring_trim(ring, uv_now(s->loop));
    e = append(ring, entry_bytes(len));
    e->at_ms = uv_now(s->loop);
    e->len = (uint32_t)len;
    e->argc = (uint16_t)c->argc;
    e->script = (uint8_t)c->script;
    e->known = (uint8_t)known;
    memcpy(e->bytes, c->bytes.data + CALL_HEAD, len);
    while (ring->bytes > RING_BYTES && first_of(ring) != e) {
        if (!ring->has_dropped)
            log_event(EVENT_STORE_RING_FULL, LOG_INT("bytes", RING_BYTES),
                      LOG_INT("kept_ms", (int64_t)(e->at_ms - first_of(ring)->at_ms)));
        ring->has_dropped = true;
        drop_first(ring);
    }
    store_trim_later(s);
}

/* Transitions whose replay says more than the call did. */
static void add_cancel(struct store *s, const struct call *c, const char *kind)
{
    struct call *replay = call_new(s, SCRIPT_cancel, NULL, NULL);

    call_text(replay, c->subject);
    call_int(replay, s->config.retention_ms);
    call_text(replay, s->epoch_text);
    call_text(replay, kind);
    add(s, replay, KNOWN_NONE);
    call_free(replay);
}

static void add_retry(struct store *s, const struct call *c, const struct record *record)
{
    struct call *replay = call_new(s, SCRIPT_retry, NULL, NULL);

    call_text(replay, c->subject);
    call_int(replay, record->fence);
    add(s, replay, KNOWN_NONE);
    call_free(replay);
}

static void add_replay(struct store *s, const struct call *c, int64_t fence)
{
    struct call *replay = call_new(s, SCRIPT_replay, NULL, NULL);

    buf_append(&replay->bytes, c->bytes.data + CALL_HEAD, c->bytes.len - CALL_HEAD);
    replay->argc = c->argc;
    call_int(replay, fence);
    add(s, replay, KNOWN_NONE);
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
    add(s, replay, KNOWN_NONE);
    call_free(replay);
}

/* Where the set was lost, too, it is made again. */
static void add_set_close(struct store *s, const struct call *c)
{
    struct call *replay = call_new(s, c->script, NULL, NULL);

    buf_append(&replay->bytes, c->bytes.data + CALL_HEAD, c->bytes.len - CALL_HEAD);
    replay->argc = c->argc;
    call_text(replay, s->epoch_text);
    add(s, replay, KNOWN_NONE);
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
    replay = call_fail(s, &l, "permanent", parts->reply.code, parts->reply.detail, 0);
    add(s, replay, KNOWN_FAILED);
    call_free(replay);
}

void ring_keep(struct store *s, const struct call *c, const struct reply_parts *parts)
{
    const struct store_reply *reply = &parts->reply;

    switch (c->script) {
    case SCRIPT_accept:
    case SCRIPT_outbox:
    case SCRIPT_set_make:
        if (reply->answer == STORE_OK)
            add(s, c, KNOWN_NONE);
        break;
    case SCRIPT_claim:
        if (parts->reply.code && strcmp(parts->reply.code, "cancelled") == 0)
            add_cancel(s, c, c->kind);
        else if (parts->reply.code)
            add_ended(s, c, parts);
        break;
    case SCRIPT_renew: /* of a member whose group has ended */
        if (reply->answer == STORE_CANCELLED && *c->kind)
            add_cancel(s, c, c->kind);
        break;
    case SCRIPT_split: /* the parent's message comes back, but may be acked before this is safe */
        if (reply->answer == STORE_OK || (reply->answer == STORE_RETRYING && !reply->is_other_cut))
            add(s, c, KNOWN_NONE); /* another cut must not be the first that an emptied server hears of */
        break;
    case SCRIPT_finish:
        if (reply->answer == STORE_OK)
            add(s, c, KNOWN_OK);
        break;
    case SCRIPT_fail:
        if (reply->answer == STORE_FAILED)
            add(s, c, KNOWN_FAILED);
        else if (reply->answer == STORE_RETRYING)
            add(s, c, KNOWN_RETRYING);
        break;
    case SCRIPT_cancel:
        if (reply->answer == STORE_OK)
            add_cancel(s, c, reply->record->kind);
        break;
    case SCRIPT_retry:
        if (reply->answer == STORE_OK)
            add_retry(s, c, reply->record);
        break;
    case SCRIPT_replay:
        if (reply->answer == STORE_OK)
            add_replay(s, c, reply->fence);
        break;
    case SCRIPT_set_close:
        if (reply->answer == STORE_OK)
            add_set_close(s, c);
        break;
    case SCRIPT_pull:
        add_pull(s, c, reply);
        break;
    default:
        break;
    }
}

static void say_again(struct store *s, struct ring_entry *e)
{
    struct call *c = call_new(s, (enum script)e->script, NULL, NULL);

    c->is_replay = true;
    c->argc = e->argc;
    buf_append(&c->bytes, e->bytes, e->len);
    if (e->known)
        call_text(c, known_words[e->known]);
    e->at_ms = uv_now(s->loop);
    call_send(c);
}

int ring_replay(struct store *s)
{
    int count = 0;

    for (struct ring_block *block = s->ring.first; block; block = block->next)
        for (size_t at = block->first; at < block->end; at += entry_bytes(entry_at(block, at)->len)) {
            say_again(s, entry_at(block, at));
            count++;
        }
    return count;
}
