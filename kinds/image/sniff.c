/* SPDX-License-Identifier: Apache-2.0 */
/* sniff.c - see the header. */
#include "kinds/image/sniff.h"

#include <stdint.h>
#include <string.h>

#define RIFF_HEAD 12 /* "RIFF", size, "WEBP"; then chunks: name, size, bytes, filled up to an even number */
#define CHUNK_HEAD 8

static bool has(const unsigned char *file, size_t len, size_t at, const char *mark, size_t mark_len)
{
    return len >= at + mark_len && memcmp(file + at, mark, mark_len) == 0;
}

enum err sniff_format(const unsigned char *file, size_t len, enum image_format *out, struct fault *why)
{
    if (has(file, len, 0, "\xff\xd8\xff", 3))
        *out = IMAGE_JPEG;
    else if (has(file, len, 0, "\x89PNG\r\n\x1a\n", 8))
        *out = IMAGE_PNG;
    else if (has(file, len, 0, "RIFF", 4) && has(file, len, 8, "WEBP", 4))
        *out = IMAGE_WEBP;
    else if (has(file, len, 0, "II*\0", 4) || has(file, len, 0, "MM\0*", 4) || has(file, len, 0, "II+\0", 4) ||
             has(file, len, 0, "MM\0+", 4))
        *out = IMAGE_TIFF;
    else
        return fault_set(why, ERR_BODY,
                         "not an image that can be read: it begins like none of JPEG, PNG, WebP and TIFF");
    return ERR_OK;
}

bool sniff_webp_lossless(const unsigned char *file, size_t len)
{
    size_t at = RIFF_HEAD;

    while (len >= CHUNK_HEAD && at <= len - CHUNK_HEAD) {
        const unsigned char *size = file + at + 4;
        uint64_t bytes = size[0] | (uint64_t)size[1] << 8 | (uint64_t)size[2] << 16 | (uint64_t)size[3] << 24;

        if (memcmp(file + at, "VP8L", 4) == 0)
            return true;
        at += CHUNK_HEAD + bytes + (bytes & 1);
    }
    return false;
}
