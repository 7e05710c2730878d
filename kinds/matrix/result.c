/* SPDX-License-Identifier: Apache-2.0 */
/* result.c - pieces small enough that the checksum finds them in the cache when they are written. */
#include "kinds/matrix/result.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kinds/matrix/npy.h"

#define PIECE_BYTES (512u << 10)

uint64_t result_bytes(uint64_t rows, uint64_t cols, enum dtype dtype)
{
    uint64_t bytes;

    if (__builtin_mul_overflow(rows * cols, dtype_bytes(dtype), &bytes) || bytes > UINT64_MAX - NPY_HEADER_BYTES)
        return UINT64_MAX; /* sides are at most 2^31 */
    return NPY_HEADER_BYTES + bytes;
}

void *result_place(const struct task *task) { return task->output ? (char *)task->output + NPY_HEADER_BYTES : NULL; }

/* All of the bytes at this place of the file. */
static enum err write_piece(int fd, const char *bytes, size_t len, uint64_t at, struct fault *why)
{
    while (len) {
        ssize_t written = pwrite(fd, bytes, len, (off_t)at);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0 && (errno == ENOSPC || errno == EDQUOT))
            return fault_set(why, ERR_DISK_FULL, "no room for the product behind byte %llu", (unsigned long long)at);
        if (written <= 0)
            return fault_set(why, ERR_IO, "writing the product at byte %llu: %s", (unsigned long long)at,
                             written ? strerror(errno) : "nothing was written");
        bytes += written;
        len -= (size_t)written;
        at += (uint64_t)written;
    }
    return ERR_OK;
}

static enum err write_file(struct task *task, const char *header, const char *numbers, uint64_t len)
{
    struct checksum *sum = checksum_new();
    enum err         e = write_piece(task->output_fd, header, NPY_HEADER_BYTES, 0, &task->why);

    checksum_add(sum, header, NPY_HEADER_BYTES);
    for (uint64_t at = 0; at < len && !e; at += PIECE_BYTES) {
        size_t piece = len - at < PIECE_BYTES ? (size_t)(len - at) : PIECE_BYTES;

        checksum_add(sum, numbers + at, piece);
        e = write_piece(task->output_fd, numbers + at, piece, NPY_HEADER_BYTES + at, &task->why);
    }
    if (!e)
        checksum_hex(sum, task->sum);
    checksum_free(sum);
    return e;
}

enum err result_write(struct task *task, uint64_t rows, uint64_t cols, enum dtype dtype, const void *numbers)
{
    char     header[NPY_HEADER_BYTES];
    enum err e = ERR_OK;

    if (task->output) {
        npy_write_header(task->output, dtype, rows, cols);
    } else {
        npy_write_header(header, dtype, rows, cols);
        e = write_file(task, header, numbers, rows * cols * dtype_bytes(dtype));
    }
    if (!e)
        task->output_len = result_bytes(rows, cols, dtype);
    return e;
}
