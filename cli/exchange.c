/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.c - see the header. */
#include "cli/exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/text.h"

#define CONNECT_MAX_MS 10000L
#define CONNECT_SOON_MS 3000L /* where another gateway may answer sooner */
#define PROBE_IDLE_S 10L      /* a machine that is gone is found out in a long poll, too */
#define PROBE_EACH_S 3L
#define STILL_BYTES 1L   /* fewer a second ... */
#define STILL_MAX_S 150L /* ... for so long: given up. A long poll says nothing for a minute */
#define BUFFER_BYTES (256L * 1024)
#define ANSWER_BYTES_MAX (16u * 1024 * 1024)

/* ---- reasons ------------------------------------------------------------------- */

static void PRINTF_LIKE(3, 4) set_outcome(struct transfer *t, enum outcome outcome, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(t->reason, sizeof t->reason, fmt, args);
    va_end(args);
    text_tame(t->reason, strlen(t->reason)); /* what others said may go to a terminal */
    t->outcome = outcome;
}

static void local_fault(struct exchange *x, const char *file, const char *what)
{
    x->is_settled = true;
    set_outcome(x->t, EXIT_LOCAL, "%s: %s", file, what);
}

static long status_of(const struct exchange *x)
{
    long status = 0;

    curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* ---- the body ------------------------------------------------------------------ */

/* Standard input that cannot be opened by its name, a socket of sshd or somebody else's pipe, can be read all the same.
 */
static int open_to_read(const char *name)
{
    int fd = open(name, O_RDONLY | O_CLOEXEC);

    return fd < 0 && !strcmp(name, "/dev/stdin") ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : fd;
}

static bool open_outgoing(struct exchange *x, const char *name)
{
    struct outgoing *f = &x->files[x->file_count];
    struct stat      st;

    *f = (struct outgoing){x, name, open_to_read(name), -1, 0};
    if (f->fd < 0) {
        local_fault(x, name, strerror(errno));
        return false;
    }
    x->file_count++;
    if (fstat(f->fd, &st)) {
        local_fault(x, name, strerror(errno));
        return false;
    }
    if (S_ISDIR(st.st_mode)) {
        local_fault(x, name, strerror(EISDIR));
        return false;
    }
    if (S_ISREG(st.st_mode))
        f->size = st.st_size;
    return true;
}

static size_t on_read(char *out, size_t size, size_t count, void *ctx)
{
    struct outgoing *f = ctx;
    size_t           len = size * count;
    ssize_t          got;

    if (status_of(f->exchange) >= 400)
        return 0; /* refused: what else is sent could only break the connection before the reason is read */
    if (f->size >= 0 && (curl_off_t)len > f->size - f->at)
        len = (size_t)(f->size - f->at);
    if (!len)
        return 0;
    do
        got = read(f->fd, out, len);
    while (got < 0 && errno == EINTR);
    if (got < 0 || (!got && f->size >= 0)) {
        local_fault(f->exchange, f->name, got < 0 ? strerror(errno) : "became shorter while it was sent");
        return CURL_READFUNC_ABORT;
    }
    f->at += got;
    f->exchange->t->sent += (uint64_t)got;
    f->exchange->is_consumed |= f->size < 0;
    return (size_t)got;
}

/* libcurl sends the body again when a connection that it kept turns out to be closed. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct outgoing *f = ctx;

    if (f->size < 0 || origin != SEEK_SET || lseek(f->fd, offset, SEEK_SET) < 0)
        return CURL_SEEKFUNC_CANTSEEK;
    f->exchange->t->sent -= (uint64_t)(f->at - offset);
    f->at = offset;
    return CURL_SEEKFUNC_OK;
}

static bool set_file(struct exchange *x)
{
    struct outgoing *f = x->files;

    if (!open_outgoing(x, x->t->body_file))
        return false;
    curl_easy_setopt(x->easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(x->easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(x->easy, CURLOPT_READDATA, f);
    curl_easy_setopt(x->easy, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(x->easy, CURLOPT_SEEKDATA, f);
    curl_easy_setopt(x->easy, CURLOPT_INFILESIZE_LARGE, f->size);
    if (f->size < 0 || f->size > BUFFER_BYTES) /* else libcurl's own is enough */
        curl_easy_setopt(x->easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    return true;
}

static bool set_form(struct exchange *x)
{
    x->mime = curl_mime_init(x->easy);
    for (const struct form_part *p = x->t->form; p->name && x->file_count < FORM_PARTS_MAX; p++) {
        struct outgoing *f = &x->files[x->file_count];
        const char      *slash = strrchr(p->file, '/');
        curl_mimepart   *part;

        if (!open_outgoing(x, p->file))
            return false;
        part = curl_mime_addpart(x->mime);
        curl_mime_name(part, p->name);
        curl_mime_filename(part, slash ? slash + 1 : p->file);
        curl_mime_data_cb(part, f->size, on_read, on_seek, NULL, f);
    }
    curl_easy_setopt(x->easy, CURLOPT_MIMEPOST, x->mime);
    curl_easy_setopt(x->easy, CURLOPT_UPLOAD_BUFFERSIZE, BUFFER_BYTES);
    return true;
}

static bool set_body(struct exchange *x)
{
    struct transfer *t = x->t;

    t->sent = 0;
    if (t->form)
        return set_form(x);
    if (t->body_file)
        return set_file(x);
    if (t->body || !strcmp(t->method, "POST")) {
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_len);
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDS, t->body ? t->body : "");
    }
    return true;
}

