/* SPDX-License-Identifier: Apache-2.0 */
/* calls_gateway.c - what a gateway asks of the store: each a script, its
 * arguments in the order of the comment at the script's top. */
#include <stdlib.h>
#include <string.h>

#include "common/store/internal.h"

#define LIST_CHUNK 1000 /* jobs that one script looks at: a millisecond of the server's time */

static struct call *call_about(struct store *s, enum script script, const char *id, store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, script, fn, ctx);

    snprintf(c->subject, sizeof c->subject, "%s", id);
    call_text(c, id);
    return c;
}

void store_create(struct store *s, const struct msg *m, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_create, m->id, fn, ctx);

    call_text(c, m->kind);
    call_int(c, m->created_ms);
    call_int(c, m->deadline_ms);
    call_int(c, attempts_of(s, m));
    if (*m->idempotency || *m->refs || *m->group) {
        call_text(c, m->idempotency);
        call_text(c, m->digest);
    }
    if (*m->refs || *m->group)
        call_text(c, m->refs);
    if (*m->group)
        call_text(c, m->group);
    call_run(c);
}

void store_accept(struct store *s, const struct msg *m, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_accept, m->id, fn, ctx);

    call_int(c, m->epoch);
    call_run(c);
}

void store_outbox(struct store *s, const struct msg *m, int64_t bound, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_outbox, m->id, fn, ctx);
    struct buf   packed = {0};

    call_int(c, m->epoch);
    call_born(c, m, NULL);
    call_int(c, bound);
    msg_pack(m, &packed);
    call_bytes(c, packed.data, packed.len);
    buf_free(&packed);
    call_run(c);
}

void store_outbox_take(struct store *s, int count, store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, SCRIPT_outbox_take, fn, ctx);

    call_int(c, count);
    call_run(c);
}

static struct reservation *find_reservation(struct store *s, const char *id)
{
    for (size_t i = 0; i < s->reservation_count; i++)
        if (strcmp(s->reservations[i].id, id) == 0)
            return &s->reservations[i];
    return NULL;
}

static void drop_reservation(struct store *s, struct reservation *r) { *r = s->reservations[--s->reservation_count]; }

void reservations_add(struct store *s, const struct store_item *items, size_t count, int64_t until_ms)
{
    for (size_t i = s->reservation_count; i-- > 0;) /* never published: another take has them by now */
        if (s->reservations[i].until_ms + RESERVED_KEPT_MS < until_ms)
            drop_reservation(s, &s->reservations[i]);
    s->reservations = xrealloc(s->reservations, (s->reservation_count + count) * sizeof *s->reservations);
    for (size_t i = 0; i < count; i++) {
        struct reservation *r = find_reservation(s, items[i].id);

        if (!r)
            r = &s->reservations[s->reservation_count++];
        snprintf(r->id, sizeof r->id, "%s", items[i].id);
        r->until_ms = until_ms;
    }
}

void store_outbox_done(struct store *s, const char *id, store_fn *fn, void *ctx)
{
    struct call        *c = call_about(s, SCRIPT_outbox_done, id, fn, ctx);
    struct reservation *r = find_reservation(s, id);

    call_int(c, r ? r->until_ms : 0);
    if (r)
        drop_reservation(s, r);
    call_run(c);
}

static void get(struct store *s, const char *id, bool watch, bool with_result, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_get, id, fn, ctx);

    call_int(c, watch);
    call_int(c, with_result);
    call_run(c);
}

void store_get(struct store *s, const char *id, bool watch, store_fn *fn, void *ctx)
{
    get(s, id, watch, false, fn, ctx);
}

void store_result(struct store *s, const char *id, bool watch, store_fn *fn, void *ctx)
{
    get(s, id, watch, true, fn, ctx);
}

void store_read(struct store *s, const char *id, bool with_result, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_read, id, fn, ctx);

    call_int(c, with_result);
    call_run(c);
}

void store_cancel(struct store *s, const char *id, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_cancel, id, fn, ctx);

    call_int(c, s->config.retention_ms);
    call_run(c);
}

void store_retry(struct store *s, const char *id, store_fn *fn, void *ctx)
{
    call_run(call_about(s, SCRIPT_retry, id, fn, ctx));
}

void store_replay(struct store *s, const struct msg *m, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_replay, m->id, fn, ctx);
    struct buf   packed = {0};

    msg_pack(m, &packed);
    call_bytes(c, packed.data, packed.len);
    buf_free(&packed);
    call_run(c);
}

void store_pull(struct store *s, const char *kind, int64_t top, const char *idempotency, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_pull, kind, fn, ctx);

    call_int(c, top);
    call_text(c, idempotency);
    call_run(c);
}

void store_overdue(struct store *s, const char *leader, store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, SCRIPT_overdue, fn, ctx);

    call_text(c, leader);
    call_int(c, s->config.retention_ms);
    call_run(c);
}

void store_blobs_needed(struct store *s, const char *const *names, size_t count, int64_t grace_ms, store_fn *fn,
                        void *ctx)
{
    struct call *c = call_new(s, SCRIPT_blobs_needed, fn, ctx);

    call_int(c, grace_ms);
    for (size_t i = 0; i < count; i++)
        call_text(c, names[i]);
    call_run(c);
}

void store_list(struct store *s, const struct store_filter *filter, int64_t limit, int64_t after, const char *after_id,
                store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, SCRIPT_list, fn, ctx);

    call_int(c, limit);
    call_int(c, LIST_CHUNK);
    call_text(c, filter->state);
    call_text(c, filter->kind);
    call_text(c, filter->set);
    call_int(c, after);
    call_text(c, after_id);
    call_run(c);
}

void store_audit(struct store *s, const struct store_part *part, const char *const *ids, size_t count, store_fn *fn,
                 void *ctx)
{
    struct call *c = call_new(s, SCRIPT_audit, fn, ctx);

    call_text(c, part->what);
    call_text(c, part->kind);
    call_text(c, part->cursor);
    call_int(c, part->count);
    for (size_t i = 0; i < count; i++)
        call_text(c, ids[i]);
    call_run(c);
}

void store_stats(struct store *s, store_fn *fn, void *ctx) { call_run(call_new(s, SCRIPT_stats, fn, ctx)); }
