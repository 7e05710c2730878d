/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c - see the header. */
#include "cli/place/pack.h"

#include <stdlib.h>
#include <string.h>

#include "cli/place/fit.h"
#include "common/buf.h"

#define WEIGHT_FIRST 100
#define WEIGHT_SECOND 15
#define SCORE_MAX 100
#define BALANCED_BYTES_PER_MILLI ((wide)4000000) /* 4 GB for each core */

/* ---- ranking ------------------------------------------------------------------- */

struct rank {
    size_t node;
    wide   first, second; /* free of what counts, and of the other */
};

static int by_rank(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;

    if (x->first != y->first)
        return x->first > y->first ? -1 : 1;
    if (x->second != y->second)
        return x->second > y->second ? -1 : 1;
    return x->node < y->node ? -1 : 1; /* nodes are in the order of their names */
}

size_t *pack_rank(const struct batch *b, const struct cluster *c)
{
    struct rank *ranks = xcalloc(c->count, sizeof *ranks);
    size_t      *order = xcalloc(c->count, sizeof *order);

    for (size_t i = 0; i < c->count; i++) {
        struct amount free_now = node_free(&c->nodes[i]);

        ranks[i] = b->is_cpu_bound ? (struct rank){i, free_now.cpu_milli, free_now.memory_bytes}
                                   : (struct rank){i, free_now.memory_bytes, free_now.cpu_milli};
    }
    qsort(ranks, c->count, sizeof *ranks, by_rank);
    for (size_t i = 0; i < c->count; i++)
        order[i] = ranks[i].node;
    free(ranks);
    return order;
}

size_t pack_rank_for(const struct task *t, const struct cluster *c, const size_t *order, size_t *out)
{
    size_t count = 0;

    for (int is_last = 0; is_last < 2; is_last++)
        for (size_t i = 0; i < c->count; i++) {
            const struct node *n = &c->nodes[order[i]];

            if (fit_of(t, n) == FIT_YES && (fit_discouraged(t, n) > 0) == is_last)
                out[count++] = order[i];
        }
    return count;
}

int pack_weight(size_t place)
{
    if (!place)
        return WEIGHT_FIRST;
    return place <= WEIGHT_SECOND ? WEIGHT_SECOND + 1 - (int)place : 1;
}

/* ---- placing -------------------------------------------------------------------- */

static void packing_init(struct packing *p, const struct batch *b, const struct cluster *c)
{
    p->placed = xcalloc(b->count, sizeof *p->placed);
    p->count = b->count;
    p->free = xcalloc(c->count, sizeof *p->free);
    for (size_t i = 0; i < c->count; i++)
        p->free[i] = node_free(&c->nodes[i]);
}

void packing_free(struct packing *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->placed[i].shares);
    free(p->placed);
    free(p->free);
    *p = (struct packing){0};
}

static void put(struct packing *p, size_t task, const struct amount *need, size_t node, int64_t pods)
{
    struct placed *placed = &p->placed[task];
    size_t         i = 0;

    while (i < placed->count && placed->shares[i].node != node)
        i++;
    if (i == placed->count) {
        placed->shares = xrealloc(placed->shares, (placed->count + 1) * sizeof *placed->shares);
        placed->shares[placed->count++] = (struct share){node, 0};
    }
    placed->shares[i].pods += pods;
    p->free[node].cpu_milli -= need->cpu_milli * pods;
    p->free[node].memory_bytes -= need->memory_bytes * pods;
    p->free[node].pods -= pods;
}

void pack_first_fit(const struct batch *b, const struct cluster *c, const size_t *order, struct packing *out)
{
    size_t *ranking = xcalloc(c->count, sizeof *ranking);

    packing_init(out, b, c);
    for (size_t i = 0; i < b->count; i++) {
        const struct task *t = &b->tasks[i];
        size_t             count = pack_rank_for(t, c, order, ranking);
        int64_t            left = t->parallelism;

        for (size_t place = 0; left && place < count; place++) {
            int64_t pods = fit_count(&t->need, &out->free[ranking[place]]);

            pods = pods < left ? pods : left;
            if (pods)
                put(out, i, &t->need, ranking[place], pods);
            left -= pods;
        }
        out->placed[i].nowhere = left;
    }
    free(ranking);
}

/* ---- the scheduler's way ----------------------------------------------------------- */

/* A node that can take the job, and what speaks for it whatever its load. */
struct candidate {
    size_t node;
    int    weight;      /* 0: no preference */
    int    discouraged; /* taints */
};

