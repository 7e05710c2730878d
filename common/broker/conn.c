/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - one connection: connect, login, heartbeats, loss, and again.
 *
 *   DOWN -> CONNECT -> LOGIN (start, tune, open) -> OPEN -> topology stands: is_up
 *    ^__________\__________\_________________________\______ conn_fail
 *
 * Each state has its patience. The login announces the capabilities that make
 * the broker tell us of cancelled consumers and of being blocked.
 */
#include "broker_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"

#define CONNECT_MS 5000     /* also for the login */
#define TOPOLOGY_MS 30000   /* the first declare of many quorum queues takes its time */
#define STABLE_MS 10000     /* a connection that lived so long begins its backoff anew */
#define BACKOFF_BASE_MS 50
#define BACKOFF_CAP_MS 3000
#define SILENCE_MS 15000    /* TCP_USER_TIMEOUT: written, but not taken by the peer */

static const char *const role_names[CONN_COUNT] = {"publish", "consume"};

void conn_init(struct conn *c, struct broker *b, int role)
{
    int channels = b->config.channels;

    *c = (struct conn){.b = b, .role = role, .fd = -1, .frame_max = FRAME_MAX};
    c->state = role == CONN_CONSUME && channels == 0 ? CONN_UNUSED : CONN_DOWN;
    c->wake_ms = c->state == CONN_UNUSED ? INT64_MAX : 0;
    c->control.channel = role == CONN_CONSUME ? channels + 1 : 2;
    init_amqp_pool(&c->pool, 4096);
}

void conn_fini(struct conn *c)
{
    free(c->in);
    buf_free(&c->out);
    empty_amqp_pool(&c->pool);
}

/* Tells the loop's watchdog which socket it may shut down; -1: none. */
static void lend_fd(struct conn *c, int fd)
{
    pthread_mutex_lock(&c->b->lock);
    c->b->fds[c->role] = fd;
    pthread_mutex_unlock(&c->b->lock);
    c->fd = fd;
}

static void close_socket(struct conn *c)
{
    int fd = c->fd;

    if (fd < 0)
        return;
    lend_fd(c, -1);
    close(fd);
}

static int64_t backoff_ms(struct conn *c)
{
    int64_t wait = BACKOFF_CAP_MS;

    if (c->is_up && c->b->now_ms - c->up_ms > STABLE_MS)
        c->failures = 0;
    if (c->failures < 6)
        wait = BACKOFF_BASE_MS << c->failures;
    c->failures++;
    return (int64_t)((double)wait * (0.5 + thread_dice(c->b) / 2));
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
        log_event(LOG_WARN, "broker-connection-lost", "connection=%s retry_ms=%lld reason=\"%s\"", role_names[c->role],
                  (long long)wait, reason);
    close_socket(c);
    if (c->addresses)
        freeaddrinfo(c->addresses);
    c->addresses = c->address = NULL;
    c->state = is_ending ? CONN_UNUSED : CONN_DOWN;
    c->wake_ms = is_ending ? INT64_MAX : c->b->now_ms + wait;
    c->heartbeat_ms = 0;
    c->is_blocked = false;
    frames_reset(c);
    control_stop(c);
    if (c->role == CONN_PUBLISH)
        publish_stop(c->b);
    else
        consume_stop(c->b);
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
            lend_fd(c, fd);
            c->state = CONN_CONNECT;
            c->events = POLLOUT;
            c->wake_ms = c->b->now_ms + CONNECT_MS;
            return;
        }
        why = errno;
        close(fd);
    }
    conn_fail(c, "connect to %s port %d: %s", c->b->account.host, c->b->account.port, strerror(why));
}

static void start_connect(struct conn *c)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    char            port[8];
    int             status;

    snprintf(port, sizeof port, "%d", c->b->account.port);
    status = getaddrinfo(c->b->account.host, port, &hints, &c->addresses);
    if (status != 0) {
        c->addresses = NULL;
        conn_fail(c, "resolve %s: %s", c->b->account.host, gai_strerror(status));
        return;
    }
    c->address = c->addresses;
    try_address(c, EADDRNOTAVAIL);
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
    freeaddrinfo(c->addresses);
    c->addresses = c->address = NULL;
    c->state = CONN_LOGIN;
    c->events = POLLIN;
    c->heard_ms = c->spoke_ms = c->b->now_ms;
    c->wake_ms = c->b->now_ms + CONNECT_MS;
    c->frame_max = FRAME_MAX;
    frames_protocol_header(c);
}

/* ---- login ---- */

