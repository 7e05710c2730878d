/* SPDX-License-Identifier: Apache-2.0 */
/* checksum.h - what a large blob is recognised by: XXH3-128, in hex.
 *
 * Fast enough to cost nothing beside a copy; against accidents, not against
 * people. For the latter clients may ask for SHA-256.
 */
#ifndef MILLRACE_CHECKSUM_H
#define MILLRACE_CHECKSUM_H

#include <stddef.h>

#define CHECKSUM_BYTES 33 /* 32 hex digits and NUL */

struct checksum; /* bytes so far */

struct checksum *checksum_new(void);
void             checksum_add(struct checksum *c, const void *bytes, size_t len);
void             checksum_hex(const struct checksum *c, char out[CHECKSUM_BYTES]);
void             checksum_free(struct checksum *c); /* accepts NULL */

#endif
