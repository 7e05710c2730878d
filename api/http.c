/* SPDX-License-Identifier: Apache-2.0 */
/* http.c - libmicrohttpd in external epoll mode, inside the libuv loop.
 *
 * The daemon has no thread: its epoll descriptor is polled by the loop, and
 * MHD_run does the rest. A request that waits is suspended; answering it
 * resumes it and marks the daemon dirty, so that MHD_run is called once per
 * round of the loop, however many were answered: in the check phase, behind
 * the polling, so that what requests then ask of the store and the broker
 * leaves before the loop sleeps.
 */
#include "api/http_impl.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/auth.h"
#include "common/address.h"
#include "common/clock.h"

#define CONNECTION_BYTES 32768        /* per connection: the head, and of a body as much as is left of it at one time */
#define DROPPED_BYTES_MAX (64u << 20) /* of a body behind its answer, then the connection is cut */
#define REST_BYTES_MAX (1 << 20)      /* of a body whose answer is known: it leaves behind the last of them */
#define HEAD_SLACK_MS 30000           /* a head takes at most this and the idle time, a body this and its length at */
#define BODY_BYTES_PER_MS 16

/* ---- routing ----------------------------------------------------------- */

/* Whether path fits the pattern; a trailing slash does not matter. segment:
 * where the text of the first "*" lies. */
static bool path_matches(const char *pattern, const char *path, const char **segment, size_t *segment_len)
{
    for (; *pattern; pattern++) {
        if (*pattern == '*') {
            size_t n = strcspn(path, "/");

            if (!n)
                return false;
            *segment = path;
            *segment_len = n;
            path += n;
        } else if (*pattern != *path++) {
            return false;
        }
    }
    return !*path || (path[0] == '/' && !path[1]);
}

/* The row for method and path, or NULL with the methods that the path takes in allow ("" : no such path). */
static const struct route *route_find(const struct route *routes, const char *method, const char *path, char **segment,
                                      char allow[static 64])
{
    const char *wanted = !strcmp(method, "HEAD") ? "GET" : method;

    *allow = 0;
    for (const struct route *row = routes; row->method; row++) {
        const char *at = "";
        size_t      len = 0;

        if (!path_matches(row->path, path, &at, &len))
            continue;
        if (!strcmp(row->method, wanted)) {
            *segment = len ? xmemdup(at, len) : NULL;
            return row;
        }
        snprintf(allow + strlen(allow), 64 - strlen(allow), "%s%s%s", *allow ? ", " : "", row->method,
                 strcmp(row->method, "GET") ? "" : ", HEAD");
    }
    return NULL;
}

/* ---- connections ----------------------------------------------------------- */

static void on_connection(void *ctx, struct MHD_Connection *connection, void **link,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http       *h = ctx;
    struct connection *c = *link;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        c = *link = xcalloc(1, sizeof *c);
        c->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        c->since_ms = mono_ms();
        c->next = h->connections;
        if (c->next)
            c->next->before = c;
        h->connections = c;
    } else if (c) {
        if (c->next)
            c->next->before = c->before;
        *(c->before ? &c->before->next : &h->connections) = c->next;
        free(c);
        *link = NULL;
    }
}

static void connection_enter(struct connection *c, int part)
{
    c->part = part;
    c->bytes = c->tick_bytes = 0;
    c->since_ms = mono_ms();
}

/* Each byte restarts libmicrohttpd's own clock; this one a client cannot restart. */
static bool is_slow(const struct http *h, const struct connection *c, int64_t now)
{
    int64_t patience = HEAD_SLACK_MS;

    patience += c->part == IN_HEAD ? h->config.idle_s * (int64_t)1000 : c->bytes / BODY_BYTES_PER_MS;
    return c->part != IN_ANSWER && now - c->since_ms > patience;
}

/* Whether the client has gone in the middle of its body. libmicrohttpd overlooks that when it reads the last bytes
 * and the end is there already: the socket tells of both at one time. */
static bool has_gone(struct connection *c)
{
    bool stands_still = c->part == IN_BODY && c->bytes == c->tick_bytes;
    char byte;

    c->tick_bytes = c->bytes;
    return stands_still && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void cut_connections(struct http *h)
{
    int64_t now = mono_ms();

    for (struct connection *c = h->connections; c; c = c->next) {
        bool is_our_turn = c->request && c->request->is_held;

        if (!is_our_turn && (is_slow(h, c, now) || has_gone(c)))
            shutdown(c->fd, SHUT_RDWR);
    }
}

/* ---- the head of a request ----------------------------------------------- */

/* What a head says about where its body ends. */
struct framing {
    int  lengths, encodings; /* headers that do */
    bool is_blurred;         /* a name holds a blank: others may read it as one that counts */
};

static enum MHD_Result see_header(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct framing *f = ctx;

    (void)kind, (void)value;
    f->lengths += !strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH);
    f->encodings += !strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    f->is_blurred |= name[strcspn(name, " \t")] != 0;
    return MHD_YES;
}

/* Refuses a head that can be read in two ways: a proxy in front of us may have read it in the other one, and taken
 * for a body what we would take for the next request. */
