/* SPDX-License-Identifier: Apache-2.0 */
/* http.h - calls of the gateway, one or many at a time, on one thread; hides libcurl.
 *
 * A call is a struct transfer: what is asked for, how the body comes and where
 * the answer goes, and at the end what became of it. Blocking:
 *
 *   transfer_init(&t, "GET", "/jobs/%s?wait=30", id);
 *   if (http_do(http, &t) == EXIT_OK) .. t.answer ..
 *   transfer_free(&t);
 *
 * Many at once: http_start for each, then http_run again and again; it calls
 * done of each that ended. Connections are kept and used again.
 *
 * Files go out and come in through buffers of a fixed size. While the gateway
 * cannot be reached, answers 503, 502 or 504, or breaks off, a call is repeated
 * with growing waits (or as Retry-After says) as long as the client's patience
 * lasts, counted from the first failure in a row; but one that may have been
 * carried out already and is not repeatable ends at once. A download goes on
 * where it broke off while the gateway still has the same bytes (ETag).
 *
 * Of several gateways one is current, the first one to begin with. One that
 * fails a call in any of these ways makes room for the next, which is asked at
 * once; waits come between rounds. Those that follow begin where one answered.
 */
#ifndef MILLRACE_CLI_HTTP_H
#define MILLRACE_CLI_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "common/buf.h"

struct exchange; /* http.c: the side of libcurl */

#define REASON_BYTES 512

struct http_config {
    const char *url;         /* http://host:port, or https; or several gateways of one fleet, with commas; copied */
    const char *key;         /* bearer key, NULL: none; copied, and in no message */
    int64_t     patience_ms; /* 0: no gateway is asked twice */
    /* once for each transfer that begins to be repeated; NULL: nobody wants to know */
    void (*notice)(void *ctx, const char *text);
    void *notice_ctx;
};

/* One part of a form: a file. */
struct form_part {
    const char *name, *file;
};

struct transfer {
    /* ---- the request; all of it is borrowed until the transfer has ended */
    const char             *method;
    struct buf              path;         /* owned: path and query below the url, a NUL behind it */
    const char             *accept;       /* NULL: anything */
    const char             *content_type; /* NULL: none is said */
    const char             *idempotency;  /* Idempotency-Key: makes a POST repeatable; NULL */
    const void             *body;         /* in memory; NULL: none */
    size_t                  body_len;
    const char             *body_file; /* or a file; what is no plain file is sent once, chunked; NULL */
    const struct form_part *form;      /* or files as a form, ends with name NULL; NULL */

    /* ---- where an answer of 2xx goes: into answer, or */
    const char *into;    /* a file that is made (or emptied) for it, and removed when the transfer fails; NULL */
    int         into_fd; /* or a descriptor; -1: none */

    void (*done)(struct transfer *t); /* from http_run; may free t and start others. NULL for http_do */
    void *ctx;                        /* the caller's own */

    /* ---- what became of it */
    enum outcome outcome;   /* EXIT_OK: 2xx, and all of it is there; else REFUSED, AWAY, LOCAL or INTERRUPTED */
    int          status;    /* of the last answer; 0: there was none */
    char         type[128]; /* its content type without parameters */
    char         code[32];  /* the problem's code ("not-found"); "" */
    char         reason[REASON_BYTES]; /* one line for people: "404 not-found: there is no such job" */
    struct buf   answer;               /* owned: what went nowhere else; at most 16 MiB, a NUL behind it */
    uint64_t     received;             /* bytes that went into the file or descriptor, growing while it runs */
    uint64_t     sent;                 /* bytes of the body, growing while it runs; back to 0 with each attempt */

    struct exchange *exchange; /* while it runs */
};

/* path and query by a format; values come escaped (query.h). */
void transfer_init(struct transfer *t, const char *method, const char *path, ...) PRINTF_LIKE(3, 4);
void transfer_free(struct transfer *t); /* not while it runs */

/* EXIT_OK, or EXIT_USAGE with why: no such url, a key that no header takes. */
enum outcome http_new(const struct http_config *config, struct http **out, struct fault *why);
void         http_free(struct http *h); /* ends what still runs without calling done; accepts NULL */

/* From now on, instead of what the configuration said. */
void http_set_patience(struct http *h, int64_t patience_ms, void (*notice)(void *ctx, const char *text), void *ctx);

/* Of the gateway that is asked first now. */
const char *http_url(const struct http *h);

/* One call, to its end; others go on beside it. A signal ends it, also one that came before, unless forgiven. */
enum outcome http_do(struct http *h, struct transfer *t);
void         http_forgive(struct http *h); /* the signals so far */

/* Begins a call; t must stay where it is until done. */
void http_start(struct http *h, struct transfer *t);

/* From now on http_run also returns when this descriptor can be read; -1: none. */
void http_watch(struct http *h, int fd);

/* Goes on with all calls until at least one ended, timeout_ms passed (-1: never) or a signal came. Returns how many are
 * still under way, those that wait for their next attempt included. Without any it waits as well, but not for ever. */
int http_run(struct http *h, int64_t timeout_ms);

/* Ends a call that is under way; done is not called, its file is removed. */
void http_abort(struct http *h, struct transfer *t);

#endif
