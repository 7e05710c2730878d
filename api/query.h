/* SPDX-License-Identifier: Apache-2.0 */
/* query.h - the query parameters of a call, taken strictly: what nobody knows, what
 * is said twice and what is no number is refused by name. */
#ifndef MILLRACE_QUERY_H
#define MILLRACE_QUERY_H

#include <stdint.h>

#include "common/err.h"

struct request;

/* Refuses a parameter that is none of names (ends with NULL, at most 8), and one that is given twice. */
enum err query_only(struct request *r, const char *const *names, struct fault *why) MUST_CHECK;

/* The parameter of this name, plain decimal; absent: fallback. */
enum err query_number(struct request *r, const char *name, int64_t least, int64_t most, int64_t fallback, int64_t *out,
                      struct fault *why) MUST_CHECK;

#endif
