/* SPDX-License-Identifier: Apache-2.0 */
/* tail.h - the end of what a program said, for the sentence that tells why it failed. */
#ifndef MILLRACE_COMMAND_TAIL_H
#define MILLRACE_COMMAND_TAIL_H

#include <stddef.h>

#define TAIL_BYTES 1024

struct tail {
    char   bytes[2 * TAIL_BYTES]; /* the last of them; the first half is let go when it is full */
    size_t len;
};

/* Adds bytes, any number of them; a zeroed tail is an empty one. */
void tail_add(struct tail *t, const char *bytes, size_t len);

/* The end of it as one printable line, TAIL_BYTES at most and a NUL: between lines stands " | ", and "?" for what is
 * neither printable nor UTF-8. "" when there is nothing. */
void tail_print(const struct tail *t, char out[TAIL_BYTES + 1]);

#endif
