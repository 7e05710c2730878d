/* SPDX-License-Identifier: Apache-2.0 */
/* pieces.h - a result that lies in blobs, one or those of a group's members, as a result_face.
 *
 * A blob is opened when it is first read. One descriptor belongs to each
 * reader, the further ones that a group asks for are few for all of them, so
 * that slow readers do not take the descriptors that the way to our servers
 * needs: those read longest ago are closed for others.
 */
#ifndef MILLRACE_PIECES_H
#define MILLRACE_PIECES_H

#include <stdint.h>

#include "common/err.h"
#include "kinds/kind.h"

struct blob_store;
struct pieces;

#define PIECES_OPEN_MAX 64   /* of one reader */
#define PIECES_EXTRA_MAX 128 /* of all readers, beyond the first of each */

/* blob: the name of a result in one piece. blobs: borrowed, longer than the pieces live. extra: the count of
 * further descriptors, one variable for all readers. */
struct pieces *pieces_new_single(struct blob_store *blobs, int *extra, const char *blob);

/* The results of a group's members; fences by their numbers. All is copied. */
struct pieces *pieces_new_group(struct blob_store *blobs, int *extra, const char *parent, const char *layout,
                                const int64_t *fences, size_t count);

/* Borrowed; its size is 0 for a piece that is not there. */
const struct result_face *pieces_face(const struct pieces *p);

/* What became of the last blob that was opened: ERR_NO_BLOB, ERR_IO (why), or ERR_OK. */
enum err pieces_fault(const struct pieces *p, struct fault *why);

/* Gives the descriptor of a single piece away: owned, with its size; -1 when the blob is not there. */
int pieces_detach(struct pieces *p, uint64_t *size);

void pieces_free(struct pieces *p); /* accepts NULL */

#endif
