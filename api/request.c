/* SPDX-License-Identifier: Apache-2.0 */
/* request.c - what a handler may ask of its request, and how it answers it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/http_impl.h"
#include "common/clock.h"
#include "common/metrics.h"

#define BLOCK_BYTES (128u << 10) /* of a streamed answer: what one client gets in one round of the loop */

/* ---- counting ---------------------------------------------------------- */

static void count_request(struct http *h, const struct request *r)
{
    const char          *method = r->route ? r->route->method : "any", *path = r->route ? r->route->path : "none";
    struct route_counts *c = &h->counts[r->route ? r->route - h->config.routes : ROUTES_MAX];
    int                  i = 0;
    char                 labels[128];

    if (!h->config.metrics)
        return;
    if (!c->seconds) {
        snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\"", method, path);
        c->seconds = metrics_series(h->config.metrics, METRIC_HTTP_SECONDS, labels);
    }
    while (i < STATUS_SLOTS - 1 && c->by_status[i].count && c->by_status[i].status != r->status)
        i++;
    if (!c->by_status[i].count) {
        snprintf(labels, sizeof labels, "method=\"%s\",route=\"%s\",code=\"%d\"", method, path, r->status);
        c->by_status[i].count = metrics_series(h->config.metrics, METRIC_HTTP_REQUESTS, labels);
        c->by_status[i].status = r->status;
    }
    series_add(c->by_status[i].count, 1);
    series_observe(c->seconds, (double)(mono_us() - r->start_us) / 1e6);
}

/* ---- answering --------------------------------------------------------- */

void request_add_header(struct request *r, const char *name, const char *value)
{
    if (r->is_answered || r->header_count == HEADERS_MAX)
        return;
    r->headers[r->header_count].name = name;
    r->headers[r->header_count++].value = xstrdup(value);
}

static void wake(struct request *r)
{
    if (!r->is_suspended)
        return;
    r->is_suspended = false;
    MHD_resume_connection(r->connection);
    http_mark_dirty(r->http);
}

void request_hold(struct request *r)
{
    if (!r->is_held)
        r->held_ms = mono_ms();
    r->is_held = true;
}

/* The time was ours: it must not make the client a slow one. */
void request_release(struct request *r)
{
    if (!r->is_held)
        return;
    r->is_held = false;
    r->link->since_ms += mono_ms() - r->held_ms;
    wake(r);
}

/* Gives the response (taken) to the request, which has none yet. content_type NULL: no body. */
static void respond(struct request *r, int status, const char *content_type, struct MHD_Response *response)
{
    r->response = response;
    if (content_type)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    for (int i = 0; i < r->header_count; i++)
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    if (r->http->is_quiet)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    r->status = status;
    r->is_answered = true;
    count_request(r->http, r);
    r->is_held = false;
    wake(r);
}

void request_answer(struct request *r, int status, const char *content_type, struct buf *body)
{
    size_t len = body->len;
    char  *text;

    if (r->is_answered) {
        buf_free(body);
        return;
    }
    text = buf_detach(body);
    r->content_type = content_type;
    r->text = text;
    r->text_len = len;
    respond(r, status, content_type, MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE));
}

void request_send_early(struct request *r)
{
    struct buf out = {0};

    buf_printf(&out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", r->status,
               MHD_get_reason_phrase_for((unsigned)r->status), r->content_type, r->text_len);
    for (int i = 0; i < r->header_count; i++)
        buf_printf(&out, "%s: %s\r\n", r->headers[i].name, r->headers[i].value);
    buf_text(&out, "\r\n");
    if (!r->is_head)
        buf_append(&out, r->text, r->text_len);
    /* Nothing was sent before, so there is room; or the client has gone. The end is told, too: one who goes on
     * sending is then refused in a way that lets him read what he has got. */
    if (send(r->link->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)out.len)
        shutdown(r->link->fd, SHUT_RDWR);
    else
        shutdown(r->link->fd, SHUT_WR);
    r->is_early = true;
    buf_free(&out);
}

static ssize_t on_read(void *ctx, uint64_t offset, char *out, size_t len)
{
    const struct http_source *source = ctx;
    int64_t                   got = source->read(source->ctx, offset, out, len);

    return got > 0 ? (ssize_t)got : got ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
}

static void on_read_end(void *ctx)
{
    struct http_source *source = ctx;

    source->close(source->ctx);
    free(source);
}

/* Whether there may be one more answer of this sort; a refusal is answered. */
static bool stream_begin(struct request *r)
{
    if (r->is_answered)
        return false;
    if (r->http->streams >= r->http->config.streams_max) {
        request_fail(r, ERR_BUSY, "too many long answers are on their way; try again later");
        return false;
    }
    r->is_stream = true;
    r->http->streams++;
    return true;
}

