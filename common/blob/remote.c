/* SPDX-License-Identifier: Apache-2.0 */
/* remote.c - a gateway's /blobs, for hosts that share no directory with it; the only file here that knows libcurl.
 *
 * Blocking transfers for the pool, one connection each: beside megabytes it
 * costs nothing. None hangs for ever: connecting has a limit, a transfer that
 * stands still is given up, and a closing store ends it. Repeating is the
 * caller's affair, who is told whether it may help. What is received counts
 * only once its checksum is the one that the gateway keeps as its ETag. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/blob/blob_impl.h"
#include "common/curl.h"


#define CONNECT_MAX_MS 10000L
#define STILL_BYTES 100L          /* fewer a second ... */
#define STILL_MAX_S 120L          /* ... for so long: given up. A gateway that syncs a large blob says nothing */
#define CHUNK_BYTES (512L * 1024) /* of libcurl's buffers */
#define ANSWER_BYTES_MAX (64u * 1024 * 1024) /* of a list; 100 bytes a name */
#define HEAD_BYTES_MAX (1024 * 1024)

struct remote {
    char *base;   /* "http://host:port" without a slash at its end */
    char *bearer; /* "Authorization: Bearer KEY", NULL without */
};

/* One request and what its answer said. */
struct transfer {
    CURL              *easy;
    struct curl_slist *headers;
    const atomic_bool *is_closing;
    const char        *name; /* for sentences: the blob, or the prefix of a list */
    struct buf         answer;
    enum err           ended; /* why a callback ended it; the fault is filled then */
    char               error[CURL_ERROR_SIZE];
    char               etag[CHECKSUM_BYTES]; /* "" when it gave none that can be one of ours */
    int64_t            head;
    long               status;
    bool               is_away; /* it went wrong on the way, or at the gateway: later it may go well */
};

/* ---- any transfer ----------------------------------------------------------------- */

static int on_progress(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    return atomic_load(((struct transfer *)ctx)->is_closing);
}

/* The value of a header line with this name, without blanks around it; or NULL. */
static const char *header_value(const char *line, size_t len, const char *name, size_t *value_len)
{
    size_t name_len = strlen(name);

    if (len <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
        return NULL;
    line += name_len + 1;
    len -= name_len + 1;
    while (len && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }
    while (len && strchr(" \t\r\n", line[len - 1]))
        len--;
    *value_len = len;
    return line;
}

static size_t on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    size_t           len = size * count, value_len;
    const char      *value;

    if (len > 5 && !strncmp(line, "HTTP/", 5)) { /* a new answer: the last one was 100 Continue */
        t->etag[0] = '\0';
        t->head = 0;
    }
    value = header_value(line, len, "ETag", &value_len);
    if (value && value_len == sizeof t->etag + 1 && value[0] == '"' && value[value_len - 1] == '"') {
        memcpy(t->etag, value + 1, sizeof t->etag - 1);
        t->etag[sizeof t->etag - 1] = '\0';
    }
    value = header_value(line, len, BLOB_HEAD_HEADER, &value_len);
    if (value && value_len > 0 && value_len < 19)
        t->head = strtoll(value, NULL, 10); /* the line end behind it stops the number */
    return len;
}

/* Keeps the body of an answer: of a list, or what an error says of itself. */
static size_t on_answer(char *bytes, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;

    if (t->answer.len + size * count > ANSWER_BYTES_MAX)
        return 0;
    buf_append(&t->answer, bytes, size * count);
    return size * count;
}

