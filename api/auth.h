/* SPDX-License-Identifier: Apache-2.0 */
/* auth.h - bearer keys, kept as hashes, compared in constant time. */
#ifndef MILLRACE_AUTH_H
#define MILLRACE_AUTH_H

#include <stdbool.h>

#include "common/err.h"

struct auth;

/* Reads the key file: a line NAME:SHA256HEX per key (sha256sum of the key's
 * text), empty lines and lines with # are skipped. At least one key. */
enum err auth_load(const char *path, struct auth **out, struct fault *why) MUST_CHECK;
void     auth_free(struct auth *a); /* accepts NULL */

/* authorization: the header's value, NULL when absent. Takes the same time
 * whichever key fits, and however much of a wrong one is right. */
bool auth_allows(const struct auth *a, const char *authorization);

/* SHA-256 of parts, in lower-case hex with a NUL. */
struct digest_part {
    const void   *bytes;
    unsigned long len;
};
void digest_hex(const struct digest_part *parts, int count, char out[65]);

#endif
