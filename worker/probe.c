/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - see the header. */
#include "worker/probe.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "common/address.h"
#include "common/library.h"

#define CONNECTIONS_MAX 16
#define IDLE_S 10
#define CONNECTION_BYTES 4096 /* of a head; no request here has a body */
#define STEPS_MAX 64          /* of libmicrohttpd in one round of the loop */

/* ---- libmicrohttpd -------------------------------------------------------------- */

static struct {
    struct MHD_Daemon *(*start_daemon)(unsigned flags, uint16_t port, MHD_AcceptPolicyCallback, void *,
                                       MHD_AccessHandlerCallback, void *, ...);
    void (*stop_daemon)(struct MHD_Daemon *);
    enum MHD_Result (*run)(struct MHD_Daemon *);
    enum MHD_Result (*get_timeout)(struct MHD_Daemon *, MHD_UNSIGNED_LONG_LONG *);
    const union MHD_DaemonInfo *(*get_daemon_info)(struct MHD_Daemon *, enum MHD_DaemonInfoType, ...);
    struct MHD_Response *(*create_response_from_buffer)(size_t, void *, enum MHD_ResponseMemoryMode);
    enum MHD_Result (*add_response_header)(struct MHD_Response *, const char *, const char *);
    enum MHD_Result (*queue_response)(struct MHD_Connection *, unsigned, struct MHD_Response *);
    void (*destroy_response)(struct MHD_Response *);
} mhd;

#define FUNCTION(name)                                                                                                 \
    {                                                                                                                  \
        "MHD_" #name, (size_t)((char *)&mhd.name - (char *)&mhd)                                                       \
    }

static enum err load(struct fault *why)
{
    const struct library_function functions[] = {
        FUNCTION(start_daemon),        FUNCTION(stop_daemon),     FUNCTION(run),
        FUNCTION(get_timeout),         FUNCTION(get_daemon_info), FUNCTION(create_response_from_buffer),
        FUNCTION(add_response_header), FUNCTION(queue_response),  FUNCTION(destroy_response),
    };

    return mhd.run ? ERR_OK
                   : library_load("libmicrohttpd.so.12", "MILLRACE_PROBE_PORT", functions,
                                  sizeof functions / sizeof *functions, &mhd, why);
}
#undef FUNCTION

/* ---- answers -------------------------------------------------------------------- */

struct probe {
    struct probe_config config;
    struct MHD_Daemon  *daemon;
    uv_poll_t           poll;
};

static void say_health(const struct probe *p, unsigned *status, struct buf *out)
{
    (void)p;
    *status = MHD_HTTP_OK;
    buf_text(out, "ok\n");
}

static void say_ready(const struct probe *p, unsigned *status, struct buf *out)
{
    bool is_ready = p->config.is_ready(p->config.ctx);

    *status = is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
    buf_text(out, is_ready ? "ready\n" : "no consumer is confirmed by the broker, or the worker is stopping\n");
}

static void say_metrics(const struct probe *p, unsigned *status, struct buf *out)
{
    *status = MHD_HTTP_OK;
    p->config.write_metrics(p->config.ctx, out);
}

static const struct {
    const char *path, *type;
    void (*say)(const struct probe *p, unsigned *status, struct buf *out);
} pages[] = {
    {"/healthz", "text/plain", say_health},
    {"/readyz", "text/plain", say_ready},
    {"/metrics", "text/plain; version=0.0.4", say_metrics},
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type, struct buf *text)
{
    size_t               len = text->len;
    struct MHD_Response *response = mhd.create_response_from_buffer(len, buf_detach(text), MHD_RESPMEM_MUST_FREE);
    enum MHD_Result      result;

    if (!response)
        return MHD_NO;
    mhd.add_response_header(response, "Content-Type", type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        mhd.add_response_header(response, "Allow", "GET, HEAD");
    result = mhd.queue_response(connection, status, response);
    mhd.destroy_response(response);
    return result;
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *connection, const char *path, const char *method,
                                 const char *version, const char *body, size_t *body_len, void **link)
{
    struct buf text = {0};
    unsigned   status = MHD_HTTP_NOT_FOUND;
    size_t     i = 0;

    (void)version, (void)body, (void)link;
    if (*body_len) { /* what comes is of no interest; the answer follows behind it */
        *body_len = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        buf_text(&text, "only GET and HEAD\n");
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", &text);
    }
    while (i < sizeof pages / sizeof *pages && strcmp(pages[i].path, path) != 0)
        i++;
    if (i == sizeof pages / sizeof *pages) {
        buf_text(&text, "there are /healthz, /readyz and /metrics\n");
        return answer(connection, status, "text/plain", &text);
    }
    pages[i].say(ctx, &status, &text);
    return answer(connection, status, pages[i].type, &text);
}

/* ---- life ------------------------------------------------------------------------- */

static void run(struct probe *p)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    int                    steps = 0;

    do
        mhd.run(p->daemon);
    while (++steps < STEPS_MAX && mhd.get_timeout(p->daemon, &timeout_ms) == MHD_YES && !timeout_ms);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    run(poll->data);
}

enum err probe_open(uv_loop_t *loop, const struct probe_config *config, struct probe **out, struct fault *why)
{
    unsigned                flags = MHD_USE_EPOLL;
    struct sockaddr_storage address;
    struct probe           *p;

    if (address_read(config->listen, config->port, &address, why) || load(why))
        return ERR_CONFIG;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    p = xcalloc(1, sizeof *p);
    p->config = *config;
    p->daemon =
        mhd.start_daemon(flags, 0, NULL, NULL, on_access, p, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_END);
    if (!p->daemon) {
        free(p);
        return fault_set(why, ERR_CONFIG, "cannot listen on %.60s port %d: is the port taken, or the address not here?",
                         config->listen, config->port);
    }
    uv_poll_init(loop, &p->poll, mhd.get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    p->poll.data = p;
    uv_poll_start(&p->poll, UV_READABLE, on_poll);
    *out = p;
    return ERR_OK;
}

void probe_tick(struct probe *p)
{
    if (p)
        run(p);
}

static void on_closed(uv_handle_t *handle) { free(handle->data); }

void probe_close(struct probe *p)
{
    if (!p)
        return;
    uv_poll_stop(&p->poll);
    mhd.stop_daemon(p->daemon);
    uv_close((uv_handle_t *)&p->poll, on_closed);
}