/* ---- the answer ------------------------------------------------------------------ */

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    size_t           len = size * count;

    if (len > 5 && !strncmp(line, "HTTP/", 5)) {
        x->etag_now[0] = '\0';
    } else if (len > 5 && !strncasecmp(line, "ETag:", 5)) {
        size_t from = 5 + strspn(line + 5, " \t"), to = len; /* the line end stops strspn */

        while (to > from && strchr(" \t\r\n", line[to - 1]))
            to--;
        if (to - from < sizeof x->etag_now) {
            memcpy(x->etag_now, line + from, to - from);
            x->etag_now[to - from] = '\0';
        }
    }
    return len;
}

static bool open_into(struct exchange *x)
{
    if (x->into_fd < 0)
        x->into_fd = open(x->t->into, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (x->into_fd < 0)
        local_fault(x, x->t->into, strerror(errno));
    return x->into_fd >= 0;
}

/* The first bytes of a whole answer: what an earlier attempt brought does not count. */
static bool begin_again(struct exchange *x)
{
    struct transfer *t = x->t;

    strcpy(x->etag, x->etag_now);
    if (!t->received)
        return true;
    if (!t->into) {
        set_outcome(t, EXIT_AWAY, "the answer broke off after %llu bytes, and cannot be had from there on",
                    (unsigned long long)t->received);
        x->is_settled = true;
        return false;
    }
    if (ftruncate(x->into_fd, 0) || lseek(x->into_fd, 0, SEEK_SET) < 0) {
        local_fault(x, t->into, strerror(errno));
        return false;
    }
    t->received = x->received_before = 0;
    return true;
}

static bool write_all(struct exchange *x, const char *bytes, size_t len)
{
    struct transfer *t = x->t;
    int              fd = t->into ? x->into_fd : t->into_fd;

    while (len) {
        ssize_t put = write(fd, bytes, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            local_fault(x, t->into ? t->into : "output", strerror(errno));
            return false;
        }
        bytes += put;
        len -= (size_t)put;
        t->received += (uint64_t)put;
    }
    return true;
}

static size_t on_write(char *bytes, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    struct transfer *t = x->t;
    size_t           len = size * count;
    long             status = status_of(x);

    if (status / 100 == 2 && (t->into || t->into_fd >= 0)) {
        if (t->into && !open_into(x))
            return 0;
        if (status != 206 && t->received == x->received_before && !begin_again(x))
            return 0;
        return write_all(x, bytes, len) ? len : 0;
    }
    if (t->answer.len + len > ANSWER_BYTES_MAX) {
        x->is_too_long = true;
        return 0;
    }
    buf_append(&t->answer, bytes, len);
    return len;
}

/* ---- begin ------------------------------------------------------------------------ */

static void add_header(struct exchange *x, const char *name, const char *value)
{
    struct buf line = {0};
    char      *text;

    buf_printf(&line, "%s:%s%s", name, *value ? " " : "", value);
    text = buf_detach(&line);
    x->headers = curl_slist_append(x->headers, text);
    free(text);
}

static void set_headers(struct exchange *x, const char *bearer)
{
    struct transfer *t = x->t;
    char             range[48];

    add_header(x, "Expect", ""); /* a refusal is read while the body goes out: nobody waits for a word before */
    add_header(x, "Accept", t->accept ? t->accept : "*/*");
    if (!t->form)
        add_header(x, "Content-Type", t->content_type ? t->content_type : "");
    if (t->idempotency)
        add_header(x, "Idempotency-Key", t->idempotency);
    if (bearer)
        x->headers = curl_slist_append(x->headers, bearer);
    if (t->received && *x->etag) {
        snprintf(range, sizeof range, "bytes=%llu-", (unsigned long long)t->received);
        add_header(x, "Range", range);
        add_header(x, "If-Range", x->etag);
    }
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
}

bool exchange_begin(struct exchange *x, const char *url, const char *bearer)
{
    struct transfer *t = x->t;
    struct buf       whole = {0};

    t->answer.len = 0;
    t->status = 0;
    t->code[0] = t->type[0] = x->error[0] = x->etag_now[0] = '\0';
    x->received_before = t->received;
    x->retry_after_ms = -1;
    buf_printf(&whole, "%s%s", url, t->path.data);
    curl_easy_setopt(x->easy, CURLOPT_URL, whole.data);
    buf_free(&whole);
    if (!set_body(x))
        return false;
    set_headers(x, bearer);
    curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, t->method);
    curl_easy_setopt(x->easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(x->easy, CURLOPT_PRIVATE, x);
    curl_easy_setopt(x->easy, CURLOPT_USERAGENT, "millrace/" MILLRACE_VERSION);
    curl_easy_setopt(x->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(x->easy, CURLOPT_NOPROXY, "*"); /* a gateway is one's own */
    curl_easy_setopt(x->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(x->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(x->easy, CURLOPT_TCP_KEEPIDLE, PROBE_IDLE_S);
    curl_easy_setopt(x->easy, CURLOPT_TCP_KEEPINTVL, PROBE_EACH_S);
    curl_easy_setopt(x->easy, CURLOPT_CONNECTTIMEOUT_MS, x->has_others ? CONNECT_SOON_MS : CONNECT_MAX_MS);
    curl_easy_setopt(x->easy, CURLOPT_LOW_SPEED_LIMIT, STILL_BYTES);
    curl_easy_setopt(x->easy, CURLOPT_LOW_SPEED_TIME, STILL_MAX_S);
    if (t->into || t->into_fd >= 0)
        curl_easy_setopt(x->easy, CURLOPT_BUFFERSIZE, BUFFER_BYTES);
    curl_easy_setopt(x->easy, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(x->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(x->easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(x->easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(x->easy, CURLOPT_WRITEDATA, x);
    return true;
}

/* ---- end -------------------------------------------------------------------------- */

/* "422 ragged-row: row 7312 of A ..." out of the problem. False: there is none, and the reason says so. */
static bool read_problem(struct exchange *x, const char *url)
{
    struct transfer *t = x->t;
    json_t          *doc = json_loadb(t->answer.data ? t->answer.data : "", t->answer.len, 0, NULL);
    const char      *code = json_string_value(json_object_get(doc, "code"));
    const char      *detail = json_string_value(json_object_get(doc, "detail"));

    if (code && detail) {
        snprintf(t->code, sizeof t->code, "%s", code);
        set_outcome(t, t->outcome, "%d %s: %s", t->status, code, detail);
    } else {
        set_outcome(t, t->outcome, "%s answered %d, and not as a gateway does", url, t->status);
    }
    json_decref(doc);
    return *t->code;
}

static void read_answer(struct exchange *x)
{
    struct transfer *t = x->t;
    const char      *type = NULL;
    curl_off_t       seconds = 0;

    t->status = (int)status_of(x);
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(x->easy, CURLINFO_RETRY_AFTER, &seconds);
    if (type)
        snprintf(t->type, sizeof t->type, "%.*s", (int)strcspn(type, "; "), type);
    text_tame(t->type, strlen(t->type));
    if (seconds > 0)
        x->retry_after_ms = (seconds < 86400 ? (int64_t)seconds : 86400) * 1000;
    buf_reserve(&t->answer, 1)[0] = '\0';
}

static bool is_repeatable(const struct transfer *t) { return !strcmp(t->method, "GET") || t->idempotency; }

/* The connection failed before an answer was whole. */
static enum verdict judge_break(struct exchange *x, CURLcode code, const char *url)
{
    struct transfer *t = x->t;
    bool             is_unsent = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST;

    if (x->is_too_long)
        set_outcome(t, EXIT_AWAY, "%s answers more than %u bytes", url, ANSWER_BYTES_MAX);
    else
        set_outcome(t, EXIT_AWAY, "%s: %s", url, x->error[0] ? x->error : curl_easy_strerror(code));
    if (x->is_too_long || code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_URL_MALFORMAT ||
        code == CURLE_UNSUPPORTED_PROTOCOL)
        return VERDICT_END;
    return is_unsent || is_repeatable(t) ? VERDICT_AGAIN : VERDICT_END;
}

/* code: a refusal counts although the body did not go out, or its own text broke off. */
static enum verdict judge_answer(struct exchange *x, CURLcode code, const char *url)
{
    struct transfer *t = x->t;
    int              status = t->status;
    bool             is_told;

    if (status / 100 == 2) {
        if (t->into && !open_into(x)) /* where the answer is empty, nothing was written */
            return VERDICT_END;
        if (status != 206 && t->received && t->received == x->received_before && !begin_again(x))
            return VERDICT_END;
        t->outcome = EXIT_OK;
        t->reason[0] = '\0';
        return VERDICT_END;
    }
    t->outcome = status >= 500 ? EXIT_AWAY : EXIT_REFUSED;
    is_told = read_problem(x, url);
    if (status == 502 || status == 503 || status == 504 || status == 429)
        return VERDICT_AGAIN;
    return code != CURLE_OK && !is_told && is_repeatable(t) ? VERDICT_AGAIN : VERDICT_END; /* the reason was lost */
}

/* What an attempt has for itself. The file that is written stays open for the next. */
static void close_attempt(struct exchange *x)
{
    for (int i = 0; i < x->file_count; i++)
        close(x->files[i].fd);
    x->file_count = 0;
    curl_mime_free(x->mime);
    x->mime = NULL;
    curl_slist_free_all(x->headers);
    x->headers = NULL;
}

enum verdict exchange_end(struct exchange *x, CURLcode code, const char *url)
{
    struct transfer *t = x->t;
    enum verdict     v = VERDICT_END;

    read_answer(x);
    if (x->is_settled) {
        /* outcome and reason are there */
    } else if (code == CURLE_OK || (t->status >= 400 && !x->is_too_long)) {
        v = judge_answer(x, code, url);
    } else {
        v = judge_break(x, code, url);
    }
    if (x->is_consumed || (t->into_fd >= 0 && t->received && !*x->etag))
        v = VERDICT_END; /* what was read cannot be read again, what was written not be taken back */
    close_attempt(x);
    return v;
}

void exchange_close(struct exchange *x)
{
    struct transfer *t = x->t;

    close_attempt(x);
    if (x->into_fd < 0)
        return;
    if (close(x->into_fd) && t->outcome == EXIT_OK)
        local_fault(x, t->into, strerror(errno));
    x->into_fd = -1;
    if (t->outcome != EXIT_OK)
        unlink(t->into);
}
