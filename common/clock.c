/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - thin over clock_gettime. */
#include "common/clock.h"

#include <string.h>
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

/* So many digits of value, right to left. */
static void put_digits(char *end, int count, unsigned value)
{
    for (; count > 0; count--, value /= 10)
        *--end = (char)('0' + value % 10);
}

/* By arithmetic, ten times as fast as by gmtime_r and strftime: every line of the log begins so. The year is taken to
 * begin in March: then the odd day is its last one, and the lengths of the months follow a straight line. 146097 days
 * are 400 years; day 0 of 1970 is the 719468th since March of the year 0. */
void wall_format(int64_t wall, char out[WALL_TEXT_BYTES])
{
    int64_t  ms = wall < 0 ? 0 : wall > WALL_MAX_MS ? WALL_MAX_MS : wall;
    unsigned of_day = (unsigned)(ms / 1000 % 86400);
    unsigned days = (unsigned)(ms / 86400000) + 719468;
    unsigned of_era = days % 146097;
    unsigned years = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * years + years / 4 - years / 100);
    unsigned month = (5 * of_year + 2) / 153; /* 0 is March */

    memcpy(out, "0000-00-00T00:00:00.000Z", WALL_TEXT_BYTES);
    put_digits(out + 4, 4, years + days / 146097 * 400 + (month >= 10));
    put_digits(out + 7, 2, month < 10 ? month + 3 : month - 9);
    put_digits(out + 10, 2, of_year - (153 * month + 2) / 5 + 1);
    put_digits(out + 13, 2, of_day / 3600);
    put_digits(out + 16, 2, of_day / 60 % 60);
    put_digits(out + 19, 2, of_day % 60);
    put_digits(out + 23, 3, (unsigned)(ms % 1000));
}
