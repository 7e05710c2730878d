/* SPDX-License-Identifier: Apache-2.0 */
/* http.c - see the header. A transfer is in one of two lists: waiting for its time, or under way in libcurl. Each
 * attempt is made at the gateway that is current when it begins; a gateway that fails one is current no longer. */
#include "cli/http.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/exchange.h"
#include "cli/interrupt.h"
#include "common/clock.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 3000
#define POLL_MAX_MS 60000
#define SPARES_MAX 64 /* handles kept for the next transfers */
#define CONNECTIONS_KEPT                                                                                               \
    128L /* else libcurl keeps fewer the fewer calls there are, and closes and opens all the time */
#define URL_BYTES_MAX 1024
#define GATEWAYS_MAX 16

struct http {
    CURLM  *multi;
    char   *urls[GATEWAYS_MAX]; /* without a slash at their ends */
    int     url_count, current;
    char   *bearer; /* "Authorization: Bearer KEY"; NULL */
    int64_t patience_ms;
    void (*notice)(void *ctx, const char *text);
    void            *notice_ctx;
    struct exchange *waiting, *running;
    int              count;    /* in both lists */
    uint64_t         ended;    /* transfers, ever */
    int              forgiven; /* signals that end no blocking call any more */
    int              watched;  /* -1: none */
    CURL            *spares[SPARES_MAX];
    int              spare_count;
};

/* ---- transfers --------------------------------------------------------------- */

void transfer_init(struct transfer *t, const char *method, const char *path, ...)
{
    va_list args;

    *t = (struct transfer){.method = method, .into_fd = -1};
    va_start(args, path);
    buf_vprintf(&t->path, path, args);
    va_end(args);
}

void transfer_free(struct transfer *t)
{
    buf_free(&t->path);
    buf_free(&t->answer);
}

/* ---- the two lists ------------------------------------------------------------- */

static void link_into(struct exchange **list, struct exchange *x)
{
    x->prev = NULL;
    x->next = *list;
    if (*list)
        (*list)->prev = x;
    *list = x;
}

static void unlink_from(struct exchange **list, struct exchange *x)
{
    if (x->prev)
        x->prev->next = x->next;
    else
        *list = x->next;
    if (x->next)
        x->next->prev = x->prev;
}

static CURL *take_handle(struct http *h)
{
    CURL *easy = h->spare_count ? h->spares[--h->spare_count] : curl_easy_init();

    if (!easy)
        abort(); /* out of memory */
    return easy;
}

static void give_handle(struct http *h, CURL *easy)
{
    curl_easy_reset(easy);
    if (h->spare_count < SPARES_MAX)
        h->spares[h->spare_count++] = easy;
    else
        curl_easy_cleanup(easy);
}

/* Out of its list and of libcurl; t's outcome is set. */
static void drop(struct http *h, struct exchange *x)
{
    if (x->is_running)
        curl_multi_remove_handle(h->multi, x->easy);
    unlink_from(x->is_running ? &h->running : &h->waiting, x);
    exchange_close(x);
    give_handle(h, x->easy);
    x->t->exchange = NULL;
    free(x);
    h->count--;
}

static void conclude(struct http *h, struct exchange *x)
{
    struct transfer *t = x->t;

    drop(h, x);
    h->ended++;
    if (t->done)
        t->done(t);
}

/* ---- attempts -------------------------------------------------------------------- */

static void begin(struct http *h, struct exchange *x)
{
    curl_easy_reset(x->easy);
    x->gateway = h->current;
    x->has_others = h->url_count > 1;
    if (!exchange_begin(x, h->urls[x->gateway], h->bearer)) {
        conclude(h, x);
        return;
    }
    unlink_from(&h->waiting, x);
    link_into(&h->running, x);
    x->is_running = true;
    curl_multi_add_handle(h->multi, x->easy);
}

/* How long to wait before the next attempt; -1: patience is over. A gateway that was not asked yet is asked at once; a
 * wait comes when none of them would have it. */