static bool is_framed(struct request *r)
{
    struct framing f = {0};

    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, see_header, &f);
    if (f.is_blurred)
        request_fail(r, ERR_REQUEST, "the name of a header holds a blank");
    else if (f.lengths + f.encodings > 1)
        request_fail(r, ERR_REQUEST,
                     "the request tells the end of its body twice: one Content-Length is taken, or "
                     "one Transfer-Encoding");
    r->is_misframed = r->is_answered;
    return !r->is_misframed;
}

/* ---- the life of a request ---------------------------------------------- */

static struct request *request_new(struct http *h, struct MHD_Connection *connection, const char *method,
                                   const char *path)
{
    struct request *r = xcalloc(1, sizeof *r);
    const char     *encoding;
    char            allow[64];

    r->http = h;
    r->connection = connection;
    r->start_us = mono_us();
    r->link = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    r->is_head = !strcmp(method, "HEAD");
    r->link->request = r;
    connection_enter(r->link, IN_BODY);
    encoding = request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    r->route = route_find(h->config.routes, method, path, &r->segment, allow);
    if (!is_framed(r)) {
        /* answered */
    } else if (h->is_refusing) {
        request_fail(r, ERR_BUSY, "this gateway is stopping");
    } else if (encoding && strcasecmp(encoding, "chunked") != 0) {
        request_fail(r, ERR_REQUEST, "the Transfer-Encoding is not chunked: nothing else is read");
    } else if (!r->route && *allow) {
        request_add_header(r, MHD_HTTP_HEADER_ALLOW, allow);
        request_fail(r, ERR_METHOD, "the Allow header lists the methods of this path");
    } else if (!r->route) {
        request_fail(r, ERR_NOT_FOUND, "no such path");
    } else if (h->config.auth && !r->route->is_open &&
               !auth_allows(h->config.auth, request_header(r, MHD_HTTP_HEADER_AUTHORIZATION))) {
        request_fail(r, ERR_KEY, "send a key that the gateway knows: Authorization: Bearer KEY");
    } else {
        r->has_started = true;
        if (r->route->handler->start)
            r->route->handler->start(r);
    }
    return r;
}

static enum MHD_Result request_queue(struct request *r)
{
    if (r->is_queued)
        return MHD_YES;
    r->is_queued = true;
    return MHD_queue_response(r->connection, (unsigned)r->status, r->response);
}

/* Whether an answer that came before the body can be given to libmicrohttpd at
 * once, which closes the connection: when the client waits for a word before it
 * sends the body, or nothing could end the body. Else the body is read and
 * dropped, since many clients send all before they look at an answer. */
static bool answers_at_once(const struct request *r)
{
    const char *encoding = request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING);

    return r->is_answered &&
           (request_header(r, MHD_HTTP_HEADER_EXPECT) || (encoding && strcasecmp(encoding, "chunked") != 0));
}

/* Whether so much of the body is still to come that its end is not worth waiting for with an answer. */
static bool is_far_from_end(const struct request *r)
{
    int64_t length = request_body_length(r);

    return length < 0 || length - r->link->bytes > REST_BYTES_MAX;
}

/* A piece of the body; false: no more of it is read, and the connection is cut. A body that was let in with its
 * length is read to its end even when it turns out to be wrong. */
static bool take_piece(struct request *r, const char *bytes, size_t len)
{
    bool was_let_in;

    r->link->bytes += (int64_t)len;
    if (r->is_answered || !r->route->handler->body) {
        r->dropped_bytes += len;
        was_let_in = r->dropped_bytes < (uint64_t)r->link->bytes && request_body_length(r) > 0;
        return r->dropped_bytes <= DROPPED_BYTES_MAX || (r->is_early && was_let_in);
    }
    r->route->handler->body(r, bytes, len);
    if (r->is_answered && r->text && is_far_from_end(r))
        request_send_early(r);
    return true;
}

/* Until the request is answered or released nothing more is received for it; small chunks that have been may still
 * be handed out, and find it suspended. */
static enum MHD_Result suspend(struct request *r)
{
    if (!r->is_suspended)
        MHD_suspend_connection(r->connection);
    r->is_suspended = true;
    return MHD_YES;
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
                                 const char *version, const char *bytes, size_t *len, void **state)
{
    struct request *r = *state;

    (void)version;
    if (!r) { /* the head has arrived */
        r = *state = request_new(ctx, connection, method, path);
        if (!r->is_misframed && answers_at_once(r))
            return request_queue(r);
        if (r->is_misframed || (r->is_answered && r->text && request_body_length(r) > DROPPED_BYTES_MAX))
            request_send_early(r);
        return MHD_YES;
    }
    if (r->http->is_refusing && !r->is_answered && !r->has_ended)
        request_fail(r, ERR_BUSY, "this gateway is stopping");
    if (*len) {
        bool is_wanted = take_piece(r, bytes, *len);

        *len = 0;
        if (is_wanted && r->is_held)
            return suspend(r);
        return is_wanted ? MHD_YES : MHD_NO;
    }
    r->link->part = IN_ANSWER;
    if (r->is_early)
        return MHD_NO;
    if (!r->is_answered && !r->has_ended) {
        r->route->handler->end(r);
        r->has_ended = !r->is_held;
    }
    return r->is_answered ? request_queue(r) : suspend(r);
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct request *r = *state;

    (void)ctx, (void)connection, (void)code;
    if (!r)
        return;
    connection_enter(r->link, IN_HEAD);
    r->link->request = NULL;
    if (r->has_started && r->route->handler->gone)
        r->route->handler->gone(r);
    r->http->streams -= r->is_stream;
    if (r->response)
        MHD_destroy_response(r->response);
    for (int i = 0; i < r->header_count; i++)
        free(r->headers[i].value);
    free(r->segment);
    free(r);
    *state = NULL;
}

