/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - one connection: connect, login, heartbeats, loss, and again.
 *
 *   DOWN -> RESOLVE -> CONNECT -> LOGIN (start, tune, open) -> OPEN -> topology stands: is_up
 *    ^_________\__________\__________\_________________________\______ conn_fail
 *
 * Each state has its patience.
 */
#include "common/broker/broker_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define CONNECT_MS 5000   /* also for the login */
#define TOPOLOGY_MS 30000 /* the first declare of many quorum queues takes its time */
#define STABLE_MS 10000   /* a connection that lived so long begins its backoff anew */
#define BACKOFF_BASE_MS 50
#define BACKOFF_CAP_MS 3000
#define GOODBYE_MS 400   /* for the broker's answer to connection.close */
#define SILENCE_MS 15000 /* TCP_USER_TIMEOUT: written, but not taken by the peer */

struct lookup {
    uv_getaddrinfo_t request; /* first */
    struct conn     *conn;    /* NULL: nobody waits for the answer */
};

const char *conn_role_name(const struct conn *c) { return c->role == CONN_PUBLISH ? "publish" : "consume"; }

void conn_init(struct conn *c, struct broker *b, int role)
{
    int channels = b->config.channels;

    *c = (struct conn){.b = b, .role = role, .fd = -1, .frame_max = FRAME_MAX};
    c->state = role == CONN_CONSUME && channels == 0 ? CONN_UNUSED : CONN_DOWN;
    c->wake_ms = c->state == CONN_UNUSED ? INT64_MAX : 0;
    c->control.channel = role == CONN_CONSUME ? channels + 1 : CONTROL_CHANNEL;
    init_amqp_pool(&c->pool, 4096);
}

void conn_fini(struct conn *c)
{
    free(c->in);
    buf_free(&c->out);
    empty_amqp_pool(&c->pool);
}

static void free_poll(uv_handle_t *poll) { free(poll); }

static void close_socket(struct conn *c)
{
    if (c->fd < 0)
        return;
    uv_close((uv_handle_t *)c->poll, free_poll);
    close(c->fd);
    c->poll = NULL;
    c->fd = -1;
}

/* What a connect needs and an established connection does not. */
static void forget_addresses(struct conn *c)
{
    if (c->addresses)
        freeaddrinfo(c->addresses);
    c->addresses = c->address = NULL;
    if (c->lookup)
        c->lookup->conn = NULL;
    c->lookup = NULL;
}

static int64_t backoff_ms(struct conn *c)
{
    int64_t wait = BACKOFF_CAP_MS;

    if (c->is_up && c->b->now_ms - c->up_ms > STABLE_MS)
        c->failures = 0;
    if (c->failures < 6)
        wait = BACKOFF_BASE_MS << c->failures;
    c->failures++;
    return (int64_t)((double)wait * (0.5 + loop_dice(c->b) / 2));
}

void conn_fail(struct conn *c, const char *fmt, ...)
{
    bool    is_ending = c->state == CONN_CLOSING;
    int64_t wait = backoff_ms(c);
    char    reason[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    if (!is_ending)
        log_event(EVENT_BROKER_LOST, LOG_TEXT("connection", conn_role_name(c)), LOG_INT("retry_ms", wait),
                  LOG_TEXT("reason", reason));
    close_socket(c);
    forget_addresses(c);
    c->state = is_ending ? CONN_UNUSED : CONN_DOWN;
    c->wake_ms = is_ending ? INT64_MAX : c->b->now_ms + wait;
    c->heartbeat_ms = 0;
    c->is_blocked = false;
    frames_reset(c);
    control_stop(c);
    if (c->role == CONN_PUBLISH) {
        browse_stop(c->b);
        publish_stop(c->b);
    } else {
        consume_stop(c->b);
    }
    c->is_up = false;
}

/* ---- connecting ---- */

static void set_options(int fd)
{
    int one = 1, silence_ms = SILENCE_MS;

    /* what a kernel refuses here costs speed of detection, not correctness */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof silence_ms);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct conn *c, int fd)
{
    c->fd = fd;
    c->poll = xcalloc(1, sizeof *c->poll);
    c->poll->data = c;
    c->watched = 0;
    uv_poll_init(c->b->loop, c->poll, fd);
}

/* Starts a connect to this or a following address; none left: fails with why. */
static void try_address(struct conn *c, int why)
{
    for (; c->address; c->address = c->address->ai_next) {
        int fd = socket(c->address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0) {
            why = errno;
            continue;
        }
        set_options(fd);
        if (connect(fd, c->address->ai_addr, c->address->ai_addrlen) == 0 || errno == EINPROGRESS) {
            watch(c, fd);
            c->state = CONN_CONNECT;
            c->events = UV_WRITABLE;
            c->wake_ms = c->b->now_ms + CONNECT_MS;
            return;
        }
        why = errno;
        close(fd);
    }
    conn_fail(c, "connect to %s port %d: %s", c->b->account.host, c->b->account.port, strerror(why));
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct lookup *l = (struct lookup *)request;
    struct conn   *c = l->conn;

    free(l);
    if (!c) { /* it took so long that nobody waits for it any more */
        uv_freeaddrinfo(addresses);
        return;
    }
    loop_begin_turn(c->b);
    c->lookup = NULL;
    if (status < 0) {
        conn_fail(c, "resolve %s: %s", c->b->account.host, uv_strerror(status));
    } else {
        c->addresses = c->address = addresses;
        try_address(c, EADDRNOTAVAIL);
    }
    loop_end_turn(c->b);
}