static int64_t next_wait(const struct http *h, struct exchange *x)
{
    int64_t now = mono_ms(), wait = 0;
    int     rounds;

    if (x->t->received > x->received_before) {
        x->failing_since_ms = 0;
        x->failures = 0;
    }
    if (!x->failing_since_ms)
        x->failing_since_ms = now;
    rounds = ++x->failures / h->url_count;
    if (!rounds)
        return 0; /* whatever one's patience, each is asked once */
    if (x->failures % h->url_count == 0 && x->retry_after_ms >= 0) {
        wait = x->retry_after_ms;
    } else if (x->failures % h->url_count == 0) {
        wait = rounds <= 5 ? BACKOFF_MIN_MS << (rounds - 1) : BACKOFF_MAX_MS;
        wait = wait / 2 + mono_us() % (wait / 2 + 1);
    }
    return now + wait - x->failing_since_ms > h->patience_ms ? -1 : wait;
}

/* Of many transfers that a gateway fails at once, the first one turns all of them to the next gateway. */
static void turn_from(struct http *h, int gateway)
{
    if (h->current == gateway)
        h->current = (gateway + 1) % h->url_count;
}

static void attempt_ended(struct http *h, struct exchange *x, CURLcode code)
{
    enum verdict verdict = exchange_end(x, code, h->urls[x->gateway]);
    int64_t      wait = verdict == VERDICT_AGAIN ? next_wait(h, x) : -1;

    if (verdict == VERDICT_AGAIN || x->t->outcome == EXIT_AWAY)
        turn_from(h, x->gateway);
    if (wait < 0) {
        conclude(h, x);
        return;
    }
    if (h->notice && x->failures == 1)
        h->notice(h->notice_ctx, x->t->reason);
    curl_multi_remove_handle(h->multi, x->easy);
    unlink_from(&h->running, x);
    link_into(&h->waiting, x);
    x->is_running = false;
    x->due_ms = mono_ms() + wait;
}

/* Begins what is due. Returns the ms until the next will be, -1 without one. */
static int64_t begin_due(struct http *h)
{
    int64_t          now = mono_ms(), least = -1;
    struct exchange *x = h->waiting;

    while (x) {
        if (x->due_ms > now) {
            least = least < 0 || x->due_ms - now < least ? x->due_ms - now : least;
            x = x->next;
        } else {
            begin(h, x); /* one that cannot begin is done, and done may start and abort others */
            x = h->waiting;
            least = -1;
        }
    }
    return least;
}

static void reap(struct http *h)
{
    CURLMsg *message;
    int      left;

    while ((message = curl_multi_info_read(h->multi, &left))) {
        CURLcode         code = message->data.result;
        struct exchange *x = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        attempt_ended(h, x, code);
    }
}

/* ---- the client --------------------------------------------------------------------- */

static bool is_sayable(const char *key)
{
    for (; *key; key++)
        if (*key < 0x21 || *key > 0x7e)
            return false;
    return true;
}

/* A copy of the first url of a list, without slashes at its end; NULL: it is none. */
static char *take_url(const char *list)
{
    size_t len = strcspn(list, ",");
    char  *url = xmemdup(list, len + 1);

    url[len] = '\0';
    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || len > URL_BYTES_MAX ||
        strpbrk(url, " ?#\r\n\t")) {
        free(url);
        return NULL;
    }
    while (url[len - 1] == '/')
        url[--len] = '\0';
    return url;
}

/* False: a part of the list is no url, and why says so. */
static bool take_urls(struct http *h, const char *list, struct fault *why)
{
    for (;; list++) {
        list += strspn(list, " ");
        if (h->url_count == GATEWAYS_MAX) {
            fault_set(why, ERR_PARAM, "there are more than %d gateways", GATEWAYS_MAX);
            return false;
        }
        h->urls[h->url_count] = take_url(list);
        if (!h->urls[h->url_count]) {
            fault_set(why, ERR_PARAM, "'%.*s' is no url of a gateway; one is http://HOST:PORT",
                      (int)(strcspn(list, ",") < 80 ? strcspn(list, ",") : 80), list);
            return false;
        }
        h->url_count++;
        list += strcspn(list, ",");
        if (!*list)
            return true;
    }
}

