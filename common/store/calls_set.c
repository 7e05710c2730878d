/* SPDX-License-Identifier: Apache-2.0 */
/* calls_set.c - what a gateway asks of sets: each a script, its arguments in
 * the order of the comment at the script's top. */
#include <string.h>

#include "common/store/internal.h"

#define CANCEL_BATCH 200 /* members that one script cancels: others wait for it */

static struct call *call_about(struct store *s, enum script script, const char *id, store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, script, fn, ctx);

    snprintf(c->subject, sizeof c->subject, "%s", id);
    call_text(c, id);
    return c;
}

void store_set_make(struct store *s, const char *id, const char *name, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_set_make, id, fn, ctx);

    call_text(c, name);
    call_int(c, s->config.retention_ms);
    call_run(c);
}

void store_set_get(struct store *s, const char *id, bool watch, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_set_get, id, fn, ctx);

    call_int(c, s->config.retention_ms);
    call_int(c, watch);
    call_run(c);
}

void store_set_ends(struct store *s, const char *id, int64_t after, int64_t count, bool watch, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_set_ends, id, fn, ctx);

    call_int(c, s->config.retention_ms);
    call_int(c, after);
    call_int(c, count);
    call_int(c, watch);
    call_run(c);
}

static void close_set(struct store *s, const char *id, int cancel_count, store_fn *fn, void *ctx)
{
    struct call *c = call_about(s, SCRIPT_set_close, id, fn, ctx);

    call_int(c, s->config.retention_ms);
    call_int(c, cancel_count);
    call_run(c);
}

void store_set_close(struct store *s, const char *id, store_fn *fn, void *ctx) { close_set(s, id, 0, fn, ctx); }

void store_set_cancel(struct store *s, const char *id, store_fn *fn, void *ctx)
{
    close_set(s, id, CANCEL_BATCH, fn, ctx);
}