static amqp_table_entry_t entry_bool(const char *key)
{
    return (amqp_table_entry_t){.key = bytes_of(key), .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static amqp_table_entry_t entry_text(const char *key, const char *text)
{
    return (amqp_table_entry_t){.key = bytes_of(key),
                                .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(text)}};
}

static void on_start(struct conn *c)
{
    const struct amqp_connection_info *account = &c->b->account;
    amqp_table_entry_t capabilities[] = {
        entry_bool("consumer_cancel_notify"), entry_bool("connection.blocked"), entry_bool("basic.nack"),
        entry_bool("publisher_confirms"), entry_bool("authentication_failure_close"),
    };
    char                       name[128], response[2048];
    amqp_table_entry_t         properties[4];
    amqp_connection_start_ok_t ok = {.mechanism = bytes_of("PLAIN"), .locale = bytes_of("en_US")};
    int                        len;

    snprintf(name, sizeof name, "%s/%s", c->b->config.name, role_names[c->role]);
    properties[0] = entry_text("product", "Millrace");
    properties[1] = entry_text("version", MILLRACE_VERSION);
    properties[2] = entry_text("connection_name", name);
    properties[3] = (amqp_table_entry_t){
        .key = bytes_of("capabilities"),
        .value = {.kind = AMQP_FIELD_KIND_TABLE,
                  .value.table = {.num_entries = sizeof capabilities / sizeof *capabilities, .entries = capabilities}}};
    ok.client_properties = (amqp_table_t){.num_entries = 4, .entries = properties};
    len = snprintf(response, sizeof response, "%c%s%c%s", 0, account->user, 0, account->password);
    ok.response = (amqp_bytes_t){.len = (size_t)len, .bytes = response};
    frames_method(c, 0, AMQP_CONNECTION_START_OK_METHOD, &ok);
}

/* The smaller of two limits, where 0 means none. */
static uint32_t agree(uint32_t theirs, uint32_t ours) { return theirs && (!ours || theirs < ours) ? theirs : ours; }

static void on_tune(struct conn *c, const amqp_connection_tune_t *tune)
{
    amqp_connection_tune_ok_t ok = {.channel_max = tune->channel_max,
                                    .frame_max = agree(tune->frame_max, FRAME_MAX),
                                    .heartbeat = (uint16_t)agree(tune->heartbeat, (uint32_t)c->b->config.heartbeat_s)};
    amqp_connection_open_t    open = {.virtual_host = bytes_of(c->b->account.vhost)};
    int                       channels = c->control.channel > 2 ? c->control.channel : 2;

    if (tune->channel_max && tune->channel_max < channels) {
        conn_fail(c, "the broker allows %d channels, %d are needed", tune->channel_max, channels);
        return;
    }
    c->frame_max = ok.frame_max;
    c->heartbeat_ms = ok.heartbeat * 1000;
    frames_method(c, 0, AMQP_CONNECTION_TUNE_OK_METHOD, &ok);
    frames_method(c, 0, AMQP_CONNECTION_OPEN_METHOD, &open);
}

static void on_open(struct conn *c)
{
    c->state = CONN_OPEN;
    c->wake_ms = c->b->now_ms + TOPOLOGY_MS;
    control_start(c);
}

static void on_close(struct conn *c, const amqp_connection_close_t *close)
{
    amqp_connection_close_ok_t ok = {0};

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
    log_event(LOG_INFO, "broker-connected", "connection=%s host=%s port=%d", role_names[c->role], c->b->account.host,
              c->b->account.port);
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
        on_start(c);
        break;
    case AMQP_CONNECTION_TUNE_METHOD:
        on_tune(c, f->decoded);
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

        log_event(LOG_WARN, "broker-blocked", "connection=%s reason=\"%.*s\"", role_names[c->role],
                  (int)blocked->reason.len, (const char *)blocked->reason.bytes);
        if (c->role == CONN_PUBLISH)
            publish_set_blocked(c, true);
        break;
    }
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        log_event(LOG_INFO, "broker-unblocked", "connection=%s", role_names[c->role]);
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

    if (f->channel == 0 || c->state == CONN_CLOSING) {
        if (is_method && f->channel == 0)
            on_connection_method(c, f);
    } else if (f->channel == c->control.channel) {
        if (is_method)
            control_on_method(c, f);
    } else if (c->role == CONN_PUBLISH) {
        (is_method ? publish_on_method : publish_on_content)(c, f);
    } else {
        (is_method ? consume_on_method : consume_on_content)(c, f);
    }
}

void conn_on_poll(struct conn *c, short revents)
{
    if (c->state == CONN_CONNECT)
        end_connect(c);
    else if (revents & (POLLIN | POLLHUP | POLLERR))
        frames_read(c);
}

/* ---- time ---- */

static void on_impatience(struct conn *c)
{
    if (c->state == CONN_DOWN)
        start_connect(c);
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

void conn_close(struct conn *c)
{
    amqp_connection_close_t close = {.reply_code = AMQP_REPLY_SUCCESS, .reply_text = bytes_of("bye")};

    if (c->state == CONN_OPEN) {
        frames_method(c, 0, AMQP_CONNECTION_CLOSE_METHOD, &close);
        if (c->fd >= 0)
            c->state = CONN_CLOSING;
    } else if (c->state != CONN_UNUSED) {
        c->state = CONN_CLOSING; /* nothing to say goodbye to: end without a further attempt */
        conn_fail(c, "not connected");
    }
}
