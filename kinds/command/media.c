/* SPDX-License-Identifier: Apache-2.0 */
/* media.c - see the header. */
#include "kinds/command/media.h"

#include <string.h>
#include <strings.h>

static const struct {
    const char *extension, *type;
} names[] = {
    {"png", "image/png"},         {"jpg", "image/jpeg"},      {"jpeg", "image/jpeg"},
    {"webp", "image/webp"},       {"tif", "image/tiff"},      {"tiff", "image/tiff"},
    {"gif", "image/gif"},         {"svg", "image/svg+xml"},   {"bmp", "image/bmp"},
    {"pdf", "application/pdf"},   {"txt", "text/plain"},      {"csv", "text/csv"},
    {"json", "application/json"}, {"xml", "application/xml"}, {"html", "text/html"},
    {"zip", "application/zip"},   {"gz", "application/gzip"}, {"zst", "application/zstd"},
    {"tar", "application/x-tar"}, {"mp3", "audio/mpeg"},      {"wav", "audio/wav"},
    {"mp4", "video/mp4"},         {"webm", "video/webm"},     {"npy", "application/x-npy"},
};

/* Bytes at a place that say what follows. */
static const struct {
    size_t      at, len;
    const char *bytes, *type;
} beginnings[] = {
    {0, 8, "\x89PNG\r\n\x1a\n", "image/png"},
    {0, 3, "\xff\xd8\xff", "image/jpeg"},
    {8, 4, "WEBP", "image/webp"},
    {0, 4, "II*\0", "image/tiff"},
    {0, 4, "MM\0*", "image/tiff"},
    {0, 4, "GIF8", "image/gif"},
    {0, 5, "%PDF-", "application/pdf"},
    {0, 4, "PK\3\4", "application/zip"},
    {0, 2, "\x1f\x8b", "application/gzip"},
    {0, 4, "\x28\xb5\x2f\xfd", "application/zstd"},
    {0, 6, "\x93NUMPY", "application/x-npy"},
};

const char *media_of_name(const char *name)
{
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot && i < sizeof names / sizeof *names; i++)
        if (strcasecmp(dot + 1, names[i].extension) == 0)
            return names[i].type;
    return NULL;
}

const char *media_of_bytes(const void *head, size_t len)
{
    const char *bytes = head;

    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (beginnings[i].at + beginnings[i].len <= len &&
            memcmp(bytes + beginnings[i].at, beginnings[i].bytes, beginnings[i].len) == 0)
            return beginnings[i].type;
    return NULL;
}
