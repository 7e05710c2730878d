/* SPDX-License-Identifier: Apache-2.0 */
/* bare.c - scanning, printing, copying. */
#include "loadtest/bare.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/numtext.h"
#include "loadtest/from_chars.h"
#include "loadtest/tool.h"

#define PRINT_BYTES 65536
#define COPY_BYTES 131072 /* as cp does */

/* ---- scanning -------------------------------------------------------------- */

/* Whether a number can go on with this. */
static bool is_inside(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

static bool is_begin(char c) { return (c >= '0' && c <= '9') || c == '-'; }

static void keep(struct scan *s, double number) { s->out[s->count++ & s->mask] = number; }

/* Completes the number that was broken off; returns where the rest begins. */
static const char *end_cut(struct scan *s, const char *p, const char *end)
{
    double number;

    while (p < end && is_inside(*p)) {
        if (s->cut_len == sizeof s->cut)
            tool_die("a number of more than %zu characters", sizeof s->cut);
        s->cut[s->cut_len++] = *p++;
    }
    if (p == end)
        return p;
    if (from_chars(s->cut, s->cut + s->cut_len, &number) != s->cut + s->cut_len)
        tool_die("'%.*s' is no number", (int)s->cut_len, s->cut);
    keep(s, number);
    s->cut_len = 0;
    return p;
}

void scan_feed(struct scan *s, const char *bytes, size_t len)
{
    const char *p = bytes, *end = bytes + len, *stop;
    double      number;

    if (s->cut_len)
        p = end_cut(s, p, end);
    while (p < end) {
        if (!is_begin(*p)) {
            p++;
            continue;
        }
        stop = from_chars(p, end, &number);
        if (!stop || stop == end)
            break; /* it may go on in the next piece */
        keep(s, number);
        p = stop;
    }
    if (p < end) {
        if ((size_t)(end - p) > sizeof s->cut)
            tool_die("no number can be read at '%.20s'", p);
        s->cut_len = (size_t)(end - p);
        memcpy(s->cut, p, s->cut_len);
    }
}

/* ---- printing -------------------------------------------------------------- */

uint64_t bare_print(const double *numbers, size_t rows, size_t cols)
{
    static char buffer[PRINT_BYTES];
    uint64_t    printed = 0;
    size_t      at = 0;

    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) {
            if (at > sizeof buffer - NUMTEXT_BYTES - 3) {
                printed += at;
                at = 0;
                __asm__ volatile("" ::: "memory"); /* the buffer counts as read */
            }
            buffer[at++] = j ? ',' : '[';
            at += numtext_print(numbers[i * cols + j], buffer + at);
            if (j + 1 == cols) {
                buffer[at++] = ']';
                buffer[at++] = ',';
            }
        }
    return printed + at;
}

/* ---- files ----------------------------------------------------------------- */

static int open_file(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd < 0)
        tool_die("cannot open %s", path);
    return fd;
}

void npy_map(struct npy *n, const char *path)
{
    int         fd = open_file(path, O_RDONLY);
    struct stat about;
    char        head[128] = "";
    const char *shape;
    size_t      head_len;

    if (fstat(fd, &about) != 0 || pread(fd, head, sizeof head - 1, 0) < 64)
        tool_die("cannot read %s", path);
    head_len = 10 + (size_t)(unsigned char)head[8] + 256 * (size_t)(unsigned char)head[9];
    shape = strstr(head + 10, "'shape': (");
    if (memcmp(head, "\x93NUMPY\x01", 7) != 0 || !strstr(head + 10, "'<f8'") || !strstr(head + 10, "False") || !shape ||
        sscanf(shape, "'shape': (%zu, %zu)", &n->rows, &n->cols) != 2)
        tool_die("%s is no .npy of float64 in C order", path);
    n->bytes = (size_t)about.st_size;
    if (n->bytes != head_len + n->rows * n->cols * sizeof(double))
        tool_die("%s has %zu bytes", path, n->bytes);
    n->map = mmap(NULL, n->bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (n->map == MAP_FAILED)
        tool_die("cannot map %s", path);
    n->numbers = (const double *)((const char *)n->map + head_len);
    close(fd);
}

void npy_unmap(struct npy *n) { munmap(n->map, n->bytes); }

uint64_t bare_copy(const char *from, const char *to, int is_durable)
{
    static char buffer[COPY_BYTES];
    int         in = open_file(from, O_RDONLY), out = open_file(to, O_WRONLY | O_CREAT | O_TRUNC);
    uint64_t    copied = 0;
    ssize_t     n;

    while ((n = read(in, buffer, sizeof buffer)) > 0) {
        if (write(out, buffer, (size_t)n) != n)
            tool_die("cannot write %s", to);
        copied += (uint64_t)n;
    }
    if (n < 0 || (is_durable && fsync(out) != 0) || close(out) != 0)
        tool_die("cannot copy %s to %s", from, to);
    close(in);
    return copied;
}
