/* SPDX-License-Identifier: Apache-2.0 */
/* blob.h - inputs and results that are too large for messages and records.
 *
 * A blob is written once, under a temporary name, and exists from its seal on,
 * whole or not at all; then it never changes. Two backends behind one face: a
 * directory that gateways and workers share, and a gateway's /blobs over HTTP
 * for hosts that share none (the directory is then this host's cache).
 *
 *   writing:  blob_create -> blob_append*, or bytes written through blob_writer_fd
 *             -> blob_seal (durable and named) or blob_abort
 *   reading:  blob_open (a directory, at once) or blob_fetch (either, later)
 *
 * What they are called: common/blobname.h. Beside each blob lies a small file NAME.sum: its size and checksum.
 *
 * All calls come from the loop's thread. What may wait for a disk or a network
 * runs on the loop's thread pool and answers by a callback, never from inside
 * the call. Appended bytes are written behind the caller's back: what goes wrong
 * is told by a later append, or by the seal.
 *
 * A cache never fails for its own fill: where a copy or a result finds no room,
 * the copies go that were lent out longest ago.
 */
#ifndef MILLRACE_BLOB_H
#define MILLRACE_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/blobname.h"
#include "common/checksum.h"
#include "common/err.h"

struct blob_store;  /* one per process */
struct blob_writer; /* one blob that is being written */

struct blob_config {
    const char *dir;         /* made if absent (its parent must be there) */
    const char *url;         /* NULL or "": dir is shared. Else http://host:port of a gateway, dir a cache */
    const char *key;         /* bearer key for url, "" without */
    int64_t     quota_bytes; /* of all blobs in dir; 0: as much as the disk holds */
    int64_t     patience_ms; /* behind a url: fetches and seals are repeated for so long while the gateway is away */
};

struct blob_info {
    int64_t size;
    int64_t sealed_ms;           /* wall */
    char    sum[CHECKSUM_BYTES]; /* hex: the ETag; of the bytes from head on, then of those in front of it */
    int64_t head;                /* 0 where nothing was filled in at the end. Who serves a blob says it in: */
};
#define BLOB_HEAD_HEADER "Millrace-Blob-Head" /* HTTP: without it a receiver cannot check the sum of such a blob */

/* ERR_CONFIG when the directory cannot be made or written to. Measures what is there for the quota. */
enum err blob_store_open(uv_loop_t *loop, const struct blob_config *config, struct blob_store **out,
                         struct fault *why) MUST_CHECK;

/* Waits for what runs on the pool; callbacks outstanding are made with ERR_IO, and what was being sealed is not
 * there. Writers have ended before. What is there can still be opened, nothing else be begun. Not from inside a
 * callback of this module. Accepts NULL. */
void blob_store_stop(struct blob_store *b);

/* Stops it, if need be, and frees it; the loop runs once more behind it. Accepts NULL. */
void blob_store_close(struct blob_store *b);

/* ---- writing -------------------------------------------------------------- */

/* Begins a blob. size: bytes that will come, -1: not known; room for them is asked for at once, so that a
 * full disk is told here. head: that many bytes in front are left free and given to blob_seal (the header of
 * a format that says in front what only the end knows). ERR_DISK_FULL (disk or quota), ERR_PARAM (no name), ERR_IO. */
enum err blob_create(struct blob_store *b, const char *name, int64_t size, size_t head, struct blob_writer **out,
                     struct fault *why) MUST_CHECK;

/* Adds bytes behind those that are there. ERR_DISK_FULL, ERR_IO, also of earlier ones; the writer is to be aborted
 * then. */
enum err blob_append(struct blob_writer *w, const void *bytes, size_t len, struct fault *why) MUST_CHECK;

const char *blob_writer_name(const struct blob_writer *w);
int64_t     blob_writer_size(const struct blob_writer *w); /* appended so far, head included */

/* Borrowed descriptor, for an executor that writes all of the bytes itself, size of them if that was given to
 * blob_create. Where it was not they take their part of the quota at the seal. */
int blob_writer_fd(const struct blob_writer *w);

typedef void blob_done_fn(void *ctx, enum err e, const struct fault *why, const struct blob_info *info);

/* Takes w. Puts head (as many bytes as blob_create left free, NULL for none) in front, makes the bytes durable
 * and gives them their name; done is told. sum: of bytes written through the descriptor, as the writer of them
 * computed it; NULL: of what was appended. wanted_sha256: hex that the bytes must have, NULL: not asked
 * (head must be 0 then). ERR_DIGEST, ERR_WRONG_STATE (the name exists), ERR_DISK_FULL, ERR_IO: nothing is left behind.
 */
void blob_seal(struct blob_writer *w, const void *head, const char *sum, const char *wanted_sha256, blob_done_fn *done,
               void *ctx);

/* Takes w; nothing is left behind once what was being written is. Accepts NULL. */
void blob_abort(struct blob_writer *w);

/* ---- reading --------------------------------------------------------------- */

/* Opens a sealed blob of a shared directory; *fd is owned by the caller. ERR_NO_BLOB, ERR_IO. */
enum err blob_open(struct blob_store *b, const char *name, int *fd, struct blob_info *info,
                   struct fault *why) MUST_CHECK;

typedef void blob_opened_fn(void *ctx, enum err e, const struct fault *why, int fd, const struct blob_info *info);

/* The same with either backend, later; fd is taken by the callback. */
void blob_fetch(struct blob_store *b, const char *name, blob_opened_fn *done, void *ctx);

/* Removes a sealed blob. ERR_NO_BLOB, ERR_IO. Readers that have it open read on, and a large one gives its room back
 * a little later. Behind a url: from the cache at once, at the gateway later and without a word about how that went:
 * its sweep finds what is left. */
enum err blob_delete(struct blob_store *b, const char *name, struct fault *why) MUST_CHECK;

/* names: NUL-terminated, borrowed for the callback. */
typedef void blob_names_fn(void *ctx, enum err e, const char *const *names, size_t count);

/* Names of the sealed blobs that begin with prefix (at least a whole UUID), in no order, with either backend. */
void blob_list(struct blob_store *b, const char *prefix, blob_names_fn *done, void *ctx);

/* ---- keeping house ----------------------------------------------------------- */

struct blob_usage {
    int64_t bytes, count; /* sealed blobs, as last measured, and what was written here since */
};
struct blob_usage blob_usage(const struct blob_store *b);

/* Walks through the directory on the pool: names up to `limit` sealed blobs that are older than age_ms, and
 * removes temporary files that nobody has written to for an hour. Also measures for the quota. The next call goes
 * on behind where this one reached its limit. Behind a url nothing is named: what the cache has not lent out for
 * age_ms is removed from it, and more where the disk has little room left. */
void blob_sweep(struct blob_store *b, int64_t age_ms, size_t limit, blob_names_fn *done, void *ctx);

#endif
