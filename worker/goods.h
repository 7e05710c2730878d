/* SPDX-License-Identifier: Apache-2.0 */
/* goods.h - the blobs of one attempt: its inputs, opened, and its result, being written.
 *
 *   goods_fetch -> goods_create -> the executor writes -> goods_seal      for a job that is computed
 *   goods_list                                                           for one that falls into members
 *
 * What takes time answers once by done, never from inside the call, one thing
 * at a time. goods_drop ends it at any moment: an answer that is still under way
 * is received and thrown away, so the attempt may be over long before it comes.
 */
#ifndef MILLRACE_GOODS_H
#define MILLRACE_GOODS_H

#include <stddef.h>
#include <stdint.h>

#include "common/blob/blob.h"
#include "common/store/store.h"
#include "kinds/kind.h"

struct errand; /* an answer that is under way */

/* Zeroed: nothing is held. */
struct goods {
    struct errand       *errand; /* NULL: nothing is under way */
    int                  input_count;
    int                  inputs[INPUT_BLOBS_MAX]; /* owned descriptors, -1: not open (yet) */
    uint64_t             input_bytes[INPUT_BLOBS_MAX];
    struct blob_writer  *writer;                  /* owned; the result while it is written */
    char                 result[BLOB_NAME_BYTES]; /* its name from goods_create on, "": the result is none */
    struct store_sealed *sealed;                  /* owned: results of members that were found */
    size_t               sealed_count;
};

typedef void goods_fn(void *ctx, enum err e, const struct fault *why);

/* Opens the inputs, one at least. The first that fails is told: ERR_NO_BLOB, ERR_IO, ERR_DISK_FULL. */
void goods_fetch(struct goods *g, struct blob_store *b, const char (*names)[BLOB_NAME_BYTES], int count, goods_fn *done,
                 void *ctx);

/* Begins the result, of so many bytes; -1: as many as come. ERR_DISK_FULL, ERR_IO. */
enum err goods_create(struct goods *g, struct blob_store *b, const char *name, int64_t bytes,
                      struct fault *why) MUST_CHECK;

/* Borrowed descriptor of the result, -1 when there is none. */
int goods_output(const struct goods *g);

/* Bytes that were written to it; -1 when there is none. */
int64_t goods_output_bytes(const struct goods *g);

/* Makes the result durable; sum: of its bytes, by who wrote them. ERR_DISK_FULL, ERR_IO, ERR_WRONG_STATE. */
void goods_seal(struct goods *g, const char *sum, goods_fn *done, void *ctx);

/* Finds the results of this parent's members that are sealed; those of a member that ran twice count once. */
void goods_list(struct goods *g, struct blob_store *b, const char *parent, goods_fn *done, void *ctx);

/* Closes, aborts, forgets; a seal under way goes on, and what it makes is left to the sweeper. Zeroes g. */
void goods_drop(struct goods *g);

#endif
