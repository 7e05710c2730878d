/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - every way something can go wrong, and the carrier of a reason.
 *
 * One row of err.def feeds the enum, the HTTP answer, the retry rule and the
 * error page. A function that may fail returns enum err; where a user will
 * read about it, it also fills a struct fault with the place and the limit.
 */
#ifndef MILLRACE_ERR_H
#define MILLRACE_ERR_H

/* What a failed attempt means for its job. */
enum err_class {
    ERR_CLASS_NONE,      /* never ends an attempt */
    ERR_CLASS_PERMANENT, /* the job fails at once: again would fail again */
    ERR_CLASS_TRANSIENT, /* counts against max_attempts, runs again after a backoff */
    ERR_CLASS_LOSS,      /* the worker's side was lost: counts against the losses */
};

enum err {
#define ERR(name, code, http, class, sentence) ERR_##name,
#include "common/err.def"
#undef ERR
    ERR_COUNT
};

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define FAULT_DETAIL_BYTES 1280 /* the end of what a program said about itself fits in */

/* A reason that leaves the function that found it. detail: NUL-terminated, at
 * most FAULT_DETAIL_BYTES - 1 bytes, names the fault and where (row, byte offset, parameter). */
struct fault {
    enum err err;
    char     detail[FAULT_DETAIL_BYTES];
};

/* Fills why (may be NULL) and returns err, so that a failing function ends in
 * `return fault_set(why, ERR_PARAM, "iterations must be ...")`. */
enum err fault_set(struct fault *why, enum err err, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The stable lower-case code ("bad-json") that clients compare, its HTTP
 * status, its class, and its sentence. Static strings; err must be < ERR_COUNT. */
const char    *err_code(enum err err);
int            err_http(enum err err);
enum err_class err_class(enum err err);
const char    *err_sentence(enum err err);

/* The error with this code, or ERR_INTERNAL when no row has it. */
enum err err_from_code(const char *code);

#endif
