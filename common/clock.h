/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - the two clocks, told apart by name.
 *
 * mono_*: for waiting; never jumps, means nothing outside this boot.
 * wall_*: for records; UTC since 1970, may jump.
 */
#ifndef MILLRACE_CLOCK_H
#define MILLRACE_CLOCK_H

#include <stdint.h>

#define WALL_TEXT_BYTES 25 /* "2026-11-20T22:49:00.123Z" and NUL */

int64_t mono_us(void);
int64_t mono_ms(void);
int64_t wall_ms(void);

#define WALL_MAX_MS INT64_C(253402300799999) /* the last ms of the year 9999, where RFC 3339 ends */

/* Writes wall (ms since 1970) as RFC 3339 with milliseconds, in UTC. What lies
 * before 1970 or after WALL_MAX_MS is written as that limit. */
void wall_format(int64_t wall, char out[WALL_TEXT_BYTES]);

#endif
