/* SPDX-License-Identifier: Apache-2.0 */
/* consume_pick.h - which kind a slot should serve next: the decision alone.
 *
 * A slot has one consumer at a time, since prefetch bounds a consumer and not
 * a channel, and a slot must never hold more than one message. So with fewer
 * slots than kinds the consumers move: to where work waits and nobody does,
 * away from a kind that was served long enough while others wait, and apart
 * when they idle.
 */
#ifndef MILLRACE_CONSUME_PICK_H
#define MILLRACE_CONSUME_PICK_H

#include <stdbool.h>
#include <stdint.h>

#define CONSUME_TURN_MS 100   /* a kind is served for so long before others that wait get their turn */
#define CONSUME_SPREAD_MS 250 /* idle for so long, a slot leaves a kind that another idle slot has too */

/* What is known about the kinds, without the slot that is asked about. */
struct consume_view {
    int            kind_count;
    const int64_t *ready;   /* by kind: messages waiting when last heard, less those taken since; < 0: unknown */
    const int     *waiting; /* by kind: other idle slots of this worker with a consumer there, or on the way */
    const bool    *is_out;  /* by kind: the slot that is asked about has no executor for it now */
};

/* For a slot without a consumer: the kind with work and without a waiting slot,
 * else the one with the fewest waiting. first breaks ties: the first looked at. -1: none can be served now. */
int consume_pick_first(const struct consume_view *view, int first);

/* For a slot that has waited idle_ms at kind: kind itself to stay, or where to go. */
int consume_pick_idle(const struct consume_view *view, int kind, int64_t idle_ms);

/* For a slot that ends a job and has served kind for served_ms: the same. */
int consume_pick_after(const struct consume_view *view, int kind, int64_t served_ms);

#endif
