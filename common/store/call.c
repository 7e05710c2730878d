/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - one script call, from its arguments to its answer.
 *
 * A call keeps its arguments as RESP behind some free room, into which the head
 * (sha, epoch) is written at each sending: a call that met another epoch is
 * sent again with nothing but the head made anew.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/store/internal.h"

void call_list_init(struct call_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void call_list_add(struct call_list *list, struct call *c)
{
    c->next = NULL;
    *list->last = c;
    list->last = &c->next;
}

struct call *call_list_take(struct call_list *list)
{
    struct call *c = list->first;

    if (!c)
        return NULL;
    list->first = c->next;
    if (!list->first)
        list->last = &list->first;
    return c;
}

struct call *call_new(struct store *s, enum script script, store_fn *fn, void *ctx)
{
    struct call *c = xcalloc(1, sizeof *c);

    c->store = s;
    c->script = script;
    c->fn = fn;
    c->ctx = ctx;
    buf_reserve(&c->bytes, 512);
    c->bytes.len = CALL_HEAD;
    return c;
}

void call_free(struct call *c)
{
    buf_free(&c->bytes);
    free(c);
}

static bool starts_with(const char *text, const char *head) { return strncmp(text, head, strlen(head)) == 0; }

/* Writes value in decimal at p, returns the end. */
static char *put_int(char *p, int64_t value)
{
    char     digits[24];
    int      n = 0;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

    do {
        digits[n++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        *p++ = '-';
    while (n)
        *p++ = digits[--n];
    return p;
}

static char *put_bytes(char *p, const void *bytes, size_t len)
{
    *p++ = '$';
    p = put_int(p, (int64_t)len);
    *p++ = '\r';
    *p++ = '\n';
    if (len)
        memcpy(p, bytes, len);
    p += len;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

void call_bytes(struct call *c, const void *bytes, size_t len)
{
    char *p = buf_reserve(&c->bytes, len + 32);

    c->bytes.len += (size_t)(put_bytes(p, bytes, len) - p);
    c->argc++;
}

void call_text(struct call *c, const char *text) { call_bytes(c, text, strlen(text)); }

void call_int(struct call *c, int64_t value)
{
    char digits[24];

    call_bytes(c, digits, (size_t)(put_int(digits, value) - digits));
}

/* A claim that ends its job has to leave the input behind: the same again with the message. */
static struct call *with_message(const struct call *c)
{
    struct call *again = call_new(c->store, c->script, c->fn, c->ctx);
    struct buf   packed = {0};

    again->lease = c->lease;
    memcpy(again->subject, c->subject, sizeof again->subject);
    again->bytes.len = 0;
    buf_append(&again->bytes, c->bytes.data, c->bytes.len);
    again->argc = c->argc;
    msg_pack(c->lease->msg, &packed);
    call_bytes(again, packed.data, packed.len);
    buf_free(&packed);
    return again;
}

static void answer_bare(struct call *c, enum store_answer answer)
{
    struct store_reply reply = {.answer = answer, .epoch = c->store->epoch};

    if (c->fn)
        c->fn(c->ctx, &reply);
    call_free(c);
}

void call_down(struct call *c) { answer_bare(c, STORE_DOWN); }

/* Takes c, whose script did not run, or not to its end. */
static void on_error(struct call *c, const char *text)
{
    /* This server is not, or no longer, the one that keeps the records. */
    static const char *const not_ours[] = {"LOADING", "READONLY", "MASTERDOWN", "NOAUTH"};

    if (starts_with(text, "OOM")) {
        answer_bare(c, STORE_FULL);
        return;
    }
    for (size_t i = 0; i < sizeof not_ours / sizeof *not_ours; i++)
        if (starts_with(text, not_ours[i])) {
            store_lose(c->store, text);
            call_down(c);
            return;
        }
    log_event(EVENT_STORE_SCRIPT_FAILED, LOG_TEXT("job_id", c->subject), LOG_TEXT("script", scripts[c->script].name),
              LOG_TEXT("reason", text));
    call_down(c);
}

static bool is_error(const redisReply *r, const char *code)
{
    return r->type == REDIS_REPLY_ERROR && starts_with(r->str, code);
}

static bool is_word(const redisReply *r, const char *word)
{
    return r->type == REDIS_REPLY_STRING && strcmp(r->str, word) == 0;
}

static void deliver(struct call *c, const redisReply *r)
{
    struct store      *s = c->store;
    struct reply_parts parts = {0};

    if (!reply_read(c, r, &parts)) {
        log_event(EVENT_STORE_BAD_ANSWER, LOG_TEXT("job_id", c->subject), LOG_TEXT("script", scripts[c->script].name));
        call_down(c);
        return;
    }
    parts.reply.epoch = s->epoch;
    if (c->lease && (parts.reply.answer == STORE_RUN || parts.reply.answer == STORE_MINE)) {
        c->lease->fence = parts.reply.fence;
        c->lease->claim_epoch = s->epoch;
        c->lease->attempt = parts.reply.attempt;
        c->lease->errors = parts.reply.errors;
        c->lease->started_ms = parts.started_ms;
        c->lease->losses = parts.losses;
        c->lease->is_visit = parts.is_visit;
    }
    if (!c->is_replay)
        ring_keep(s, c, &parts);
    if (c->script == SCRIPT_outbox_take)
        reservations_add(s, parts.items, parts.reply.item_count, parts.until_ms);
    if (c->script == SCRIPT_replay && parts.reply.answer == STORE_OK)
        reservations_add(s, &(struct store_item){.id = c->subject}, 1, parts.until_ms);
    if (c->fn)
        c->fn(c->ctx, &parts.reply);
    reply_free(&parts);
    call_free(c);
}

static void on_reply(redisAsyncContext *ac, void *reply, void *data)
{
    struct call  *c = data, *first;
    struct store *s = c->store;
    redisReply   *r = reply;
    bool          is_replay = c->is_replay, is_last;

    (void)ac;
    first = call_list_take(&s->sent);
    assert(first == c);
    (void)first;
    if (!r) {
        if (s->phase != PHASE_CLOSED)
            s->phase = PHASE_AWAY; /* what the listener calls now must not go to this connection */
        call_down(c);
        return;
    }
    s->heard_ms = uv_now(s->loop);
    if (is_word(r, "epoch")) {
        boot_again(s);
        if (is_replay)
            call_free(c);
        else
            call_list_add(&s->waiting, c);
        return;
    }
    if (is_error(r, "NOSCRIPT") && !c->by_text) {
        c->by_text = true;
        call_send(c);
        return;
    }
    is_last = is_replay && s->phase == PHASE_REPLAY && --s->replaying == 0;
    if (r->type == REDIS_REPLY_ERROR) {
        on_error(c, r->str);
    } else if (is_word(r, "pack")) {
        call_run(with_message(c));
        call_free(c);
    } else {
        deliver(c, r);
    }
    if (is_last && s->phase == PHASE_REPLAY)
        boot_replayed(s);
}

void call_send(struct call *c)
{
    struct store             *s = c->store;
    const struct script_text *script = &scripts[c->script];
    struct buf                text = {0};
    char                      head[CALL_HEAD], *p = head, *start;
    size_t                    len;
    int                       status;

    *p++ = '*';
    p = put_int(p, 4 + c->argc);
    memcpy(p, "\r\n", 2);
    p += 2;
    if (c->by_text) {
        p = put_bytes(p, "EVAL", 4);
        buf_append(&text, head, (size_t)(p - head));
        buf_reserve(&text, script->len + 32);
        text.len = (size_t)(put_bytes(text.data + text.len, script->text, script->len) - text.data);
        p = head;
    } else {
        p = put_bytes(p, "EVALSHA", 7);
        p = put_bytes(p, script->sha, 40);
    }
    p = put_bytes(p, "0", 1);
    p = put_bytes(p, s->epoch_text, strlen(s->epoch_text));
    len = (size_t)(p - head);
    start = c->bytes.data + CALL_HEAD - len;
    memcpy(start, head, len);
    len = c->bytes.len - CALL_HEAD + len;
    if (c->by_text) {
        buf_append(&text, start, len);
        start = text.data;
        len = text.len;
    }
    store_expect(s);
    c->sent_ms = uv_now(s->loop);
    call_list_add(&s->sent, c); /* first: the send may fail */
    status = redisAsyncFormattedCommand(link_context(s->link), on_reply, c, start, len);
    assert(status == REDIS_OK); /* a dying connection has no phase that sends */
    (void)status;
    buf_free(&text);
}

void call_run(struct call *c)
{
    struct store *s = c->store;

    switch (s->phase) {
    case PHASE_UP:
        call_send(c);
        break;
    case PHASE_BOOT:
    case PHASE_REPLAY:
        call_list_add(&s->waiting, c);
        break;
    case PHASE_AWAY:
        call_list_add(&s->refused, c);
        uv_idle_start(&s->refuser, store_on_refuse);
        break;
    case PHASE_CLOSED:
        call_down(c);
        break;
    }
}
