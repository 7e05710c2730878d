/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_npy.c - any bytes as the header of a NumPy file, as they arrive: the same end however many are there, and
 * what is read can be written and read again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "kinds/matrix/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads with exactly as many bytes as were asked for, as far as there are any, in an allocation of their own, so
 * that ASan sees a step beyond them. *has_end: the header is there as a whole. */
static enum err read_growing(const uint8_t *data, size_t size, struct npy *n, bool *has_end, struct fault *why)
{
    size_t   have = 0, need = 0;
    enum err e;

    do {
        char *copy;

        have = need < size ? need : size;
        copy = xmemdup(data, have);
        e = npy_read_header(copy, have, n, &need, why);
        free(copy);
    } while (!e && need > have && have < size);
    *has_end = !e && need <= have;
    return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npy   whole = {0}, grown = {0};
    struct fault why, why_grown;
    size_t       need = 0;
    bool         has_end;
    enum err     e = npy_read_header(data, size, &whole, &need, &why);

    if (read_growing(data, size, &grown, &has_end, &why_grown) != e)
        abort();
    if (e && strcmp(why.detail, why_grown.detail) != 0)
        abort();
    if (e)
        return 0;
    if (has_end != (need <= size) || need > NPY_HEADER_MAX)
        abort();
    if (has_end) {
        char       header[NPY_HEADER_BYTES];
        struct npy back;

        if (memcmp(&whole, &grown, sizeof whole) != 0 || !whole.rows || !whole.cols || whole.data_at != need)
            abort();
        npy_write_header(header, whole.dtype, whole.rows, whole.cols);
        if (npy_read_header(header, sizeof header, &back, &need, &why) || back.rows != whole.rows ||
            back.cols != whole.cols || back.dtype != whole.dtype || npy_data_bytes(&back) != npy_data_bytes(&whole))
            abort();
    }
    return 0;
}
