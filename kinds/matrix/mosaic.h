/* SPDX-License-Identifier: Apache-2.0 */
/* mosaic.h - the numbers of a product, or of a window into it, wherever they lie: in one NumPy file, or in the
 * tiles of a group, each a file of its own (kinds/matrix/matrix.h). They are seen as one run of bytes, row by row. */
#ifndef MILLRACE_MOSAIC_H
#define MILLRACE_MOSAIC_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "kinds/matrix/matrix.h"

struct mosaic {
    const struct result_face *face;    /* borrowed */
    struct layout             layout;  /* of one piece: one tile */
    uint64_t                  data_at; /* bytes in front of the numbers of each piece */
    struct region             window;
    uint64_t                  row_bytes, bytes; /* of the window */
};

/* rows, cols: "a:b", 0-based and half-open, either side may be left out; NULL: all. The pieces that the window
 * touches are looked at, the first 64 of them, so that what is gone is told before anything is sent.
 * ERR_PARAM (no such window), ERR_RESULT_GONE (a piece is missing or no such file). */
enum err mosaic_open(const struct result_face *face, const char *rows, const char *cols, struct mosaic *out,
                     struct fault *why) MUST_CHECK;

/* Reads that all of the window takes. */
uint64_t mosaic_spans(const struct mosaic *p);

/* Up to len bytes of the window's numbers from offset on; fewer where many pieces of rows would have to be read
 * for them. 0 at the end alone; -1: a piece cannot be read (why). */
int64_t mosaic_read(const struct mosaic *p, uint64_t offset, void *out, size_t len, struct fault *why);

#endif
