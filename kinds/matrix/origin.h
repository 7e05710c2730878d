/* SPDX-License-Identifier: Apache-2.0 */
/* origin.h - an operand that says where its numbers are instead of giving them:
 *
 *   {"blob":"ID"}     or     {"random":{"rows":R,"cols":C,"seed":S}}
 *
 * Such an object is short, so its text is collected, whatever the pieces, and read when its end is there.
 */
#ifndef MILLRACE_ORIGIN_H
#define MILLRACE_ORIGIN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "kinds/matrix/gather.h"

#define ORIGIN_MAX 4096 /* bytes of the text, blanks included */

/* A zeroed one is empty; buf_free(&text) ends it. */
struct origin {
    struct buf text;
    int        depth; /* open braces */
    bool       is_in_string, is_escaped;
};

/* Takes bytes up to the brace that ends the object (*is_whole) and returns how many; stops one byte beyond
 * ORIGIN_MAX, which origin_read then refuses. */
size_t origin_take(struct origin *o, const char *bytes, size_t len, bool *is_whole);

/* Reads the text and tells g. at: offset of the text, for the faults. ERR_JSON: not such an object; and what
 * gather_blob and gather_random refuse. */
enum err origin_read(const struct buf *text, uint64_t at, struct gather *g, int i, struct fault *why) MUST_CHECK;

#endif
