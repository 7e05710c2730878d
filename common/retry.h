/* SPDX-License-Identifier: Apache-2.0 */
/* retry.h - when, and through which delay queue, a failed attempt runs again.
 *
 * Pure arithmetic: the caller brings the dice. Delays are the broker's rungs
 * of 2^k seconds, one hop each; jitter is the choice of a neighbouring rung.
 * Formula: docs/delivery.md, "Backoff".
 */
#ifndef MILLRACE_RETRY_H
#define MILLRACE_RETRY_H

#include <stdint.h>

#define RUNG_COUNT 10 /* 1, 2, 4 .. 512 seconds */

/* The wait of rung k in seconds: 2^k. */
int64_t retry_rung_seconds(int rung);

/* The rung after failure number errors (counted from 1): base doubled errors-1
 * times, at most cap, then with probability 1/2 one rung up or down, never
 * beyond the rungs or above cap. base_s, cap_s: 1 to 512. dice: in [0, 1). */
int retry_backoff_rung(int64_t errors, int64_t base_s, int64_t cap_s, double dice);

/* The largest rung that is not longer than wait_ms, at least rung 0: for a
 * message that came too early. */
int retry_rung_within(int64_t wait_ms);

#endif
