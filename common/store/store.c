/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - the life of the connection.
 *
 *   resolve -> connect -> boot -> up -> (lost) -> wait 50 ms .. 2 s -> resolve ...
 *
 * The name is looked up at each connect, so that a failover by DNS is followed.
 * A server that owes an answer for 3 s is given up: hiredis has no time limits.
 */
#include "common/store/store.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/store/internal.h"

#define SILENCE_MS 3000
#define LATE_MS 500 /* a timer that comes so late tells of this process, not of the server */
#define TRIM_MS 1000
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000

static void connect_start(struct store *s);

uint64_t store_backoff_ms(int failures)
{
    uint64_t most = failures < 6 ? (uint64_t)BACKOFF_MIN_MS << failures : BACKOFF_MAX_MS;
    char     dice[COPY_BYTES];

    if (most > BACKOFF_MAX_MS)
        most = BACKOFF_MAX_MS;
    job_copy_new(dice);
    dice[4] = 0;
    return most / 2 + (most / 2) * (uint64_t)strtol(dice, NULL, 16) / 0xffff;
}

static void answer_down(struct call_list *list)
{
    struct call_list now = *list;
    struct call     *c;

    if (!now.first)
        return;
    call_list_init(list); /* what the listeners call next is for the next round */
    while ((c = call_list_take(&now)))
        call_down(c);
}

void store_on_refuse(uv_idle_t *idle)
{
    struct store *s = idle->data;

    answer_down(&s->refused);
    if (!s->refused.first)
        uv_idle_stop(idle);
}

/* ---- silence ------------------------------------------------------------- */

static bool is_owed(const struct store *s)
{
    return s->link && (!s->is_connected || link_context(s->link)->replies.head);
}

static void on_silence(uv_timer_t *timer)
{
    struct store *s = timer->data;
    uint64_t      now = uv_now(s->loop);
    uint64_t      quiet = now - (s->heard_ms > s->owed_ms ? s->heard_ms : s->owed_ms);

    if (!is_owed(s))
        return;
    if (quiet > SILENCE_MS + LATE_MS) {
        s->owed_ms = now - SILENCE_MS + LATE_MS; /* this process did not run: the answer may lie in the socket */
        quiet = SILENCE_MS - LATE_MS;
    }
    if (quiet >= SILENCE_MS)
        store_lose(s, s->is_connected ? "no answer for 3 s" : "no connection within 3 s");
    else
        uv_timer_start(timer, on_silence, SILENCE_MS - quiet, 0);
}

void store_expect(struct store *s)
{
    if (!is_owed(s) || !s->is_connected)
        s->owed_ms = uv_now(s->loop);
    if (!uv_is_active((uv_handle_t *)&s->silence))
        uv_timer_start(&s->silence, on_silence, SILENCE_MS, 0);
}

/* ---- the clock of the ring, and of a replica ----------------------------------------------------- */

static void on_pong(redisAsyncContext *ac, void *reply, void *data)
{
    struct store *s = data;

    (void)ac;
    if (reply)
        s->heard_ms = uv_now(s->loop);
}

static void on_trim(uv_timer_t *timer)
{
    struct store *s = timer->data;

    if (s->phase != PHASE_UP)
        return;
    if (s->config.is_replica) {
        boot_check(s);
        return;
    }
    ring_trim(&s->ring, s->heard_ms);
    if (!s->ring.first) {
        uv_timer_stop(timer);
    } else if (!is_owed(s)) { /* nobody else asks for a sign of life */
        store_expect(s);
        redisAsyncCommand(link_context(s->link), on_pong, s, "PING");
    }
}

void store_trim_later(struct store *s)
{
    if (!uv_is_active((uv_handle_t *)&s->trimmer))
        uv_timer_start(&s->trimmer, on_trim, TRIM_MS, TRIM_MS);
}

/* ---- connect, up, lost ------------------------------------------------------ */

static void on_again(uv_timer_t *timer) { connect_start(timer->data); }

/* The connection is gone; tells everyone who waits, and plans the next. */
static void on_lost(struct store *s, const char *why)
{
    bool was_up = s->was_up;

    s->link = NULL;
    s->phase = PHASE_AWAY;
    s->is_connected = false;
    s->was_up = false;
    uv_timer_stop(&s->silence);
    uv_timer_start(&s->again, on_again, store_backoff_ms(s->failures++), 0);
    if (strcmp(s->trouble, why) != 0) { /* a reason that stays is said once */
        log_event(s->config.is_replica ? EVENT_REPLICA_DOWN : EVENT_STORE_DOWN, LOG_TEXT("host", s->url.host),
                  LOG_INT("port", s->url.port), LOG_TEXT("reason", why));
        snprintf(s->trouble, sizeof s->trouble, "%s", why);
    }
    if (s->subscription)
        subscription_stop(s->subscription);
    if (was_up && s->events.state)
        s->events.state(s->ctx, false);
    answer_down(&s->waiting);
}

void store_lose(struct store *s, const char *why)
{
    struct link *link = s->link;
    char         text[sizeof s->trouble];

    if (!link)
        return;
    snprintf(text, sizeof text, "%s", why); /* why may lie in a reply */
    on_lost(s, text);
    link_close(link);
}