static void transfer_begin(struct transfer *t, const struct remote *r, const char *path, const char *name,
                           const atomic_bool *is_closing)
{
    char url[2048];

    *t = (struct transfer){.easy = curl.easy_init(), .is_closing = is_closing, .name = name};
    if (!t->easy)
        abort(); /* out of memory */
    snprintf(url, sizeof url, "%s/blobs%s%s", r->base, path, name);
    if (r->bearer)
        t->headers = curl.slist_append(t->headers, r->bearer);
    curl.easy_setopt(t->easy, CURLOPT_URL, url);
    curl.easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl.easy_setopt(t->easy, CURLOPT_USERAGENT, "millrace/" MILLRACE_VERSION);
    curl.easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl.easy_setopt(t->easy, CURLOPT_NOPROXY, "*"); /* a gateway is one's own */
    curl.easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MAX_MS);
    curl.easy_setopt(t->easy, CURLOPT_LOW_SPEED_LIMIT, STILL_BYTES);
    curl.easy_setopt(t->easy, CURLOPT_LOW_SPEED_TIME, STILL_MAX_S);
    curl.easy_setopt(t->easy, CURLOPT_BUFFERSIZE, CHUNK_BYTES);
    curl.easy_setopt(t->easy, CURLOPT_UPLOAD_BUFFERSIZE, CHUNK_BYTES);
    curl.easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    curl.easy_setopt(t->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl.easy_setopt(t->easy, CURLOPT_HEADERDATA, t);
    curl.easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl.easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl.easy_setopt(t->easy, CURLOPT_NOPROGRESS, 0L);
    curl.easy_setopt(t->easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl.easy_setopt(t->easy, CURLOPT_XFERINFODATA, t);
}

static void transfer_end(struct transfer *t)
{
    curl.easy_cleanup(t->easy);
    curl.slist_free_all(t->headers);
    buf_free(&t->answer);
}

/* Runs it; an answer of any status is ERR_OK. */
static enum err transfer_run(struct transfer *t, struct fault *why)
{
    CURLcode code = curl.easy_perform(t->easy);

    curl.easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
    if (t->ended)
        return t->ended;
    if (atomic_load(t->is_closing))
        return closing_fault(why);
    /* A gateway that refuses an upload may close before it has read all: its answer tells more than the break. */
    if (code == CURLE_OK || (code == CURLE_SEND_ERROR && t->status >= 400))
        return ERR_OK;
    t->is_away = true;
    return fault_set(why, ERR_IO, "the gateway's blobs, at %s: %s", t->name,
                     t->error[0] ? t->error : curl.easy_strerror(code));
}

/* Whether it speaks of the gateway's own state, or of what a proxy in front of it found; keys too come and go. */
static bool is_of_the_gateway(long status)
{
    return status == 401 || status == 403 || status == 404 || status == 408 || status == 429 ||
           (status >= 500 && status != 507);
}

/* An answer that was not hoped for, with the gateway's own words. That there is no such blob ends a job for good, so
 * only a gateway is believed, and not anybody else who knows no such page. */
static enum err status_fault(struct transfer *t, struct fault *why)
{
    json_t     *doc = t->answer.len ? json_loadb(t->answer.data, t->answer.len, 0, NULL) : NULL;
    const char *detail = json_string_value(json_object_get(doc, "detail"));
    const char *code = json_string_value(json_object_get(doc, "code"));
    enum err    e = t->status == 507 ? ERR_DISK_FULL : ERR_IO;

    if (t->status == 404 && code && strcmp(code, err_code(ERR_NOT_FOUND)) == 0)
        e = ERR_NO_BLOB;
    if (e == ERR_NO_BLOB)
        fault_set(why, e, "there is no blob %s at the gateway", t->name);
    else
        fault_set(why, e, "the gateway answers %ld for blob %s%s%s", t->status, t->name, detail ? ": " : "",
                  detail ? detail : "");
    t->is_away = e == ERR_IO && is_of_the_gateway(t->status);
    json_decref(doc);
    return e;
}

/* ---- open ---------------------------------------------------------------------------- */

enum err remote_open(const char *url, const char *key, struct remote **out, struct fault *why)
{
    struct remote *r;
    struct buf     bearer = {0};
    size_t         len = strlen(url);

    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || len > 1024)
        return fault_set(why, ERR_CONFIG, "the url of blobs is to be http:// or https://, host and port of a gateway");
    if (key && strpbrk(key, "\r\n"))
        return fault_set(why, ERR_CONFIG, "the key for the gateway's blobs has more than one line");
    if (curl_load("MILLRACE_BLOB_URL", why))
        return ERR_CONFIG;
    r = xcalloc(1, sizeof *r);
    r->base = xstrdup(url);
    while (len && r->base[len - 1] == '/')
        r->base[--len] = '\0';
    if (key && key[0]) {
        buf_printf(&bearer, "Authorization: Bearer %s", key);
        r->bearer = buf_detach(&bearer);
    }
    *out = r;
    return ERR_OK;
}

