/* SPDX-License-Identifier: Apache-2.0 */
/* npy.h - NumPy's file format, version 1.0, for one matrix of float64 in C order.
 *
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
#ifndef MILLRACE_NPY_H
#define MILLRACE_NPY_H

#include <stddef.h>

#include "common/err.h"

#define NPY_HEADER_BYTES 128 /* a multiple of 64, enough for any two sides below 10^19 */

/* Writes the header of a rows x cols matrix; the numbers follow it. */
void npy_write_header(char out[NPY_HEADER_BYTES], size_t rows, size_t cols);

/* Reads any version 1.0 header of such a matrix and checks that the numbers
 * are all there. *numbers points into raw, not necessarily aligned.
 * ERR_BODY otherwise. */
enum err npy_read(const void *raw, size_t len, size_t *rows, size_t *cols, const char **numbers,
                  struct fault *why) MUST_CHECK;

#endif
