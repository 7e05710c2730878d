/* SPDX-License-Identifier: Apache-2.0 */
/* decode.h - a message as a job of its kind: what a worker does first, and a gateway before it replays a dead one. */
#ifndef MILLRACE_KIND_DECODE_H
#define MILLRACE_KIND_DECODE_H

#include "common/blobname.h"
#include "common/msg.h"
#include "kinds/kind.h"

/* What a message says that is a job: complete arguments, and blobs that it names. */
struct decoded {
    struct args args;
    int         blob_count;
    char        blobs[INPUT_BLOBS_MAX][BLOB_NAME_BYTES];
};

/* Reads params, input, and what ties a member to its parent. Says nothing of sizes: that is the kind's check.
 * ERR_PARAM, ERR_UNDECODABLE: this message makes no job, whoever reads it. */
enum err kind_decode(const struct kind_spec *kind, const struct msg *m, struct decoded *out,
                     struct fault *why) MUST_CHECK;

#endif
