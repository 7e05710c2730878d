/* SPDX-License-Identifier: Apache-2.0 */
/* floor_copy.c - a file copied by read and write.
 *
 * Usage: floor_copy FROM TO [durable]. durable: with an fsync at the end, which
 * a gateway needs before it may say that it has the bytes. TO is removed
 * again. Prints one JSON line.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "loadtest/bare.h"
#include "loadtest/tool.h"

int main(int argc, char **argv)
{
    int      is_durable = argc == 4 && strcmp(argv[3], "durable") == 0;
    int64_t  start_us;
    uint64_t bytes;
    double   seconds;

    if (argc != 3 && !is_durable)
        tool_die("usage: floor_copy FROM TO [durable]");
    start_us = tool_mono_us();
    bytes = bare_copy(argv[1], argv[2], is_durable);
    seconds = (double)(tool_mono_us() - start_us) / 1e6;
    printf("{\"bytes\":%llu,\"seconds\":%.6f,\"mb_per_second\":%.1f}\n", (unsigned long long)bytes, seconds,
           (double)bytes / seconds / 1e6);
    unlink(argv[2]);
    return 0;
}
