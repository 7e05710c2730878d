/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - HTTP on the event loop; hides libmicrohttpd.
 *
 * A request passes through its route's handler:
 *
 *   start (headers are there) -> body* (pieces as they arrive) -> end (all of it) -> gone
 *
 * Any of the first three may answer; if none has when end returns, the request
 * waits, and may be answered later from any callback of the loop. gone is
 * called exactly once, last. A body that follows an answer is read and dropped;
 * where much of it is still to come the answer leaves at once, and the
 * connection closes behind them.
 *
 * A handler that is busy with what has come holds its request: until it is
 * released no more of the body is received (some small chunks that have been
 * may still come), nor its end told; one that is held by its end is told of the
 * end again. A stopping server releases all.
 *
 * A head that tells the end of its body in more than one way is refused, and
 * its connection closes: nothing behind it is taken for a request.
 *
 * A client that delivers its request slower than 30 s and 16 KiB/s is cut off;
 * a request that waits for its answer may wait for ever.
 *
 * Answers of any length are produced while they are sent, one block for each
 * client in each round of the loop, and only as its socket takes them: a slow
 * reader costs a block and what its source holds, and delays nobody. He is cut
 * off when his socket took nothing for the idle time; of such answers there are
 * streams_max at one time, more are told to come later (503).
 */
#ifndef MILLRACE_HTTP_H
#define MILLRACE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/buf.h"
#include "common/err.h"

struct http;    /* one listening socket */
struct request; /* lives from start to gone */
struct gateway;
struct metrics;
struct auth;

struct handler {
    void (*start)(struct request *r);                               /* may be NULL */
    void (*body)(struct request *r, const char *bytes, size_t len); /* NULL: the body is dropped */
    void (*end)(struct request *r);                                 /* NULL only if start always answers */
    void (*gone)(struct request *r);                                /* may be NULL */
};

/* One row per method and path. A segment "*" matches any one segment, whose
 * text request_segment returns. */
struct route {
    const char           *method;
    const char           *path;
    const struct handler *handler;
    const char           *kind;  /* submitting routes: the kind, NULL: it is the path's segment */
    const char           *media; /* submitting routes: what a body is that says nothing; it is to be one that the
                                    kind has a reader for. NULL: raw bytes are taken too */
    bool is_open;                /* answered without a key */
};

struct http_config {
    const char         *listen; /* address, v4 or v6, borrowed */
    int                 port;   /* 0: any */
    int                 connections_max;
    int                 streams_max; /* streamed answers at one time: each holds a descriptor or a block */
    int                 idle_s;
    const struct route *routes;  /* ends with method NULL, borrowed */
    struct gateway     *gateway; /* handed to handlers by request_gateway */
    struct metrics     *metrics; /* NULL: requests are not counted */
    const struct auth  *auth;    /* NULL: no keys */
};

/* The program ignores SIGPIPE. */
enum err http_start(uv_loop_t *loop, const struct http_config *config, struct http **out, struct fault *why) MUST_CHECK;
int      http_port(const struct http *h);
int      http_streams(const struct http *h); /* streamed answers under way */

/* No new connections; those that are there get one more answer each. */
void http_quiesce(struct http *h);

/* From now on every new request is answered 503; those under way go on. */
void http_refuse(struct http *h);

/* Every waiting request must have been answered. Accepts NULL. */
void http_stop(struct http *h);

/* ---- what a handler may ask ------------------------------------------- */

struct gateway     *request_gateway(const struct request *r);
const struct route *request_route(const struct request *r);
const char         *request_segment(const struct request *r); /* text of the first "*", "" without one */
const char         *request_header(const struct request *r, const char *name); /* NULL: absent */
const char         *request_query(const struct request *r, const char *name);  /* NULL: absent */
int64_t             request_body_length(const struct request *r); /* Content-Length, -1: chunked; 0: no body */
bool                request_is_answered(const struct request *r);
bool                request_is_head(const struct request *r); /* HEAD, on a GET route */

/* Calls fn for each query parameter in order, value "" without one; stops at the first error. */
enum err request_each_query(struct request *r,
                            enum err (*fn)(void *ctx, const char *name, const char *value, struct fault *why),
                            void *ctx, struct fault *why);

/* From body or end only: holds the request, see above. */
void request_hold(struct request *r);

/* From any callback of the loop; nothing happens to a request that is not held. */
void request_release(struct request *r);

/* The handler's own state, NULL at start. */
void  request_set_state(struct request *r, void *state);
void *request_state(const struct request *r);

/* ---- how it is answered ----------------------------------------------- */

/* One more header of the coming answer; name is static, value is copied. At most 8. */
void request_add_header(struct request *r, const char *name, const char *value);

/* Answers: body is taken (emptied). content_type is static, or once the body has come borrowed. The second answer to a
 * request is ignored. */
void request_answer(struct request *r, int status, const char *content_type, struct buf *body);

/* Where the bytes of an answer come from while it is sent. */
struct http_source {
    void *ctx;
    /* Up to len (> 0) bytes at offset of the answer, asked for in order; 0: the end, -1: it broke off, and so does
     * the answer: the connection is closed so that the client can tell. Called from the loop: it must not wait. */
    int64_t (*read)(void *ctx, uint64_t offset, char *out, size_t len);
    void (*close)(void *ctx); /* once, whatever became of the answer and the client; may come after gone */
};

/* Answers with size bytes of the source, or with what comes until its end (size -1: chunked). source is copied,
 * its ctx taken; HEAD reads nothing of it, and where the size is unknown ends the connection. */
void request_answer_stream(struct request *r, int status, const char *content_type, int64_t size,
                           const struct http_source *source);

/* Answers with size bytes of a file from offset on, straight from the kernel. fd is taken. */
void request_answer_file(struct request *r, int status, const char *content_type, int fd, int64_t offset, int64_t size);

/* Answers with the headers added so far and no body: 204. */
void request_answer_empty(struct request *r, int status);

/* Answers 304 Not Modified: the headers added so far, no body. size: of the body that 200 would have; -1: unknown. */
void request_answer_unmodified(struct request *r, int64_t size);

/* Answers with application/problem+json (RFC 9457): the row of err.def and the detail. */
void request_fail(struct request *r, enum err err, const char *detail);
void request_fail_why(struct request *r, const struct fault *why);

#endif
