/* SPDX-License-Identifier: Apache-2.0 */
/* ahead.h - an intake that reads on the thread pool while the loop receives.
 *
 * Numbers take longer to read than to receive. The first AHEAD_FROM bytes of a
 * body, and whatever is part of a form, go to the intake at once, on the loop:
 * most bodies have no more. What follows gathers; where there is AHEAD_LEAST of
 * it the pool reads that, in order, one piece at a time, while the next one
 * gathers. A piece has AHEAD_MOST bytes or little more; two of them are held,
 * and as many bytes of numbers, however long the body is.
 *
 *   1. ahead_new   2. ahead_feed, as the body comes   3. ahead_end   4. ahead_free
 *
 * What is wrong with a piece is told by the next call behind its reading.
 */
#ifndef MILLRACE_AHEAD_H
#define MILLRACE_AHEAD_H

#include "api/spill.h"
#include "kinds/kind.h"

#define AHEAD_FROM (256u << 10)
#define AHEAD_LEAST (512u << 10) /* less would be read in less time than it takes to wake a thread */
#define AHEAD_MOST (2u << 20)
#define AHEADS_MAX 32 /* bodies that are read so at one time; others are read on the loop */

struct ahead;

/* on_read: a held request may go on; not called behind ahead_free. intake is static, spill borrowed until
 * ahead_free. */
struct ahead *ahead_new(struct gateway *gw, const struct intake *intake, struct spill *spill,
                        void (*on_read)(void *ctx), void *ctx);

/* part, is_first: as struct intake has them. */
enum err ahead_feed(struct ahead *a, const char *part, bool is_first, const char *bytes, size_t len,
                    struct fault *why) MUST_CHECK;

/* The pool reads: ahead_end has to wait for on_read. */
bool ahead_is_busy(const struct ahead *a);

/* The pool reads, and the next piece is there: ahead_feed should wait for on_read. */
bool ahead_is_full(const struct ahead *a);

/* As the intake's end; no longer busy. */
enum err ahead_end(struct ahead *a, struct args *args, struct taken *out, struct fault *why) MUST_CHECK;

/* At any time: what the pool is reading is let go of when it has. Accepts NULL. */
void ahead_free(struct ahead *a);

#endif
