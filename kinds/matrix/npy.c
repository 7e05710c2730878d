/* SPDX-License-Identifier: Apache-2.0 */
/* npy.c - magic, version, length of the header, and a Python literal. */
#include "kinds/matrix/npy.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_BYTES 10 /* magic 6, version 2, header length 2 */
#define LITERAL_MAX 512 /* more than any writer pads a two-sided shape to */

static const char prefix[8] = "\x93NUMPY\x01\x00";

void npy_write_header(char out[NPY_HEADER_BYTES], size_t rows, size_t cols)
{
    const unsigned rest = NPY_HEADER_BYTES - PREFIX_BYTES;
    char           literal[NPY_HEADER_BYTES];
    int len = snprintf(literal, sizeof(literal), "{'descr': '<f8', 'fortran_order': False, 'shape': (%zu, %zu), }",
                       rows, cols);

    assert(len > 0 && (unsigned)len < rest);
    memcpy(out, prefix, sizeof(prefix));
    out[8] = (char)(rest & 0xff);
    out[9] = (char)(rest >> 8);
    memset(out + PREFIX_BYTES, ' ', rest);
    memcpy(out + PREFIX_BYTES, literal, (size_t)len);
    out[NPY_HEADER_BYTES - 1] = '\n';
}

/* Reads "(2, 3)" behind 'shape':. */
static bool read_shape(const char *literal, size_t *rows, size_t *cols)
{
    const char        *p = strstr(literal, "'shape': (");
    unsigned long long r, c;

    if (!p || sscanf(p, "'shape': (%20llu, %20llu)", &r, &c) != 2)
        return false;
    *rows = r;
    *cols = c;
    return true;
}

enum err npy_read(const void *raw, size_t len, size_t *rows, size_t *cols, const char **numbers, struct fault *why)
{
    const unsigned char *bytes = raw;
    char                 literal[LITERAL_MAX + 1];
    size_t               rest, room, r, c, count;

    if (len < PREFIX_BYTES || memcmp(bytes, prefix, sizeof(prefix)) != 0)
        return fault_set(why, ERR_BODY, "not a NumPy file of version 1.0");
    rest = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (rest > LITERAL_MAX || rest > len - PREFIX_BYTES)
        return fault_set(why, ERR_BODY, "the NumPy header of %zu bytes is cut short or too long", rest);
    memcpy(literal, bytes + PREFIX_BYTES, rest);
    literal[rest] = 0;
    if (!strstr(literal, "'descr': '<f8'") || !strstr(literal, "'fortran_order': False") ||
        !read_shape(literal, &r, &c))
        return fault_set(why, ERR_BODY, "not a NumPy matrix of float64 in C order: %.120s", literal);
    room = (len - PREFIX_BYTES - rest) / sizeof(double);
    if (!r || !c || __builtin_mul_overflow(r, c, &count) || count != room ||
        (len - PREFIX_BYTES - rest) % sizeof(double))
        return fault_set(why, ERR_BODY, "a NumPy matrix of %zu x %zu with %zu bytes behind its header", r, c,
                         len - PREFIX_BYTES - rest);
    *rows = r;
    *cols = c;
    *numbers = (const char *)raw + PREFIX_BYTES + rest;
    return ERR_OK;
}
