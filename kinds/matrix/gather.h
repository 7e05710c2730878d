/* SPDX-License-Identifier: Apache-2.0 */
/* gather.h - the two operands of a job as they come in, until they are its input.
 *
 * An operand comes as numbers, as the name of a blob, or as the seed of one that is made where it is used. Numbers
 * stay in memory as long as those of both operands fit into inline_max; beyond that each operand that has numbers
 * moves into a blob of its own, a NumPy file, so that memory is bounded by inline_max and GATHER_CHUNK for each.
 *
 *   1. gather_init
 *   2. for each operand, once:   gather_open, then gather_room and r->numbers as they come, gather_shape, gather_close
 *                           or   gather_open_file, gather_append, gather_close
 *                           or   gather_blob     or   gather_random
 *   3. gather_finish   4. gather_fini, also after an error
 *
 * Operands have the numbers 0 (A) and 1 (B). The faults name them. Limits of 0 are none.
 *   ERR_TOO_LARGE  sides beyond the limit; more numbers than inline_max where there are no blobs
 *   ERR_SHAPE      shapes that do not chain
 *   ERR_NO_BLOB    a blob that is not there
 */
#ifndef MILLRACE_GATHER_H
#define MILLRACE_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/blobname.h"
#include "common/buf.h"
#include "kinds/kind.h"
#include "kinds/matrix/matrix.h"
#include "kinds/matrix/npy.h"

#define OPERANDS 2
#define GATHER_CHUNK (256 * 1024) /* bytes that go into a blob at a time */

/* One operand. */
struct gathered {
    bool           is_given;
    bool           is_closed;
    struct operand o;       /* at: BODY while its numbers are in memory; blob and offset hold from gather_finish on */
    struct buf     numbers; /* that are not in the blob */
    struct buf     header;  /* as the file came with it; empty where the numbers came bare */
    void          *blob;    /* of the face; NULL while there is none */
    const char    *name;    /* of the blob: borrowed from the face, or named */
    char           named[BLOB_NAME_BYTES];
};

struct gather {
    struct limits     limits;
    struct blobs_face face; /* create is NULL where there are no blobs */
    bool              is_spilled;
    struct gathered   parts[OPERANDS];
};

/* blobs may be NULL: there are none. Both are copied. */
void gather_init(struct gather *g, const struct limits *limits, const struct blobs_face *blobs);
void gather_fini(struct gather *g);

/* Begins numbers whose count nobody knows yet: float64, row by row. */
void gather_open(struct gather *g, int i);

/* Makes room for one number at least in g->parts[i].numbers; to be called when there is none. */
enum err gather_room(struct gather *g, int i, struct fault *why) MUST_CHECK;

/* Begins numbers that come as a file, with its header as it came. */
enum err gather_open_file(struct gather *g, int i, const struct npy *n, const void *header,
                          struct fault *why) MUST_CHECK;

/* Takes numbers of a file, never more in all than its header says. */
enum err gather_append(struct gather *g, int i, const char *bytes, size_t len, struct fault *why) MUST_CHECK;

/* All numbers are there, and so is the shape. */
enum err gather_close(struct gather *g, int i, struct fault *why) MUST_CHECK;

/* The name need not be one that blobs can have. */
enum err gather_blob(struct gather *g, int i, const char *name, struct fault *why) MUST_CHECK;
enum err gather_random(struct gather *g, int i, uint64_t rows, uint64_t cols, uint64_t seed,
                       struct fault *why) MUST_CHECK;

/* Sets the shape, if it is within the limits. Nothing else is needed for gather_open'ed numbers. */
enum err gather_shape(struct gather *g, int i, uint64_t rows, uint64_t cols, struct fault *why) MUST_CHECK;

/* Most rows or columns of an operand. */
uint64_t gather_side_max(const struct gather *g);

/* Both operands are given and closed: looks into the blobs that were named, sets the sides in args (those that are
 * there must agree: ERR_PARAM), and hands out body and refs. */
enum err gather_finish(struct gather *g, struct args *args, struct taken *out, struct fault *why) MUST_CHECK;

#endif
