/* SPDX-License-Identifier: Apache-2.0 */
/* floor_text.c - how fast one core reads numbers from text, and prints them.
 *
 * Usage: floor_text scan ROWS COLS   the document that load_large sends, in pieces of 64 KB
 *        floor_text print FILE.npy   its numbers as JSON rows, into memory that stays in the cache
 * Prints one JSON line.
 */
#include <stdio.h>
#include <string.h>

#include "loadtest/bare.h"
#include "loadtest/text.h"
#include "loadtest/tool.h"

#define PIECE_BYTES 65536
#define RING 8192 /* numbers that are kept, a power of two: what is read has to go somewhere */
#define SIDE_MAX 1000000

static void say(uint64_t bytes, uint64_t numbers, int64_t start_us, double start_cpu)
{
    double seconds = (double)(tool_mono_us() - start_us) / 1e6;

    printf("{\"bytes\":%llu,\"numbers\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"mb_per_second\":%.1f}\n",
           (unsigned long long)bytes, (unsigned long long)numbers, seconds, tool_cpu_seconds() - start_cpu,
           (double)bytes / seconds / 1e6);
}

static void run_scan(long rows, long cols)
{
    static double ring[RING];
    struct scan   scan = {.out = ring, .mask = RING - 1};
    struct text   text;
    const char   *bytes;
    size_t        len;
    int64_t       start_us;
    double        start_cpu;

    text_init(&text, rows, cols);
    start_cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    while ((bytes = text_next(&text, PIECE_BYTES, &len)))
        scan_feed(&scan, bytes, len);
    say(text_bytes(&text), scan.count, start_us, start_cpu);
    if (scan.count != 2 * (size_t)rows * (size_t)cols)
        tool_die("%zu numbers were found", scan.count);
    text_free(&text);
}

/* What lies on the disk is fetched first: the time is that of printing. */
static void run_print(const char *path)
{
    static volatile double seen;
    struct npy             c;
    int64_t                start_us;
    double                 start_cpu;

    npy_map(&c, path);
    for (size_t i = 0; i < c.rows * c.cols; i += 512)
        seen = c.numbers[i];
    (void)seen;
    start_cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    say(bare_print(c.numbers, c.rows, c.cols), c.rows * c.cols, start_us, start_cpu);
    npy_unmap(&c);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "scan") == 0)
        run_scan(tool_number("ROWS", argv[2], 1, SIDE_MAX), tool_number("COLS", argv[3], 1, SIDE_MAX));
    else if (argc == 3 && strcmp(argv[1], "print") == 0)
        run_print(argv[2]);
    else
        tool_die("usage: floor_text scan ROWS COLS | print FILE.npy");
    return 0;
}
