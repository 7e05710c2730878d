/* SPDX-License-Identifier: Apache-2.0 */
/* calls_worker.c - what a worker asks of the store: each a script, its
 * arguments in the order of the comment at the script's top. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/internal.h"

static const char *const class_names[] = {
    [ERR_CLASS_NONE] = "transient",
    [ERR_CLASS_PERMANENT] = "permanent",
    [ERR_CLASS_TRANSIENT] = "transient",
    [ERR_CLASS_LOSS] = "loss",
};

static void put_number(struct buf *b, const char *name, int64_t value)
{
    buf_text(b, name);
    buf_printf(b, "%lld", (long long)value);
}

static void put_string(struct buf *b, const char *name, const char *value)
{
    buf_text(b, name);
    buf_json(b, value);
}

int64_t attempts_of(const struct store *s, const struct msg *m)
{
    return m->attempts_max > 0 && m->attempts_max <= ATTEMPTS_MAX ? m->attempts_max : s->config.attempts_max;
}

void call_born(struct call *c, const struct msg *m, const struct lease *l)
{
    const struct store_config *config = &c->store->config;
    struct buf                 b = {0};

    put_string(&b, "{\"kind\":", m->kind);
    put_number(&b, ",\"created\":", m->created_ms);
    put_number(&b, ",\"deadline\":", m->deadline_ms);
    put_string(&b, ",\"idem\":", m->idempotency);
    put_string(&b, ",\"digest\":", m->digest);
    put_number(&b, ",\"max\":", attempts_of(c->store, m));
    if (*m->parent) {
        put_string(&b, ",\"parent\":", m->parent);
        put_number(&b, ",\"member\":", m->member);
    }
    if (*m->group)
        put_string(&b, ",\"group\":", m->group);
    if (*m->refs)
        put_string(&b, ",\"refs\":", m->refs);
    if (l) {
        put_number(&b, ",\"attempt\":", l->attempt);
        put_number(&b, ",\"errors\":", l->errors);
        put_number(&b, ",\"started\":", l->started_ms);
        put_string(&b, ",\"owner\":", l->owner);
        put_string(&b, ",\"copy\":", m->copy);
    } else {
        put_number(&b, ",\"attempt\":", m->attempt);
        put_number(&b, ",\"losses_max\":", config->losses_max);
        put_number(&b, ",\"retention\":", config->retention_ms);
        put_number(&b, ",\"kept_max\":", config->kept_max);
    }
    buf_text(&b, "}");
    call_bytes(c, b.data, b.len);
    buf_free(&b);
}

/* What a call about this message may have to say again. */
static void note(struct call *c, const struct msg *m)
{
    memcpy(c->subject, m->id, sizeof c->subject);
    if (*m->parent || *m->group)
        memcpy(c->kind, m->kind, sizeof c->kind);
}

void store_claim(struct store *s, struct lease *l, bool second, store_fn *fn, void *ctx)
{
    const struct msg *m = l->msg;
    struct call      *c = call_new(s, SCRIPT_claim, fn, ctx);
    char              dice[COPY_BYTES];

    c->lease = l;
    note(c, m);
    job_copy_new(dice);
    dice[1] = 0;
    call_text(c, m->id);
    call_text(c, m->copy);
    call_text(c, l->owner);
    call_int(c, m->epoch);
    call_int(c, strtol(dice, NULL, 16));
    call_int(c, s->config.lease_ms);
    call_int(c, second);
    call_born(c, m, NULL);
    call_run(c);
}

/* The arguments that all calls of an owner begin with. */
static struct call *call_of_owner(struct store *s, enum script script, const struct lease *l, store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, script, fn, ctx);

    note(c, l->msg);
    call_text(c, l->msg->id);
    call_int(c, l->fence);
    call_int(c, l->claim_epoch);
    call_born(c, l->msg, l);
    return c;
}

void store_renew(struct store *s, const struct lease *l, double progress, bool detached, store_fn *fn, void *ctx)
{
    struct call *c = call_of_owner(s, SCRIPT_renew, l, fn, ctx);
    char         text[32];

    snprintf(text, sizeof text, "%.4g", progress);
    call_int(c, s->config.lease_ms);
    call_text(c, text);
    call_int(c, detached);
    call_int(c, s->config.retention_ms);
    call_run(c);
}

