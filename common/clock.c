/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - thin over clock_gettime. */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t mono_us(void) { return read_us(CLOCK_MONOTONIC); }
int64_t mono_ms(void) { return read_us(CLOCK_MONOTONIC) / 1000; }
int64_t wall_ms(void) { return read_us(CLOCK_REALTIME) / 1000; }

void wall_format(int64_t wall, char out[WALL_TEXT_BYTES])
{
    int64_t   ms = wall < 0 ? 0 : wall > WALL_MAX_MS ? WALL_MAX_MS : wall;
    time_t    seconds = (time_t)(ms / 1000);
    struct tm tm = {0};
    char      day[21] = "";

    gmtime_r(&seconds, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, WALL_TEXT_BYTES, "%.19s.%03uZ", day, (unsigned)(ms % 1000));
}
