/* SPDX-License-Identifier: Apache-2.0 */
/* spill.h - the blobs that one request brings.
 *
 *   1. spill_new   2. spill_create and spill_append, as the body comes   3. spill_seal   4. spill_keep   5. spill_free
 *
 * They are written while the body arrives and sealed together once it was found
 * right. Until spill_keep they are the request's: when it fails at any step, or
 * its client goes, nothing of them is left.
 */
#ifndef MILLRACE_SPILL_H
#define MILLRACE_SPILL_H

#include <stddef.h>
#include <stdint.h>

#include "common/blob/blob.h"
#include "common/err.h"
#include "kinds/kind.h"

#define SPILL_WRITERS_MAX 256 /* of all requests together: each holds a descriptor */

struct gateway;
struct spill;
struct spilled; /* one of its blobs */

struct spill *spill_new(struct gateway *gw);

/* Begins a blob. name: NULL for a new one. size, head: as blob_create has them. *out lives as long as s.
 * ERR_TOO_LARGE: this gateway keeps no blobs. ERR_BUSY: too many are being written. ERR_DISK_FULL, ERR_IO. */
enum err spill_create(struct spill *s, const char *name, int64_t size, size_t head, struct spilled **out,
                      struct fault *why) MUST_CHECK;
enum err spill_append(struct spilled *b, const void *bytes, size_t len, struct fault *why) MUST_CHECK;

const char *spilled_name(const struct spilled *b);

/* The bytes for the place that spill_create left free in front; copied. */
void spill_set_head(struct spilled *b, const void *head);

/* As the peek of struct blobs_face. */
enum err spill_peek(struct gateway *gw, const char *name, void *bytes, size_t len, size_t *got, uint64_t *size,
                    struct fault *why) MUST_CHECK;

/* The blobs in the order in which they were begun; info is valid once they are sealed. */
size_t                  spill_count(const struct spill *s);
const struct blob_info *spill_info(const struct spill *s, size_t i, const char **name);

typedef void spill_fn(void *ctx, enum err e, const struct fault *why);

/* Seals all of them, at least one; done comes later. When one fails all are removed before done hears of it.
 * wanted_sha256: as blob_seal has it. s must live until then. */
void spill_seal(struct spill *s, const char *wanted_sha256, spill_fn *done, void *ctx);

/* The sealed blobs are somebody else's now. */
void spill_keep(struct spill *s);

/* Ends and removes all that has not been kept. */
void spill_drop(struct spill *s);

/* The same, and frees s. Accepts NULL. */
void spill_free(struct spill *s);

/* The gateway stops: no request writes blobs any more. */
void spills_stop(struct gateway *gw);

#endif