/* ---- the daemon in the loop ---------------------------------------------- */

static void on_busy(uv_idle_t *busy) { (void)busy; }

void http_mark_dirty(struct http *h)
{
    h->is_dirty = true;
    uv_idle_start(&h->busy, on_busy);
}

/* One step for every connection that can move. What is left to do (a body of
 * which one piece was read, a pipelined request) is done in the next round, so
 * that no client keeps the loop to itself. */
static void run(struct http *h)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;

    h->is_dirty = false;
    uv_idle_stop(&h->busy);
    MHD_run(h->daemon);
    if (MHD_get_timeout(h->daemon, &timeout_ms) == MHD_YES && !timeout_ms)
        http_mark_dirty(h);
}

/* Also where it all happens when nothing was answered: the check phase is next. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    ((struct http *)poll->data)->is_dirty = true;
}

static void on_tick(uv_timer_t *tick)
{
    run(tick->data); /* first what has arrived: we may have stood still ourselves */
    cut_connections(tick->data);
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char       *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Undoes %-escapes in place, but for %00: an escaped NUL would cut the text short. */
static size_t unescape(void *ctx, struct MHD_Connection *connection, char *text)
{
    char *out = text;

    (void)ctx, (void)connection;
    for (const char *in = text; *in; in++) {
        int high = *in == '%' ? hex_digit(in[1]) : -1, low = high >= 0 ? hex_digit(in[2]) : -1;
        int byte = low >= 0 ? high * 16 + low : 0;

        *out++ = byte ? (char)byte : *in;
        in += byte ? 2 : 0;
    }
    *out = 0;
    return (size_t)(out - text);
}

static void on_check(uv_check_t *check)
{
    struct http *h = check->data;

    if (h->is_dirty)
        run(h);
}

enum err http_start(uv_loop_t *loop, const struct http_config *config, struct http **out, struct fault *why)
{
    struct http            *h;
    struct sockaddr_storage address;
    unsigned                flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO;

    if (address_read(config->listen, config->port, &address, why))
        return ERR_CONFIG;
    h = xcalloc(1, sizeof *h);
    h->config = *config;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    h->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_access, h, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
                         MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)config->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)CONNECTION_BYTES,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)config->idle_s, MHD_OPTION_LISTEN_BACKLOG_SIZE, 1024u,
                         MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1 /* else it would not sendfile */, MHD_OPTION_END);
    if (!h->daemon) {
        free(h);
        return fault_set(why, ERR_CONFIG, "cannot listen on %.60s port %d: is the port taken, or the address not here?",
                         config->listen, config->port);
    }
    h->epoll_fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    uv_poll_init(loop, &h->poll, h->epoll_fd);
    uv_check_init(loop, &h->check);
    uv_idle_init(loop, &h->busy);
    uv_timer_init(loop, &h->tick);
    h->poll.data = h->check.data = h->busy.data = h->tick.data = h;
    uv_poll_start(&h->poll, UV_READABLE, on_poll);
    uv_check_start(&h->check, on_check);
    uv_timer_start(&h->tick, on_tick, 1000, 1000);
    *out = h;
    return ERR_OK;
}

int http_port(const struct http *h) { return MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT)->port; }

int http_streams(const struct http *h) { return h->streams; }

void http_quiesce(struct http *h)
{
    int fd = MHD_quiesce_daemon(h->daemon);

    h->is_quiet = true;
    if (fd >= 0)
        close(fd);
}

void http_refuse(struct http *h) { h->is_refusing = true; }

static void on_closed(uv_handle_t *handle)
{
    struct http *h = handle->data;

    if (--h->open_handles == 0)
        free(h);
}

void http_stop(struct http *h)
{
    if (!h)
        return;
    for (struct connection *c = h->connections; c; c = c->next)
        if (c->request)
            request_release(c->request);
    run(h); /* answers on their way leave */
    uv_poll_stop(&h->poll);
    MHD_stop_daemon(h->daemon);
    h->open_handles = 4;
    uv_close((uv_handle_t *)&h->poll, on_closed);
    uv_close((uv_handle_t *)&h->check, on_closed);
    uv_close((uv_handle_t *)&h->busy, on_closed);
    uv_close((uv_handle_t *)&h->tick, on_closed);
}
