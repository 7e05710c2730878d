/* SPDX-License-Identifier: Apache-2.0 */
/* consume_pick.c - see the header. Every search goes round from the kind behind
 * the present one, so that no kind comes first for ever. */
#include "worker/consume_pick.h"

#include <limits.h>
#include <stdbool.h>

static bool is_uncovered(const struct consume_view *view, int kind)
{
    return view->ready[kind] > 0 && view->waiting[kind] == 0 && !view->is_out[kind];
}

/* The next kind round from kind that has work and nobody waiting for it, or kind. */
static int next_uncovered(const struct consume_view *view, int kind)
{
    for (int i = 1; i < view->kind_count; i++) {
        int other = (kind + i) % view->kind_count;
        if (is_uncovered(view, other))
            return other;
    }
    return kind;
}

int consume_pick_first(const struct consume_view *view, int first)
{
    int  best = -1, fewest = INT_MAX;
    bool best_has_work = false;

    for (int i = 0; i < view->kind_count; i++) {
        int  kind = (first + i) % view->kind_count;
        bool has_work = view->ready[kind] > view->waiting[kind];
        if (view->is_out[kind] || has_work < best_has_work)
            continue;
        if (has_work > best_has_work || view->waiting[kind] < fewest) {
            best = kind;
            best_has_work = has_work;
            fewest = view->waiting[kind];
        }
    }
    return best;
}

int consume_pick_idle(const struct consume_view *view, int kind, int64_t idle_ms)
{
    int next = next_uncovered(view, kind);

    if (next != kind || view->waiting[kind] == 0 || idle_ms < CONSUME_SPREAD_MS)
        return next;
    for (int i = 1; i < view->kind_count; i++) {
        int other = (kind + i) % view->kind_count;
        if (view->waiting[other] == 0 && !view->is_out[other])
            return other;
    }
    return kind;
}

int consume_pick_after(const struct consume_view *view, int kind, int64_t served_ms)
{
    /* A kind that has run dry, as far as known, gives way at once. */
    if (view->ready[kind] > 0 && served_ms < CONSUME_TURN_MS)
        return kind;
    return next_uncovered(view, kind);
}
