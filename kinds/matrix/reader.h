/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - {"A":[[..]],"B":[[..]]} as it arrives, straight into float64.
 *
 * Takes the document in pieces of any size, cut anywhere, and comes to the
 * same end whatever the cuts. Keeps nothing of the text but the literal, key or
 * small object that a cut went through; the numbers go to a gather (gather.h),
 * and so does an operand that is an object (origin.h) instead of an array. The
 * notation is RFC 8259's, to the letter, in at most 4,096 characters a number.
 *
 *   1. matrix_reader_new   2. _feed, any number of times   3. _finish   4. _free
 *
 * Once a call has failed, every later one gives the same answer. Faults of
 * notation name the byte, counted from 0; faults of shape name the row.
 *   ERR_JSON       not such a document, or a number beyond float64
 *   ERR_SHAPE      empty or ragged
 *   ERR_TOO_LARGE  sides beyond the limit, or more text than upload_max
 *   and what gather.h refuses
 */
#ifndef MILLRACE_MATRIX_READER_H
#define MILLRACE_MATRIX_READER_H

#include <stddef.h>

#include "common/err.h"
#include "kinds/matrix/gather.h"

struct matrix_reader;

/* g is borrowed until matrix_reader_free. */
struct matrix_reader *matrix_reader_new(struct gather *g);

enum err matrix_reader_feed(struct matrix_reader *r, const char *bytes, size_t len, struct fault *why) MUST_CHECK;

/* The document is over: both operands are given and closed. */
enum err matrix_reader_finish(struct matrix_reader *r, struct fault *why) MUST_CHECK;

void matrix_reader_free(struct matrix_reader *r);

#endif
