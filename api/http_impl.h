/* SPDX-License-Identifier: Apache-2.0 */
/* http_impl.h - what http.c (the daemon in the loop, the life of a request) and
 * request.c (asking and answering) share; for these two alone. */
#ifndef MILLRACE_HTTP_IMPL_H
#define MILLRACE_HTTP_IMPL_H

#include <microhttpd.h>

#include "api/http.h"

#define HEADERS_MAX 8
#define ROUTES_MAX 40
#define STATUS_SLOTS 12

struct series;

struct route_counts {
    struct series *seconds;
    struct {
        int            status;
        struct series *count;
    } by_status[STATUS_SLOTS];
};

struct http {
    struct MHD_Daemon  *daemon;
    struct http_config  config;
    uv_poll_t           poll;
    uv_check_t          check;
    uv_idle_t           busy; /* active while there is more to do: the loop then does not sleep */
    uv_timer_t          tick; /* idle connections are found by running now and then */
    bool                is_dirty;
    bool                is_quiet; /* quiesced: each answer closes its connection */
    bool                is_refusing;
    int                 open_handles;
    int                 streams; /* answers under way that are streamed or sent from a file */
    int                 epoll_fd;
    struct connection  *connections;
    struct route_counts counts[ROUTES_MAX + 1]; /* the last: no route */
};

/* One client's connection: how long it has been delivering the present request. */
struct connection {
    struct connection *next, *before;
    struct request    *request; /* the present one, NULL in a head */
    int                fd;
    int64_t            since_ms;   /* mono; when it was opened, or its last request ended, or the present head came */
    int64_t            bytes;      /* of the body since then */
    int64_t            tick_bytes; /* of these, what had come at the last tick */
    enum { IN_HEAD, IN_BODY, IN_ANSWER } part;
};

struct request {
    struct http           *http;
    struct MHD_Connection *connection;
    struct connection     *link;
    const struct route    *route;
    bool                   is_head;
    bool                   is_misframed; /* nobody knows where it ends: its connection closes behind the refusal */
    char                  *segment;      /* owned */
    void                  *state;
    bool                   has_started; /* start was called, gone is owed */
    bool                   has_ended;   /* end was called */
    bool                   is_answered; /* response is set */
    bool                   is_held;
    int64_t                held_ms; /* mono; since when */
    bool                   is_suspended;
    bool                   is_stream; /* counts in streams */
    bool                   is_queued; /* response was handed to libmicrohttpd */
    bool                   is_early;  /* it was sent past libmicrohttpd, which may only drop the body yet */
    int                    status;
    struct MHD_Response   *response;
    const char            *content_type, *text; /* of a response that is in memory: what it has, borrowed; or NULL */
    size_t                 text_len;
    uint64_t               dropped_bytes;
    int64_t                start_us;
    int                    header_count;
    struct {
        const char *name;
        char       *value;
    } headers[HEADERS_MAX];
};

/* Sends the answer, which is in memory, while the body is still coming: libmicrohttpd would first wait for its end.
 * The connection has to be closed behind the body. */
void request_send_early(struct request *r);

/* There is something for MHD_run: the loop must not sleep before its next check phase. */
void http_mark_dirty(struct http *h);

#endif