void store_finish(struct store *s, const struct lease *l, const struct store_result *result, store_fn *fn, void *ctx)
{
    struct call *c = call_of_owner(s, SCRIPT_finish, l, fn, ctx);

    call_int(c, s->config.retention_ms);
    call_text(c, result->content_type);
    call_int(c, result->with_pull);
    if (*result->blob) {
        call_text(c, "");
        call_text(c, result->verified);
        call_text(c, result->blob);
        call_int(c, result->size);
    } else {
        call_bytes(c, result->bytes, (size_t)result->size);
        call_text(c, result->verified);
        call_text(c, "");
        call_text(c, "");
    }
    call_run(c);
}

/* The message of a job, with the attempts that it has had. */
static void call_packed(struct call *c, const struct lease *l)
{
    struct msg *m = msg_dup(l->msg); /* others may hold the message: it is not to be written */
    struct buf  packed = {0};

    m->attempt = l->attempt;
    msg_pack(m, &packed);
    call_bytes(c, packed.data, packed.len);
    buf_free(&packed);
    msg_free(m);
}

/* What the messages of all members have in common: split.lua adds the rest in front and at @MEMBER@. */
static void call_form(struct call *c, const struct msg *parent, const char *params)
{
    struct msg *m = msg_dup(parent);
    struct buf  packed = {0};

    assert(strstr(params, "@MEMBER@"));
    memcpy(m->parent, parent->id, sizeof m->parent);
    m->id[0] = m->copy[0] = m->idempotency[0] = m->digest[0] = m->group[0] = 0;
    m->member = m->epoch = m->attempt = m->created_ms = m->deadline_ms = 0; /* what is 0 is left out */
    free(m->params);
    m->params = xstrdup(params);
    msg_pack(m, &packed);
    call_bytes(c, packed.data, packed.len);
    buf_free(&packed);
    msg_free(m);
}

void store_split(struct store *s, const struct lease *l, int64_t count, const char *member_params, const char *layout,
                 int64_t result_bytes, const char *content_type, const struct store_sealed *sealed, size_t sealed_count,
                 store_fn *fn, void *ctx)
{
    struct call *c = call_of_owner(s, SCRIPT_split, l, fn, ctx);

    call_int(c, s->config.retention_ms);
    call_int(c, s->config.kept_max);
    call_int(c, count);
    call_text(c, layout);
    call_int(c, result_bytes);
    call_text(c, content_type);
    call_packed(c, l);
    call_form(c, l->msg, member_params);
    for (size_t i = 0; i < sealed_count; i++) {
        call_int(c, sealed[i].member);
        call_int(c, sealed[i].fence);
    }
    call_run(c);
}

struct call *call_fail(struct store *s, const struct lease *l, const char *class, const char *code, const char *detail,
                       int64_t wait_ms)
{
    struct call *c = call_of_owner(s, SCRIPT_fail, l, NULL, NULL);

    call_int(c, s->config.retention_ms);
    call_text(c, class);
    call_text(c, code);
    call_text(c, detail);
    call_int(c, wait_ms);
    call_int(c, s->config.losses_max);
    call_int(c, s->config.kept_max);
    call_packed(c, l);
    return c;
}

void store_fail(struct store *s, const struct lease *l, const struct fault *why, int64_t wait_ms, store_fn *fn,
                void *ctx)
{
    struct call *c = call_fail(s, l, class_names[err_class(why->err)], err_code(why->err), why->detail, wait_ms);

    c->fn = fn;
    c->ctx = ctx;
    call_run(c);
}

void store_drain(struct store *s, const struct lease *l, store_fn *fn, void *ctx)
{
    call_run(call_of_owner(s, SCRIPT_drain, l, fn, ctx));
}

void store_beat(struct store *s, const char *worker, const char *json, const char *samples, store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, SCRIPT_beat, fn, ctx);

    call_text(c, worker);
    call_text(c, json);
    call_text(c, samples);
    call_run(c);
}

void store_leave(struct store *s, const char *worker, store_fn *fn, void *ctx)
{
    struct call *c = call_new(s, SCRIPT_leave, fn, ctx);

    call_text(c, worker);
    call_run(c);
}
