/* SPDX-License-Identifier: Apache-2.0 */
/* jpeg.c - see the header.
 *
 * A file is a row of segments, FF, a code, and from APP0 on two bytes of length (which count themselves), until the
 * scan's begins. EXIF is an APP1 segment that holds a small TIFF: a header, then a directory of 12-byte entries. */
#include "kinds/image/jpeg.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { CODE_SOS = 0xda, CODE_APP0 = 0xe0, CODE_APP1, CODE_APP2, CODE_APP14 = 0xee, CODE_APP15, CODE_COM = 0xfe };

#define TAG_ORIENTATION 0x0112
#define TYPE_SHORT 3

struct segment {
    size_t at, end; /* from its FF to behind its last byte */
    int    code;
};

/* The segment behind s (which begins as a zeroed one); false where the scan or anything unexpected begins. */
static bool next_segment(const unsigned char *file, size_t len, struct segment *s)
{
    size_t at = s->end ? s->end : 2; /* behind the start of the image */

    while (at + 1 < len && file[at] == 0xff && file[at + 1] == 0xff) /* filling */
        at++;
    if (at + 4 > len || file[at] != 0xff || file[at + 1] < 0xc0 || file[at + 1] == CODE_SOS)
        return false;
    s->at = at;
    s->code = file[at + 1];
    s->end = at + 2 + ((size_t)file[at + 2] << 8 | file[at + 3]);
    return s->end >= at + 4 && s->end <= len;
}

/* ---- EXIF ---------------------------------------------------------------- */

struct exif {
    size_t at, end; /* of the TIFF in the file */
    bool   is_big;
};

static uint32_t read_number(const unsigned char *file, const struct exif *x, size_t at, int bytes)
{
    uint32_t value = 0;

    for (int i = 0; i < bytes; i++)
        value = value << 8 | file[at + (size_t)(x->is_big ? i : bytes - 1 - i)];
    return value;
}

static bool open_exif(const unsigned char *file, const struct segment *s, struct exif *x)
{
    static const char mark[6] = "Exif\0";

    *x = (struct exif){.at = s->at + 4 + sizeof mark, .end = s->end};
    if (s->code != CODE_APP1 || x->at + 8 > x->end || memcmp(file + s->at + 4, mark, sizeof mark) != 0)
        return false;
    x->is_big = file[x->at] == 'M';
    return (x->is_big || file[x->at] == 'I') && file[x->at] == file[x->at + 1] &&
           read_number(file, x, x->at + 2, 2) == 42;
}

/* Where the orientation stands in this segment, two bytes; 0: nowhere. */
static size_t find_orientation(const unsigned char *file, const struct segment *s, struct exif *x)
{
    size_t at, count;

    if (!open_exif(file, s, x))
        return 0;
    at = read_number(file, x, x->at + 4, 4);
    if (at > x->end - x->at - 2)
        return 0;
    at += x->at;
    count = read_number(file, x, at, 2);
    for (at += 2; count && x->end - at >= 12; count--, at += 12)
        if (read_number(file, x, at, 2) == TAG_ORIENTATION && read_number(file, x, at + 2, 2) == TYPE_SHORT)
            return at + 8;
    return 0;
}

int jpeg_orientation(const unsigned char *file, size_t len)
{
    struct segment s = {0};
    struct exif    x;

    while (next_segment(file, len, &s)) {
        size_t   at = find_orientation(file, &s, &x);
        uint32_t value = at ? read_number(file, &x, at, 2) : 0;

        if (value >= 1 && value <= 8)
            return (int)value;
    }
    return 1;
}

void jpeg_set_upright(unsigned char *file, size_t len)
{
    struct segment s = {0};
    struct exif    x;

    while (next_segment(file, len, &s)) {
        size_t at = find_orientation(file, &s, &x);

        if (at) {
            file[at + !x.is_big] = 0;
            file[at + x.is_big] = 1;
        }
    }
}

/* ---- stripping ----------------------------------------------------------- */

/* What is needed of the segments that applications write, each by the mark that it begins with. */
static const struct {
    int         code;
    const char *mark;
    size_t      len;
} needed[] = {
    {CODE_APP0, "JFIF", 5},         /* an extension of it, JFXX, is a thumbnail */
    {CODE_APP2, "ICC_PROFILE", 12}, /* each with its NUL */
    {CODE_APP14, "Adobe", 5},       /* which kind of colours */
};

static bool is_metadata(const unsigned char *file, const struct segment *s)
{
    if (s->code != CODE_COM && (s->code < CODE_APP0 || s->code > CODE_APP15))
        return false;
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (s->code == needed[i].code && s->end - s->at >= 4 + needed[i].len &&
            memcmp(file + s->at + 4, needed[i].mark, needed[i].len) == 0)
            return false;
    return true;
}

size_t jpeg_strip(unsigned char *file, size_t len)
{
    struct segment s = {0};

    while (next_segment(file, len, &s)) {
        if (!is_metadata(file, &s))
            continue;
        memmove(file + s.at, file + s.end, len - s.end);
        len -= s.end - s.at;
        s.end = s.at;
    }
    return len;
}
