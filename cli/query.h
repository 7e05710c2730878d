/* SPDX-License-Identifier: Apache-2.0 */
/* query.h - what the user said, as it may stand in a path of the gateway. */
#ifndef MILLRACE_CLI_QUERY_H
#define MILLRACE_CLI_QUERY_H

#include <stdbool.h>

#include "common/buf.h"

/* Appends text as it may stand in a path or query. */
void query_escape(struct buf *out, const char *text);

/* Appends a parameter to a path, which is all that out has: behind '?' if it is the first one, else '&'. */
void query_put(struct buf *out, const char *name, const char *value);

/* The same of NAME=VALUE; false: the text is none. */
bool query_put_pair(struct buf *out, const char *text);

#endif
