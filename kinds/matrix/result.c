/* SPDX-License-Identifier: Apache-2.0 */
/* result.c - the file is handed to the disk while it is written: what seals it finds little left to wait for. */
#include "kinds/matrix/result.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "kinds/matrix/npy.h"

#define WRITE_BACK_BYTES (8u << 20) /* handed to the disk at one time */

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

/* A wish: what goes wrong with the bytes is told by the sync of the seal. */
static void hand_over(struct result *r)
{
    if (r->written - r->handed_over < WRITE_BACK_BYTES)
        return;
    (void)sync_file_range(r->task->output_fd, (off_t)r->handed_over, (off_t)(r->written - r->handed_over),
                          SYNC_FILE_RANGE_WRITE);
    r->handed_over = r->written;
}

enum err result_write(struct result *r, const void *numbers, uint64_t len, struct fault *why)
{
    enum err e;

    if (!r->sum)
        return ERR_OK;
    e = write_piece(r->task->output_fd, numbers, len, r->written, why);
    if (!e) {
        r->written += len;
        hand_over(r);
    }
    return e;
}

void result_sum(struct result *r, const void *numbers, uint64_t len)
{
    if (r->sum)
        checksum_add(r->sum, numbers, len);
}

enum err result_begin(struct result *r, struct task *task, uint64_t rows, uint64_t cols, enum dtype dtype)
{
    char header[NPY_HEADER_BYTES];

    *r = (struct result){.task = task, .len = result_bytes(rows, cols, dtype)};
    if (task->output) {
        npy_write_header(task->output, dtype, rows, cols);
        return ERR_OK;
    }
    r->sum = checksum_new();
    npy_write_header(header, dtype, rows, cols);
    result_sum(r, header, sizeof header);
    return result_write(r, header, sizeof header, &task->why);
}

void result_end(struct result *r)
{
    if (r->sum)
        checksum_hex(r->sum, r->task->sum);
    checksum_free(r->sum);
    r->sum = NULL;
    r->task->output_len = r->len;
}
