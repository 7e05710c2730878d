/* SPDX-License-Identifier: Apache-2.0 */
/* tar.c - see the header. */
#include "kinds/command/tar.h"

#include <stdio.h>
#include <string.h>

#define BLOCK 512

/* Text fields are filled up with NUL; numbers are octal, with a NUL behind them. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[8];
    char user[32], group[32], major[8], minor[8], rest[167];
};
_Static_assert(sizeof(struct header) == BLOCK, "the fields fill the block");

/* Sizes of 8 GiB and more do not fit into eleven octal digits: GNU writes them as big-endian numbers, with the first
 * bit set. */
static void write_size(char field[12], uint64_t size)
{
    if (size < UINT64_C(1) << 33) {
        snprintf(field, 12, "%011llo", (unsigned long long)size);
        return;
    }
    field[0] = (char)0x80;
    for (int i = 11; i > 0; i--, size >>= 8)
        field[i] = (char)(size & 0xff);
}

/* The sum of all bytes, with blanks where it will stand. */
static void write_sum(struct header *h)
{
    const unsigned char *bytes = (const unsigned char *)h;
    unsigned             sum = 0;

    memset(h->sum, ' ', sizeof h->sum);
    for (size_t i = 0; i < sizeof *h; i++)
        sum += bytes[i];
    snprintf(h->sum, 7, "%06o", sum & 0777777);
}

static enum err put_header(const char *name, char type, uint64_t size, tar_put_fn *put, void *ctx)
{
    struct header h = {.mode = "0000644", .uid = "0000000", .gid = "0000000", .mtime = "00000000000", .type = type};

    memcpy(h.name, name, strnlen(name, sizeof h.name));
    memcpy(h.magic, "ustar  ", 8);
    write_size(h.size, size);
    write_sum(&h);
    return put(ctx, &h, sizeof h);
}

enum err tar_begin_file(const char *path, uint64_t size, tar_put_fn *put, void *ctx)
{
    size_t   len = strlen(path) + 1;
    enum err e = ERR_OK;

    if (len - 1 > sizeof((struct header *)NULL)->name) { /* the name is the contents of an entry in front */
        e = put_header("././@LongLink", 'L', len, put, ctx);
        if (!e)
            e = put(ctx, path, len);
        if (!e)
            e = tar_end_file(len, put, ctx);
    }
    return e ? e : put_header(path, '0', size, put, ctx);
}

enum err tar_end_file(uint64_t size, tar_put_fn *put, void *ctx)
{
    static const char zeros[BLOCK];

    return size % BLOCK ? put(ctx, zeros, BLOCK - size % BLOCK) : ERR_OK;
}

enum err tar_end(tar_put_fn *put, void *ctx)
{
    static const char zeros[2 * BLOCK];

    return put(ctx, zeros, sizeof zeros);
}