static bool has_room(const struct amount *need, const struct amount *free_now)
{
    return free_now->cpu_milli >= need->cpu_milli && free_now->memory_bytes >= need->memory_bytes && free_now->pods > 0;
}

/* LeastAllocated and BalancedAllocation, as if the pod were there; whole and real numbers where the scheduler has them.
 */
static int score_of_load(const struct amount *need, const struct node *n, const struct amount *free_now)
{
    wide   cpu = free_now->cpu_milli - need->cpu_milli, cpu_all = n->allocatable.cpu_milli;
    wide   memory = free_now->memory_bytes - need->memory_bytes, memory_all = n->allocatable.memory_bytes;
    int    least = ((int)(cpu * SCORE_MAX / cpu_all) + (int)(memory * SCORE_MAX / memory_all)) / 2;
    double apart = (double)(cpu_all - cpu) / (double)cpu_all - (double)(memory_all - memory) / (double)memory_all;

    return least + (int)((1 - (apart < 0 ? -apart : apart) / 2) * SCORE_MAX); /* half of it is the deviation of two */
}

/* The index of the candidate that wins one pod; count: none has room. */
static size_t elect(const struct task *t, const struct cluster *c, const struct candidate *all, size_t count,
                    const struct amount *free_now)
{
    int    weight_max = 0, discouraged_max = 0, best_score = -1;
    size_t best = count;

    for (size_t i = 0; i < count; i++)
        if (has_room(&t->need, &free_now[all[i].node])) { /* scores are measured by the best of those with room */
            weight_max = all[i].weight > weight_max ? all[i].weight : weight_max;
            discouraged_max = all[i].discouraged > discouraged_max ? all[i].discouraged : discouraged_max;
        }
    for (size_t i = 0; i < count; i++) {
        const struct amount *left = &free_now[all[i].node];
        int                  score;

        if (!has_room(&t->need, left))
            continue;
        score = score_of_load(&t->need, &c->nodes[all[i].node], left);
        score += weight_max ? 2 * (SCORE_MAX * all[i].weight / weight_max) : 0;
        score += 3 * (SCORE_MAX - (discouraged_max ? SCORE_MAX * all[i].discouraged / discouraged_max : 0));
        if (score > best_score || (score == best_score && all[i].node < all[best].node)) {
            best_score = score;
            best = i;
        }
    }
    return best;
}

void pack_scheduled(const struct batch *b, const struct cluster *c, const size_t *order, bool is_preferring,
                    struct packing *out)
{
    struct candidate *all = xcalloc(c->count, sizeof *all);
    size_t           *ranking = xcalloc(c->count, sizeof *ranking);

    packing_init(out, b, c);
    for (size_t i = 0; i < b->count; i++) {
        const struct task *t = &b->tasks[i];
        size_t             count = pack_rank_for(t, c, order, ranking), best = 0;
        int64_t            left = t->parallelism;

        for (size_t place = 0; place < count; place++)
            all[place] = (struct candidate){ranking[place], is_preferring ? pack_weight(place) : 0,
                                            fit_discouraged(t, &c->nodes[ranking[place]])};
        for (; left; left--) {
            best = elect(t, c, all, count, out->free);
            if (best == count)
                break;
            put(out, i, &t->need, all[best].node, 1);
        }
        out->placed[i].nowhere = left;
    }
    free(ranking);
    free(all);
}

/* ---- what it comes to ----------------------------------------------------------------- */

struct tally packing_tally(const struct packing *p, const struct cluster *c)
{
    struct tally out = {0};
    bool        *is_touched = xcalloc(c->count, sizeof *is_touched);

    for (size_t i = 0; i < p->count; i++) {
        out.nowhere += p->placed[i].nowhere;
        for (size_t k = 0; k < p->placed[i].count; k++)
            is_touched[p->placed[i].shares[k].node] = true;
    }
    for (size_t i = 0; i < c->count; i++) {
        wide fitting = p->free[i].cpu_milli * BALANCED_BYTES_PER_MILLI; /* bytes that the free CPU could use */

        out.nodes += is_touched[i];
        if (!c->nodes[i].is_ready || c->nodes[i].is_cordoned)
            continue;
        if (fitting > p->free[i].memory_bytes)
            out.cpu_milli += p->free[i].cpu_milli - p->free[i].memory_bytes / BALANCED_BYTES_PER_MILLI;
        else
            out.memory_bytes += p->free[i].memory_bytes - fitting;
    }
    free(is_touched);
    return out;
}
