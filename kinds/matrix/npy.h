/* SPDX-License-Identifier: Apache-2.0 */
/* npy.h - the header of NumPy's file format, for one matrix.
 *
 * Written: version 1.0, always NPY_HEADER_BYTES. Read: versions 1 to 3, as any
 * writer may put it: keys in any order, either quotes, blanks, either order of
 * the numbers. Taken are the types of enum dtype, little-endian, in two dimensions.
 *
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
#ifndef MILLRACE_NPY_H
#define MILLRACE_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "kinds/matrix/matrix.h"

#define NPY_HEADER_BYTES 128            /* a multiple of 64, enough for any two sides below 10^19 */
#define NPY_HEADER_MAX (12 + 64 * 1024) /* longest header that is read */

struct npy {
    enum dtype dtype;
    bool       is_fortran; /* column by column */
    uint64_t   rows, cols; /* >= 1; all the numbers together are less than 2^63 bytes */
    uint64_t   data_at;    /* bytes in front of the first number */
};

/* Writes the header of a matrix in C order; the numbers follow it. */
void npy_write_header(char out[NPY_HEADER_BYTES], enum dtype dtype, uint64_t rows, uint64_t cols);

/* Reads the header that the len bytes begin with. ERR_OK and *need > len: more bytes are needed, *need of them
 * at least and NPY_HEADER_MAX at most, and out is untouched; ERR_OK else: out is filled, *need is out->data_at.
 * What is wrong is told as early as it can be seen. ERR_BODY: no such file, or another type of numbers;
 * ERR_SHAPE: no matrix, or an empty one. */
enum err npy_read_header(const void *bytes, size_t len, struct npy *out, size_t *need, struct fault *why) MUST_CHECK;

/* Bytes of the numbers behind the header. */
uint64_t npy_data_bytes(const struct npy *n);

#endif
