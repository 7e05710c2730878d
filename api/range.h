/* SPDX-License-Identifier: Apache-2.0 */
/* range.h - conditional requests and ranges (RFC 9110, 13 and 14) over bytes that never change. */
#ifndef MILLRACE_RANGE_H
#define MILLRACE_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/http.h"

/* What to send: bytes [from, to) of them, with this status. */
struct range {
    int      status; /* 200, or 206 */
    uint64_t from, to;
};

/* Answers what the request's conditions decide without the bytes (304, 412, 416) and returns false, or fills out.
 * Adds the headers ETag, Accept-Ranges and Content-Range. size: of the whole. etag: with its quotes, NULL: there
 * is none, and what a condition names is not it. Several ranges at once, and units but bytes, get the whole. */
bool request_range(struct request *r, uint64_t size, const char *etag, struct range *out);

/* The conditions alone, for bytes that can only be had from their start. size -1: unknown. */
bool request_conditions(struct request *r, const char *etag, int64_t size);

/* The conditions of a request that changes what it names: each that does not hold is 412. */
bool request_conditions_of_change(struct request *r, const char *etag);

#endif
