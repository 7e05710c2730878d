/* SPDX-License-Identifier: Apache-2.0 */
/* exchange.h - one attempt at a transfer after the other: what libcurl is told and what it says. Used by http.c. */
#ifndef MILLRACE_CLI_EXCHANGE_H
#define MILLRACE_CLI_EXCHANGE_H

#include <curl/curl.h>

#include "cli/http.h"

#define FORM_PARTS_MAX 4
#define ETAG_BYTES 160

/* A file on its way out. */
struct outgoing {
    struct exchange *exchange; /* borrowed */
    const char      *name;
    int              fd;   /* -1: closed */
    curl_off_t       size; /* -1: no plain file, its end is not known */
    curl_off_t       at;
};

enum verdict {
    VERDICT_END,   /* the transfer's outcome is final */
    VERDICT_AGAIN, /* worth another attempt; outcome and reason stand if there is none */
};

struct exchange {
    struct exchange   *prev, *next; /* in one of the client's two lists */
    struct transfer   *t;           /* borrowed */
    CURL              *easy;
    struct curl_slist *headers;
    curl_mime         *mime;
    struct outgoing    files[FORM_PARTS_MAX]; /* of this attempt: the body's file, or the form's */
    int                file_count;
    int                into_fd;     /* of t->into; -1: not open */
    bool               is_consumed; /* something was read that cannot be read twice */
    bool               is_settled;  /* by a callback: outcome and reason are there */
    bool               is_too_long;
    char               etag_now[ETAG_BYTES], etag[ETAG_BYTES]; /* of this answer; of the bytes received so far */
    char               error[CURL_ERROR_SIZE];
    int64_t            retry_after_ms; /* -1: the gateway did not say */

    /* ---- http.c */
    int64_t  due_ms;           /* mono: when the next attempt begins */
    int64_t  failing_since_ms; /* mono; 0: it does not */
    int      failures;         /* in a row */
    int      gateway;          /* which of them the attempt is made at */
    bool     has_others;       /* there are more */
    uint64_t received_before;  /* when the attempt began */
    bool     is_running;       /* in the multi handle */
};

/* Tells x->easy (reset) what to do. False: a file cannot be opened, and outcome and reason are set. */
bool exchange_begin(struct exchange *x, const char *url, const char *bearer);

/* Judges the attempt and closes what belongs to it alone. */
enum verdict exchange_end(struct exchange *x, CURLcode code, const char *url);

/* Closes all; removes the file of a transfer that did not succeed. */
void exchange_close(struct exchange *x);

#endif
