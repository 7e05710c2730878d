/* SPDX-License-Identifier: Apache-2.0 */
/* tool.c - clock, samples and giving up. */
#include "loadtest/tool.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

void tool_die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

int64_t tool_mono_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static double seconds_of(struct timeval t) { return (double)t.tv_sec + (double)t.tv_usec / 1e6; }

double tool_cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return seconds_of(u.ru_utime) + seconds_of(u.ru_stime);
}

long tool_number(const char *name, const char *text, long min, long max)
{
    char *end;
    long  n = strtol(text, &end, 10);

    if (end == text || *end || n < min || n > max)
        tool_die("%s must be a number from %ld to %ld, not '%s'", name, min, max, text);
    return n;
}

void samples_add(struct samples *s, int64_t us)
{
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 4096;
        s->us = realloc(s->us, s->room * sizeof *s->us);
        if (!s->us)
            tool_die("out of memory");
    }
    s->us[s->count++] = us;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

double samples_ms(struct samples *s, double share)
{
    size_t rank;

    if (!s->count)
        return 0;
    qsort(s->us, s->count, sizeof *s->us, by_size);
    rank = (size_t)ceil(share * (double)s->count);
    return (double)s->us[rank ? rank - 1 : 0] / 1000;
}

void samples_free(struct samples *s)
{
    free(s->us);
    *s = (struct samples){0};
}
