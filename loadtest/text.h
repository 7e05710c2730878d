/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - the JSON of two square or oblong matrices, of any length, at next to no cost.
 *
 * {"A":[[..],..],"B":[[..],..]}, each operand rows x cols. Every number has 17
 * significant digits and 18 characters ("3.1415926535897931"), so that the
 * length is known in front. A few rows are printed once and come again and
 * again: who sends or scans the text finds it in the cache.
 */
#ifndef MILLRACE_LOADTEST_TEXT_H
#define MILLRACE_LOADTEST_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct text {
    long     rows, cols;
    char    *block; /* owned: some rows, each with a comma behind it */
    size_t   block_bytes;
    int      part; /* of the document, where the next piece begins */
    uint64_t at;   /* bytes into that part */
};

void text_init(struct text *t, long rows, long cols);
void text_free(struct text *t);

/* Bytes of the whole document. */
uint64_t text_bytes(const struct text *t);

/* The next bytes of the document, 1 to max of them, as they lie; NULL behind the last. */
const char *text_next(struct text *t, size_t max, size_t *len);

#endif