void remote_close(struct remote *r)
{
    if (!r)
        return;
    free(r->base);
    free(r->bearer);
    free(r);
}

/* ---- get ------------------------------------------------------------------------------- */

struct receiver {
    struct transfer   t;
    const struct dir *dir;
    const char       *name;
    int64_t           room;
    int64_t           idle_ms; /* what has been given up for it, as cache_give_up counts */
    struct draft      draft;   /* fd -1 until the answer's body begins */
    int64_t           size, at;
    char             *front; /* the head: it belongs behind the rest in the checksum */
    struct checksum  *sum;
    struct fault     *why;
    enum err          e;
};

static bool give_up_others(struct receiver *v) { return cache_give_up(v->dir, &v->idle_ms, v->t.is_closing); }

/* The answer is a blob: room for it. */
static enum err receive_begin(struct receiver *v)
{
    curl_off_t size = -1;
    enum err   e;

    curl.easy_getinfo(v->t.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    if (size < 0 || !v->t.etag[0] || v->t.head < 0 || v->t.head > size || v->t.head > HEAD_BYTES_MAX)
        return fault_set(v->why, ERR_IO, "the gateway does not say how long blob %s is and what its checksum", v->name);
    if (v->room >= 0 && size > v->room)
        return fault_set(v->why, ERR_DISK_FULL, "blob %s has %lld bytes; the cache has room for %lld", v->name,
                         (long long)size, (long long)v->room);
    v->size = size;
    v->front = xmalloc((size_t)v->t.head + 1);
    do {
        e = v->draft.fd < 0 ? draft_open(v->dir, v->name, &v->draft, v->why) : ERR_OK;
        if (!e)
            e = draft_room(&v->draft, v->size, v->why);
    } while (e == ERR_DISK_FULL && give_up_others(v));
    return e;
}

static void receive_sum(struct receiver *v, const char *bytes, size_t len)
{
    size_t front = 0;

    if (v->at < v->t.head) {
        front = (size_t)(v->t.head - v->at) < len ? (size_t)(v->t.head - v->at) : len;
        memcpy(v->front + v->at, bytes, front);
    }
    checksum_add(v->sum, bytes + front, len - front);
}

static size_t on_blob(char *bytes, size_t size, size_t count, void *ctx)
{
    struct receiver *v = ctx;
    size_t           len = size * count;
    long             status = 0;

    curl.easy_getinfo(v->t.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return on_answer(bytes, size, count, &v->t);
    if (v->draft.fd < 0)
        v->t.ended = receive_begin(v);
    if (!v->t.ended && (int64_t)len > v->size - v->at)
        v->t.ended = fault_set(v->why, ERR_IO, "the gateway sends more of blob %s than it has", v->name);
    if (!v->t.ended)
        v->t.ended = draft_write(&v->draft, bytes, len, v->at, v->why);
    if (v->t.ended)
        return 0; /* ends the transfer */
    receive_sum(v, bytes, len);
    v->at += (int64_t)len;
    return len;
}

/* All has come: is it what the gateway keeps? */
static enum err receive_check(struct receiver *v, struct sum *s)
{
    checksum_add(v->sum, v->front, (size_t)v->t.head);
    checksum_hex(v->sum, s->xxh3);
    if (v->at != v->size || strcmp(s->xxh3, v->t.etag) != 0)
        return fault_set(v->why, ERR_IO, "blob %s came damaged: %lld of %lld bytes with the checksum %s, not %s",
                         v->name, (long long)v->at, (long long)v->size, s->xxh3, v->t.etag);
    s->size = v->size;
    s->head = v->t.head;
    strcpy(s->boot, v->dir->boot); /* a copy: no sync; where boots cannot be told apart it is made durable */
    return ERR_OK;
}

/* Gives the copy its name: its sum, too, wants room on the disk. */
static enum err receive_seal(struct receiver *v, const struct sum *s)
{
    struct blob_info info;
    enum err         e;

    do
        e = draft_seal(v->dir, &v->draft, v->name, s, &info, v->why);
    while (e == ERR_DISK_FULL && give_up_others(v));
    return e == ERR_WRONG_STATE ? ERR_OK : e; /* another process that shares the cache was faster */
}

enum err remote_get(struct remote *r, const struct dir *d, const char *name, int64_t room,
                    const atomic_bool *is_closing, bool *is_away, struct fault *why)
{
    struct receiver v = {.dir = d,
                         .name = name,
                         .room = room,
                         .idle_ms = CACHE_IDLE_MS,
                         .draft = {.fd = -1},
                         .sum = checksum_new(),
                         .why = why};
    struct sum      s = {0};
    enum err        e;

    transfer_begin(&v.t, r, "/", name, is_closing);
    curl.easy_setopt(v.t.easy, CURLOPT_WRITEFUNCTION, on_blob);
    curl.easy_setopt(v.t.easy, CURLOPT_WRITEDATA, &v);
    e = transfer_run(&v.t, why);
    if (!e && v.t.status != 200)
        e = status_fault(&v.t, why);
    if (!e && v.draft.fd < 0)
        e = receive_begin(&v); /* it has no bytes */
    if (!e)
        e = receive_check(&v, &s);
    if (!e)
        e = receive_seal(&v, &s);
    draft_drop(d, &v.draft);
    *is_away = v.t.is_away;
    transfer_end(&v.t);
    checksum_free(v.sum);
    free(v.front);
    return e;
}

/* ---- put -------------------------------------------------------------------------------- */

struct sender {
    struct transfer  t;
    int              fd;
    int64_t          at;
    struct sum      *s;
    struct checksum *sum;
    struct fault    *why;
};

/* The bytes are read: what was said of them must be true before the gateway has the last of them. */
static enum err send_check(struct sender *x)
{
    char hex[CHECKSUM_BYTES];

    checksum_hex(x->sum, hex);
    if (x->s->head == 0 && strcmp(hex, x->s->xxh3) != 0)
        return fault_set(x->why, ERR_DIGEST, "the bytes of blob %s have the checksum %s, not %s", x->t.name, hex,
                         x->s->xxh3);
    strcpy(x->s->xxh3, hex); /* the gateway gets it in one go and knows of no head */
    x->s->head = 0;
    return ERR_OK;
}

static size_t on_wanted(char *out, size_t size, size_t count, void *ctx)
{
    struct sender *x = ctx;
    int64_t        left = x->s->size - x->at;
    size_t         want = (int64_t)(size * count) < left ? size * count : (size_t)left;
    ssize_t        got;

    do
        got = pread(x->fd, out, want, (off_t)x->at);
    while (got < 0 && errno == EINTR);
    if (got < 0 || (got == 0 && want)) {
        x->t.ended = io_fault(x->why, got ? errno : EIO, "reading back", x->t.name);
        return CURL_READFUNC_ABORT;
    }
    if (got == 0)
        return 0;
    checksum_add(x->sum, out, (size_t)got);
    x->at += got;
    if (x->at == x->s->size)
        x->t.ended = send_check(x);
    return x->t.ended ? CURL_READFUNC_ABORT : (size_t)got;
}

/* libcurl wants to begin again. */
static int on_rewind(void *ctx, curl_off_t offset, int origin)
{
    struct sender *x = ctx;

    if (offset != 0 || origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    x->at = 0;
    checksum_free(x->sum);
    x->sum = checksum_new();
    return CURL_SEEKFUNC_OK;
}

/* The name is taken: by the same bytes, when an earlier answer was lost? */
static enum err check_existing(struct remote *r, const char *name, const struct sum *s, const atomic_bool *is_closing,
                               bool *is_away, struct fault *why)
{
    struct transfer t;
    curl_off_t      size = -1;
    enum err        e;

    transfer_begin(&t, r, "/", name, is_closing);
    curl.easy_setopt(t.easy, CURLOPT_NOBODY, 1L);
    e = transfer_run(&t, why);
    if (!e && t.status != 200)
        e = status_fault(&t, why);
    curl.easy_getinfo(t.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size);
    if (!e && (size != s->size || strcmp(t.etag, s->xxh3) != 0))
        e = fault_set(why, ERR_WRONG_STATE, "there is another blob %s at the gateway already", name);
    *is_away = t.is_away;
    transfer_end(&t);
    return e;
}

/* What s says when the gateway may have refused before it had read all: of a file that was not read to its end. */
static enum err read_rest(struct sender *x)
{
    char *bytes = xmalloc((size_t)CHUNK_BYTES);

    while (!x->t.ended && x->at < x->s->size && on_wanted(bytes, 1, (size_t)CHUNK_BYTES, x) > 0)
        if (atomic_load(x->t.is_closing))
            x->t.ended = closing_fault(x->why);
    free(bytes);
    return x->t.ended;
}

enum err remote_put(struct remote *r, const char *name, int fd, struct sum *s, const atomic_bool *is_closing,
                    bool *is_away, struct fault *why)
{
    struct sender x = {.fd = fd, .s = s, .sum = checksum_new(), .why = why};
    enum err      e = ERR_OK;

    transfer_begin(&x.t, r, "/", name, is_closing);
    x.t.headers = curl.slist_append(x.t.headers, "Content-Type: application/octet-stream");
    curl.easy_setopt(x.t.easy, CURLOPT_HTTPHEADER, x.t.headers);
    curl.easy_setopt(x.t.easy, CURLOPT_UPLOAD, 1L);
    curl.easy_setopt(x.t.easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)s->size);
    curl.easy_setopt(x.t.easy, CURLOPT_READFUNCTION, on_wanted);
    curl.easy_setopt(x.t.easy, CURLOPT_READDATA, &x);
    curl.easy_setopt(x.t.easy, CURLOPT_SEEKFUNCTION, on_rewind);
    curl.easy_setopt(x.t.easy, CURLOPT_SEEKDATA, &x);
    if (s->size == 0)
        e = send_check(&x); /* no byte will be asked for */
    if (!e)
        e = transfer_run(&x.t, why);
    if (!e && x.t.status == 409) {
        e = read_rest(&x);
        if (!e)
            e = check_existing(r, name, s, is_closing, &x.t.is_away, why);
    } else if (!e && x.t.status != 201) {
        e = status_fault(&x.t, why);
    } else if (!e && strcmp(x.t.etag, s->xxh3) != 0) {
        e = fault_set(why, ERR_IO, "blob %s arrived damaged at the gateway: its checksum is %s there, not %s", name,
                      x.t.etag, s->xxh3);
    }
    *is_away = x.t.is_away;
    transfer_end(&x.t);
    checksum_free(x.sum);
    return e;
}

/* ---- list, delete ------------------------------------------------------------------------ */

static enum err read_names(const struct transfer *t, struct names *out, struct fault *why)
{
    json_t *doc = json_loadb(t->answer.data ? t->answer.data : "", t->answer.len, 0, NULL);
    json_t *rows = json_object_get(doc, "blobs"), *row;
    size_t  i;
    bool    is_good = json_is_array(rows);

    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "id"));

        if (name && blob_name_is_valid(name) && !strncmp(name, t->name, strlen(t->name)))
            names_add(out, name);
        else
            is_good = false;
    }
    json_decref(doc);
    return is_good ? ERR_OK : fault_set(why, ERR_IO, "the gateway's list of blobs %s is none", t->name);
}

enum err remote_list(struct remote *r, const char *prefix, struct names *out, const atomic_bool *is_closing,
                     struct fault *why)
{
    struct transfer t;
    enum err        e;

    transfer_begin(&t, r, "?prefix=", prefix, is_closing);
    e = transfer_run(&t, why);
    if (!e && t.status != 200)
        e = status_fault(&t, why);
    if (!e)
        e = read_names(&t, out, why);
    transfer_end(&t);
    return e;
}

void remote_delete(struct remote *r, const char *name, const atomic_bool *is_closing)
{
    struct transfer t;

    transfer_begin(&t, r, "/", name, is_closing);
    curl.easy_setopt(t.easy, CURLOPT_CUSTOMREQUEST, "DELETE");
    (void)curl.easy_perform(t.easy); /* the gateway's own sweep finds what is left */
    transfer_end(&t);
}
