/* SPDX-License-Identifier: Apache-2.0 */
/* retry.c - see retry.h. */
#include "common/retry.h"

int64_t retry_rung_seconds(int rung) { return (int64_t)1 << rung; }

/* The largest rung whose wait is at most seconds; rung 0 when none is. */
static int rung_at_most(int64_t seconds)
{
    int rung = 0;

    while (rung + 1 < RUNG_COUNT && retry_rung_seconds(rung + 1) <= seconds)
        rung++;
    return rung;
}

int retry_backoff_rung(int64_t errors, int64_t base_s, int64_t cap_s, double dice)
{
    int highest = rung_at_most(cap_s);
    int rung = rung_at_most(base_s);

    for (int64_t i = 1; i < errors && rung < highest; i++)
        rung++;
    if (dice < 0.25)
        rung--;
    else if (dice < 0.5)
        rung++;
    if (rung > highest)
        rung = highest;
    return rung < 0 ? 0 : rung;
}

int retry_rung_within(int64_t wait_ms) { return rung_at_most(wait_ms / 1000); }