enum outcome http_new(const struct http_config *config, struct http **out, struct fault *why)
{
    struct http *h;
    struct buf   bearer = {0};

    if (config->key && !is_sayable(config->key)) {
        fault_set(why, ERR_PARAM, "the key has blanks or other characters that no key has");
        return EXIT_USAGE;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT))
        abort(); /* out of memory */
    h = xcalloc(1, sizeof *h);
    h->multi = curl_multi_init();
    if (!h->multi)
        abort();
    if (!take_urls(h, config->url, why)) {
        http_free(h);
        return EXIT_USAGE;
    }
    if (config->key && *config->key) {
        buf_printf(&bearer, "Authorization: Bearer %s", config->key);
        h->bearer = buf_detach(&bearer);
    }
    http_set_patience(h, config->patience_ms, config->notice, config->notice_ctx);
    h->watched = -1;
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
    *out = h;
    return EXIT_OK;
}

void http_set_patience(struct http *h, int64_t patience_ms, void (*notice)(void *ctx, const char *text), void *ctx)
{
    h->patience_ms = patience_ms;
    h->notice = notice;
    h->notice_ctx = ctx;
}

void http_free(struct http *h)
{
    if (!h)
        return;
    while (h->running)
        http_abort(h, h->running->t);
    while (h->waiting)
        http_abort(h, h->waiting->t);
    while (h->spare_count)
        curl_easy_cleanup(h->spares[--h->spare_count]);
    curl_multi_cleanup(h->multi);
    curl_global_cleanup();
    while (h->url_count)
        free(h->urls[--h->url_count]);
    free(h->bearer);
    free(h);
}

const char *http_url(const struct http *h) { return h->urls[h->current]; }

void http_start(struct http *h, struct transfer *t)
{
    struct exchange *x = xcalloc(1, sizeof *x);

    t->received = t->sent = 0; /* a transfer may be made again */
    t->status = 0;
    t->reason[0] = '\0';
    x->t = t;
    x->into_fd = -1;
    x->easy = take_handle(h);
    t->exchange = x;
    link_into(&h->waiting, x);
    h->count++;
}

void http_watch(struct http *h, int fd) { h->watched = fd; }

int http_run(struct http *h, int64_t timeout_ms)
{
    int64_t  until = timeout_ms < 0 ? INT64_MAX : mono_ms() + timeout_ms;
    uint64_t ended = h->ended, drained;

    for (;;) {
        struct curl_waitfd extra[] = {{.fd = interrupt_fd(), .events = CURL_WAIT_POLLIN},
                                      {.fd = h->watched, .events = CURL_WAIT_POLLIN}};
        int64_t            wait, left;
        int                ignored;

        curl_multi_perform(h->multi, &ignored);
        reap(h);
        wait = begin_due(h);
        left = until - mono_ms();
        if (h->ended != ended || (!h->count && timeout_ms < 0) || left <= 0)
            return h->count;
        wait = wait < 0 || wait > left ? left : wait;
        if (curl_multi_poll(h->multi, extra, h->watched < 0 ? 1 : 2, wait < POLL_MAX_MS ? (int)wait : POLL_MAX_MS,
                            NULL))
            abort(); /* out of memory, or misuse */
        if ((extra[0].revents && read(extra[0].fd, &drained, sizeof drained) > 0) || extra[1].revents)
            return h->count;
    }
}

enum outcome http_do(struct http *h, struct transfer *t)
{
    http_start(h, t);
    while (t->exchange) {
        if (interrupt_count() > h->forgiven)
            http_abort(h, t);
        else
            http_run(h, -1);
    }
    return t->outcome;
}

void http_forgive(struct http *h) { h->forgiven = interrupt_count(); }

void http_abort(struct http *h, struct transfer *t)
{
    if (!t->exchange)
        return;
    t->outcome = EXIT_INTERRUPTED;
    snprintf(t->reason, sizeof t->reason, "interrupted");
    drop(h, t->exchange);
}
