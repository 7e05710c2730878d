/* SPDX-License-Identifier: Apache-2.0 */
/* tool.h - what the small programs of the benchmarks share: a clock, samples,
 * and one way to give up. They link nothing of the product. */
#ifndef MILLRACE_LOADTEST_TOOL_H
#define MILLRACE_LOADTEST_TOOL_H

#include <stddef.h>
#include <stdint.h>

/* Ends the program with a sentence on stderr and status 1: a benchmark has
 * either a number or no number, never half of one. */
_Noreturn void tool_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Monotonic time. */
int64_t tool_mono_us(void);

/* CPU time, user and system, of this process so far, in seconds. */
double tool_cpu_seconds(void);

/* A whole decimal number from an argument, within bounds; else dies. */
long tool_number(const char *name, const char *text, long min, long max);

/* Latencies in us, any number of them. */
struct samples {
    int64_t *us; /* owned */
    size_t   count, room;
};

void samples_add(struct samples *s, int64_t us);

/* The smallest sample that share (0 to 1) of them do not exceed, in ms; 0 when
 * there is none. Sorts s. */
double samples_ms(struct samples *s, double share);

void samples_free(struct samples *s);

#endif