void store_set_up(struct store *s)
{
    struct call_list waiting = s->waiting;
    struct call     *c;
    bool             was_up = s->was_up;

    s->phase = PHASE_UP;
    s->was_up = true;
    s->failures = 0;
    if (!was_up) {
        log_event(s->config.is_replica ? EVENT_REPLICA_UP : EVENT_STORE_UP, LOG_TEXT("host", s->url.host),
                  LOG_TEXT("ip", s->ip), LOG_INT("port", s->url.port), LOG_TEXT("epoch", s->epoch_text));
        s->trouble[0] = 0;
    }
    if (waiting.first) {
        call_list_init(&s->waiting);
        while ((c = call_list_take(&waiting)))
            call_send(c);
    }
    if (!was_up && s->subscription)
        subscription_start(s->subscription, s->ip);
    if (s->config.is_replica)
        store_trim_later(s);
    if (s->events.state)
        s->events.state(s->ctx, true);
}

static void on_link_up(void *ctx)
{
    struct store *s = ctx;

    s->is_connected = true;
    s->heard_ms = uv_now(s->loop);
    boot_start(s);
}

static void on_link_down(void *ctx, const char *why) { on_lost(ctx, why); }

static const struct link_events link_events = {on_link_up, on_link_down};

/* To s->ip, the url's path or a numeric address. */
static void connect_there(struct store *s)
{
    s->link = link_open(s->loop, s->ip, s->url.port, &link_events, s);
    if (s->link)
        store_expect(s);
    else
        on_lost(s, "cannot open a socket to it");
}

static void connect_to(struct store *s, const struct sockaddr *address)
{
    if (uv_ip_name(address, s->ip, sizeof s->ip) == 0)
        connect_there(s);
    else
        on_lost(s, "cannot read its address");
}

/* One of the things that store_close waits for has ended. */
static void release(struct store *s)
{
    if (--s->open_handles)
        return;
    ring_free(&s->ring);
    free(s->reservations);
    free(s);
}

static void on_handle_closed(uv_handle_t *handle) { release(handle->data); }

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct store *s = request->data;

    s->is_resolving = false;
    if (s->phase == PHASE_CLOSED)
        release(s);
    else if (status == 0)
        connect_to(s, found->ai_addr);
    else
        on_lost(s, uv_strerror(status));
    uv_freeaddrinfo(found);
}

static void connect_start(struct store *s)
{
    struct addrinfo         hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct sockaddr_storage address;
    int                     status;

    if (!s->url.port) {
        snprintf(s->ip, sizeof s->ip, "%s", s->url.host);
        connect_there(s);
        return;
    }
    if (uv_ip4_addr(s->url.host, s->url.port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(s->url.host, s->url.port, (struct sockaddr_in6 *)&address) == 0) {
        connect_to(s, (struct sockaddr *)&address); /* no thread for what needs no lookup */
        return;
    }
    s->resolving.data = s;
    status = uv_getaddrinfo(s->loop, &s->resolving, on_resolved, s->url.host, NULL, &hints);
    if (status)
        on_lost(s, uv_strerror(status));
    else
        s->is_resolving = true;
}

/* ---- open and close ----------------------------------------------------------- */

enum err store_open(uv_loop_t *loop, const struct store_config *config, const struct store_events *events, void *ctx,
                    struct store **out, struct fault *why)
{
    struct redis_url url;
    enum err         e =
        redis_url_parse(config->url, config->is_replica ? "MILLRACE_REDIS_READ_URL" : "MILLRACE_REDIS_URL", &url, why);
    struct store *s;

    if (e)
        return e;
    s = xcalloc(1, sizeof *s);
    s->loop = loop;
    s->config = *config;
    s->url = url;
    if (events)
        s->events = *events;
    s->ctx = ctx;
    call_list_init(&s->sent);
    call_list_init(&s->waiting);
    call_list_init(&s->refused);
    ring_init(&s->ring);
    uv_idle_init(loop, &s->refuser);
    uv_timer_init(loop, &s->again);
    uv_timer_init(loop, &s->silence);
    uv_timer_init(loop, &s->trimmer);
    s->refuser.data = s->again.data = s->silence.data = s->trimmer.data = s;
    if (s->events.ended || s->events.outbox)
        s->subscription = subscription_new(s);
    connect_start(s);
    *out = s;
    return ERR_OK;
}

void store_close(struct store *s)
{
    struct call *c;

    if (!s)
        return;
    s->phase = PHASE_CLOSED;
    subscription_free(s->subscription);
    for (c = s->sent.first; c; c = c->next) { /* hiredis frees them with their replies */
        struct store_reply down = {.answer = STORE_DOWN, .epoch = s->epoch};
        store_fn          *fn = c->fn;

        c->fn = NULL;
        if (fn)
            fn(c->ctx, &down);
    }
    link_close(s->link);
    answer_down(&s->waiting);
    answer_down(&s->refused);
    s->open_handles = 4 + s->is_resolving;
    if (s->is_resolving)
        uv_cancel((uv_req_t *)&s->resolving);
    uv_close((uv_handle_t *)&s->refuser, on_handle_closed);
    uv_close((uv_handle_t *)&s->again, on_handle_closed);
    uv_close((uv_handle_t *)&s->silence, on_handle_closed);
    uv_close((uv_handle_t *)&s->trimmer, on_handle_closed);
}

bool store_is_up(const struct store *s) { return s->phase == PHASE_UP; }

bool store_is_late(const struct store *s, int64_t ms)
{
    return s->sent.first && uv_now(s->loop) - s->sent.first->sent_ms > (uint64_t)ms;
}

int64_t store_epoch(const struct store *s) { return s->epoch; }