/* An address is read at once; a name costs libuv's threads, which are not
 * started before somebody wants them. */
static void start_connect(struct conn *c)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    char            port[8];
    int             status;

    snprintf(port, sizeof port, "%d", c->b->account.port);
    if (getaddrinfo(c->b->account.host, port, &hints, &c->addresses) == 0) {
        c->address = c->addresses;
        try_address(c, EADDRNOTAVAIL);
        return;
    }
    c->addresses = NULL;
    hints.ai_flags = AI_NUMERICSERV;
    c->state = CONN_RESOLVE;
    c->wake_ms = c->b->now_ms + CONNECT_MS;
    c->lookup = xcalloc(1, sizeof *c->lookup);
    c->lookup->conn = c;
    status = uv_getaddrinfo(c->b->loop, &c->lookup->request, on_resolved, c->b->account.host, port, &hints);
    if (status < 0) {
        free(c->lookup);
        c->lookup = NULL;
        conn_fail(c, "resolve %s: %s", c->b->account.host, uv_strerror(status));
    }
}

static void try_next_address(struct conn *c, int why)
{
    close_socket(c);
    c->address = c->address->ai_next;
    try_address(c, why);
}

static void end_connect(struct conn *c)
{
    int       error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error) {
        try_next_address(c, error);
        return;
    }
    forget_addresses(c);
    c->state = CONN_LOGIN;
    c->events = UV_READABLE;
    c->heard_ms = c->spoke_ms = c->b->now_ms;
    c->wake_ms = c->b->now_ms + CONNECT_MS;
    c->frame_max = FRAME_MAX;
    frames_protocol_header(c);
}

/* ---- open ---- */

static void on_open(struct conn *c)
{
    c->state = CONN_OPEN;
    c->wake_ms = c->b->now_ms + TOPOLOGY_MS;
    control_start(c);
}

