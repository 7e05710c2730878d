/* SPDX-License-Identifier: Apache-2.0 */
/* subscribe.c - a second connection that hears of ended jobs, of sets and of new outbox entries.
 *
 * It lives only while the first one is up: that one notices a server that went
 * silent, here nothing is ever owed. Whenever the subscription begins, something
 * may have been missed before, and the listener is told.
 */
#include <stdlib.h>
#include <string.h>

#include "common/store/internal.h"

#define ENDED "millrace:ended"   /* the id of a watched job, a newline and its record: rare.lua, notice */
#define SET "millrace:group"     /* the id of a watched set in which somebody ended */
#define OUTBOX "millrace:outbox" /* some script has made entries */

struct subscription {
    struct store *store;
    struct link  *link;
    uv_timer_t    again;
    char          ip[256]; /* or the path */
    int           failures;
};

static void connect_start(struct subscription *sub);

static void on_again(uv_timer_t *timer) { connect_start(timer->data); }

static void plan_again(struct subscription *sub)
{
    uv_timer_start(&sub->again, on_again, store_backoff_ms(sub->failures++), 0);
}

/* Tells of a job with what stands behind its id; without that, or when it is of another epoch than ours, the
 * listener has to ask. */
static void tell_ended(struct store *s, const char *id, const char *rest, size_t len)
{
    struct notice n;
    bool          is_told = notice_read(id, rest, len, &n) && n.parts.reply.epoch == s->epoch;

    s->events.ended(s->ctx, id, is_told ? &n.parts.reply : NULL);
    notice_free(&n);
}

static void on_ended(struct store *s, const char *text, size_t len)
{
    const char *end = memchr(text, '\n', len);
    size_t      id_len = end ? (size_t)(end - text) : len;
    char        id[JOB_ID_BYTES];

    if (id_len != sizeof id - 1)
        return;
    memcpy(id, text, id_len);
    id[id_len] = 0;
    if (job_id_is_valid(id))
        tell_ended(s, id, text + id_len + 1, end ? len - id_len - 1 : 0);
}

static void on_message(redisAsyncContext *ac, void *reply, void *data)
{
    struct subscription *sub = data;
    const redisReply    *r = reply;
    struct store        *s = sub->store;
    const char          *channel;
    bool                 is_ended;

    (void)ac;
    if (!r || !sub->link || r->type != REDIS_REPLY_ARRAY || r->elements != 3)
        return;
    channel = r->element[1]->str;
    is_ended = strcmp(channel, ENDED) == 0;
    if (strcmp(r->element[0]->str, "subscribe") == 0) {
        sub->failures = 0;
        if (is_ended && s->events.missed)
            s->events.missed(s->ctx);
    } else if (strcmp(r->element[0]->str, "message") != 0 || r->element[2]->type != REDIS_REPLY_STRING) {
        return;
    } else if (strcmp(channel, OUTBOX) == 0) {
        if (s->events.outbox)
            s->events.outbox(s->ctx);
    } else if (is_ended && s->events.ended) {
        on_ended(s, r->element[2]->str, (size_t)r->element[2]->len);
    } else if (!is_ended && s->events.set && job_id_is_valid(r->element[2]->str)) {
        s->events.set(s->ctx, r->element[2]->str);
    }
}

static void on_login(redisAsyncContext *ac, void *reply, void *data)
{
    const redisReply *r = reply;

    (void)data;
    if (r && r->type == REDIS_REPLY_ERROR)
        redisAsyncDisconnect(ac); /* the first connection reports such things */
}

static void on_link_up(void *ctx)
{
    struct subscription *sub = ctx;
    redisAsyncContext   *ac = link_context(sub->link);

    boot_login(ac, &sub->store->url, on_login, sub);
    redisAsyncCommand(ac, on_message, sub, "SUBSCRIBE " ENDED " " SET " " OUTBOX);
}

static void on_link_down(void *ctx, const char *why)
{
    struct subscription *sub = ctx;

    (void)why;
    sub->link = NULL;
    plan_again(sub);
}

static const struct link_events link_events = {on_link_up, on_link_down};

static void connect_start(struct subscription *sub)
{
    sub->link = link_open(sub->store->loop, sub->ip, sub->store->url.port, &link_events, sub);
    if (!sub->link)
        plan_again(sub);
}

struct subscription *subscription_new(struct store *s)
{
    struct subscription *sub = xcalloc(1, sizeof *sub);

    sub->store = s;
    uv_timer_init(s->loop, &sub->again);
    sub->again.data = sub;
    return sub;
}

void subscription_start(struct subscription *sub, const char *ip)
{
    snprintf(sub->ip, sizeof sub->ip, "%s", ip);
    if (!sub->link)
        connect_start(sub);
}

void subscription_stop(struct subscription *sub)
{
    struct link *link = sub->link;

    sub->link = NULL;
    uv_timer_stop(&sub->again);
    link_close(link);
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

void subscription_free(struct subscription *sub)
{
    if (!sub)
        return;
    subscription_stop(sub);
    uv_close((uv_handle_t *)&sub->again, on_closed);
}