void request_answer_stream(struct request *r, int status, const char *content_type, int64_t size,
                           const struct http_source *source)
{
    struct http_source  *own = xmemdup(source, sizeof *source);
    struct MHD_Response *response = NULL;

    if (stream_begin(r))
        response = MHD_create_response_from_callback(size < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)size, BLOCK_BYTES, on_read,
                                                     own, on_read_end);
    if (response && size < 0 && r->is_head) /* else the last chunk of no chunks would follow the head */
        MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END);
    if (response) {
        respond(r, status, content_type, response);
        return;
    }
    on_read_end(own);
    request_fail(r, ERR_MEMORY, "no memory for a block of the answer");
}

void request_answer_file(struct request *r, int status, const char *content_type, int fd, int64_t offset, int64_t size)
{
    struct MHD_Response *response = NULL;

    if (stream_begin(r))
        response = MHD_create_response_from_fd_at_offset64((uint64_t)size, fd, (uint64_t)offset);
    if (response) {
        posix_fadvise(fd, offset, size, POSIX_FADV_SEQUENTIAL);
        respond(r, status, content_type, response);
        return;
    }
    close(fd);
    request_fail(r, ERR_MEMORY, "no memory for the answer");
}

void request_answer_empty(struct request *r, int status)
{
    if (!r->is_answered)
        respond(r, status, NULL, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

static ssize_t on_read_none(void *ctx, uint64_t offset, char *out, size_t len)
{
    (void)ctx, (void)offset, (void)out, (void)len;
    return MHD_CONTENT_READER_END_OF_STREAM;
}

/* libmicrohttpd writes the length of a body that it does not send. */
void request_answer_unmodified(struct request *r, int64_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_callback(size < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)size, 1, on_read_none, NULL, NULL);

    if (!response) {
        request_fail(r, ERR_MEMORY, "no memory for the answer");
        return;
    }
    if (size < 0)
        MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END);
    respond(r, 304, NULL, response);
}

void request_fail(struct request *r, enum err err, const char *detail)
{
    struct buf body = {0};

    buf_printf(&body, "{\"type\":\"urn:millrace:error:%s\",\"title\":", err_code(err));
    buf_json(&body, err_sentence(err));
    buf_printf(&body, ",\"status\":%d,\"code\":\"%s\",\"detail\":", err_http(err), err_code(err));
    buf_json(&body, detail);
    buf_text(&body, "}\n");
    if (err_http(err) == 503)
        request_add_header(r, "Retry-After", "2");
    if (err == ERR_KEY)
        request_add_header(r, "WWW-Authenticate", "Bearer");
    request_answer(r, err_http(err), "application/problem+json", &body);
}

void request_fail_why(struct request *r, const struct fault *why) { request_fail(r, why->err, why->detail); }

/* ---- asking ------------------------------------------------------------ */

struct gateway     *request_gateway(const struct request *r) { return r->http->config.gateway; }
const struct route *request_route(const struct request *r) { return r->route; }
const char         *request_segment(const struct request *r) { return r->segment ? r->segment : ""; }
bool                request_is_answered(const struct request *r) { return r->is_answered; }
bool                request_is_head(const struct request *r) { return r->is_head; }
void                request_set_state(struct request *r, void *state) { r->state = state; }
void               *request_state(const struct request *r) { return r->state; }

const char *request_header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

const char *request_query(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

int64_t request_body_length(const struct request *r)
{
    const char *text = request_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);

    if (request_header(r, MHD_HTTP_HEADER_TRANSFER_ENCODING))
        return -1;
    return text ? strtoll(text, NULL, 10) : 0;
}

struct each_query {
    enum err (*fn)(void *ctx, const char *name, const char *value, struct fault *why);
    void         *ctx;
    struct fault *why;
    enum err      err;
};

static enum MHD_Result each_query(void *ctx, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct each_query *each = ctx;

    (void)kind;
    each->err = each->fn(each->ctx, name, value ? value : "", each->why);
    return each->err ? MHD_NO : MHD_YES;
}

enum err request_each_query(struct request *r,
                            enum err (*fn)(void *ctx, const char *name, const char *value, struct fault *why),
                            void *ctx, struct fault *why)
{
    struct each_query each = {fn, ctx, why, ERR_OK};

    MHD_get_connection_values(r->connection, MHD_GET_ARGUMENT_KIND, each_query, &each);
    return each.err;
}
