/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - {"A":[[..]],"B":[[..]]} as it arrives, straight into float64.
 *
 * Takes the document in pieces of any size, cut anywhere, and comes to the
 * same end whatever the cuts. Keeps only numbers (and a literal or key that a
 * cut went through). The notation is RFC 8259's, to the letter, in at most 4,096
 * characters a number.
 *
 *   1. matrix_reader_new   2. _feed, any number of times   3. _finish   4. _free
 *
 * Once a call has failed, every later one gives the same answer. Faults of
 * notation name the byte, counted from 0; faults of shape name the row.
 *   ERR_JSON       not such a document, or a number beyond float64
 *   ERR_SHAPE      empty, ragged, or shapes that do not chain
 *   ERR_TOO_LARGE  more numbers than inline_max bytes, or 64 times that in text
 */
#ifndef MILLRACE_MATRIX_READER_H
#define MILLRACE_MATRIX_READER_H

#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"
#include "kinds/matrix/matrix.h"

struct matrix_reader;

struct matrix_reader *matrix_reader_new(size_t inline_max);

enum err matrix_reader_feed(struct matrix_reader *r, const char *bytes, size_t len, struct fault *why) MUST_CHECK;

/* The document is over: sides[MATRIX_M], [MATRIX_K], [MATRIX_N] are its
 * shapes, and the numbers of A and then B are appended to input. */
enum err matrix_reader_finish(struct matrix_reader *r, size_t sides[MATRIX_SIDES], struct buf *input,
                              struct fault *why) MUST_CHECK;

void matrix_reader_free(struct matrix_reader *r);

#endif