static void on_close(struct conn *c, const amqp_connection_close_t *close)
{
    amqp_connection_close_ok_t ok = {0};

    control_on_connection_close(c, close);
    frames_method(c, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
    frames_flush(c);
    if (c->fd >= 0)
        conn_fail(c, "closed by the broker: %d %.*s", close->reply_code, (int)close->reply_text.len,
                  (const char *)close->reply_text.bytes);
}

void conn_topology_stands(struct conn *c)
{
    if (c->is_up) {
        if (c->role == CONN_CONSUME)
            consume_topology_stands(c);
        return;
    }
    log_event(EVENT_BROKER_CONNECTED, LOG_TEXT("connection", conn_role_name(c)), LOG_TEXT("host", c->b->account.host),
              LOG_INT("port", c->b->account.port));
    c->is_up = true;
    c->up_ms = c->b->now_ms;
    c->wake_ms = INT64_MAX;
    if (c->role == CONN_PUBLISH)
        publish_start(c);
    else
        consume_start(c);
}

/* ---- frames ---- */

static void on_connection_method(struct conn *c, const struct frame *f)
{
    switch (f->method) {
    case AMQP_CONNECTION_START_METHOD:
        login_on_start(c);
        break;
    case AMQP_CONNECTION_TUNE_METHOD:
        login_on_tune(c, f->decoded);
        break;
    case AMQP_CONNECTION_OPEN_OK_METHOD:
        on_open(c);
        break;
    case AMQP_CONNECTION_CLOSE_METHOD:
        on_close(c, f->decoded);
        break;
    case AMQP_CONNECTION_CLOSE_OK_METHOD:
        conn_fail(c, "closed");
        break;
    case AMQP_CONNECTION_BLOCKED_METHOD: {
        const amqp_connection_blocked_t *blocked = f->decoded;

        log_event(EVENT_BROKER_BLOCKED, LOG_TEXT("connection", conn_role_name(c)),
                  LOG_BYTES("reason", blocked->reason.bytes, blocked->reason.len));
        if (c->role == CONN_PUBLISH)
            publish_set_blocked(c, true);
        break;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        log_event(EVENT_BROKER_UNBLOCKED, LOG_TEXT("connection", conn_role_name(c)));
        if (c->role == CONN_PUBLISH)
            publish_set_blocked(c, false);
        break;
    default:
        break;
    }
}

void conn_on_frame(struct conn *c, const struct frame *f)
{
    bool is_method = f->type == AMQP_FRAME_METHOD;

    if (f->channel == 0) {
        if (is_method)
            on_connection_method(c, f);
    } else if (c->state == CONN_CLOSING && (c->role != CONN_PUBLISH || f->channel != PUBLISH_CHANNEL)) {
        return; /* only confirms still matter */
    } else if (f->channel == c->control.channel) {
        if (is_method)
            control_on_method(c, f);
    } else if (c->role == CONN_PUBLISH && f->channel == BROWSE_CHANNEL) {
        browse_on_frame(c, f);
    } else if (c->role == CONN_PUBLISH) {
        (is_method ? publish_on_method : publish_on_content)(c, f);
    } else {
        (is_method ? consume_on_method : consume_on_content)(c, f);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct conn *c = poll->data;

    loop_begin_turn(c->b);
    if (status < 0)
        c->watched = 0; /* an error on the socket ends the watch; reading will say which */
    if (c->state == CONN_CONNECT)
        end_connect(c);
    else if (status < 0 || (events & UV_READABLE))
        frames_read(c);
    loop_end_turn(c->b);
}

void conn_flush(struct conn *c)
{
    if (frames_unwritten(c))
        frames_flush(c);
    if (c->fd < 0 || c->events == c->watched)
        return;
    c->watched = c->events;
    uv_poll_start(c->poll, c->events, on_poll);
}

/* ---- time ---- */

static void on_impatience(struct conn *c)
{
    if (c->state == CONN_DOWN)
        start_connect(c);
    else if (c->state == CONN_RESOLVE)
        conn_fail(c, "resolve %s: no answer", c->b->account.host);
    else if (c->state == CONN_CONNECT)
        try_next_address(c, ETIMEDOUT);
    else
        conn_fail(c, "no answer to the %s within its time", c->state == CONN_LOGIN ? "login" : "declares");
}

void conn_on_time(struct conn *c)
{
    int64_t now = c->b->now_ms;

    if (now >= c->wake_ms) {
        on_impatience(c);
        return;
    }
    if (c->fd < 0 || !c->heartbeat_ms)
        return;
    if (now - c->heard_ms >= 2 * c->heartbeat_ms)
        frames_read(c); /* the loop may have been kept from it, not the peer */
    if (c->fd < 0)
        return;
    if (now - c->heard_ms >= 2 * c->heartbeat_ms)
        conn_fail(c, "nothing heard for two heartbeats of %d s", c->heartbeat_ms / 1000);
    else if (now - c->spoke_ms >= c->heartbeat_ms / 2 && !frames_unwritten(c))
        frames_heartbeat(c);
}

int64_t conn_wake_ms(const struct conn *c)
{
    int64_t wake = c->wake_ms;

    if (c->fd < 0 || !c->heartbeat_ms)
        return wake;
    if (c->heard_ms + 2 * c->heartbeat_ms < wake)
        wake = c->heard_ms + 2 * c->heartbeat_ms;
    if (!frames_unwritten(c) && c->spoke_ms + c->heartbeat_ms / 2 < wake)
        wake = c->spoke_ms + c->heartbeat_ms / 2;
    return wake;
}

/* ---- the end ---- */

static void say_goodbye(struct conn *c)
{
    amqp_connection_close_t close = {.reply_code = AMQP_REPLY_SUCCESS, .reply_text = bytes_of("bye")};

    if (c->state == CONN_UNUSED)
        return;
    if (c->state == CONN_OPEN) {
        frames_method(c, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
        c->state = CONN_CLOSING;
        frames_flush(c);
    } else {
        c->state = CONN_CLOSING; /* nobody to say it to: ends without a further attempt */
        conn_fail(c, "not connected");
    }
}

/* Waits without the loop, for wait_ms at most, and reads what came. */
static void listen_for_answers(struct broker *b, int64_t wait_ms)
{
    struct pollfd fds[CONN_COUNT];

    for (int i = 0; i < CONN_COUNT; i++) /* fd -1: left out */
        fds[i] = (struct pollfd){.fd = b->conns[i].fd,
                                 .events = (short)(POLLIN | (frames_unwritten(&b->conns[i]) ? POLLOUT : 0))};
    if (poll(fds, CONN_COUNT, (int)wait_ms) <= 0)
        return;
    for (int i = 0; i < CONN_COUNT; i++) {
        if (fds[i].revents & ~POLLOUT)
            frames_read(&b->conns[i]);
        if (frames_unwritten(&b->conns[i]))
            frames_flush(&b->conns[i]);
    }
}

void conn_goodbye(struct broker *b)
{
    int64_t until_ms = mono_ms() + GOODBYE_MS;

    for (int i = 0; i < CONN_COUNT; i++)
        say_goodbye(&b->conns[i]);
    for (;;) {
        loop_begin_turn(b);
        if ((b->conns[CONN_PUBLISH].fd < 0 && b->conns[CONN_CONSUME].fd < 0) || b->now_ms >= until_ms)
            break;
        listen_for_answers(b, until_ms - b->now_ms);
    }
    for (int i = 0; i < CONN_COUNT; i++)
        if (b->conns[i].state != CONN_UNUSED)
            conn_fail(&b->conns[i], "no answer to the goodbye");
}
