/* SPDX-License-Identifier: Apache-2.0 */
/* pack.h - which nodes the pods of a batch go to: as wished, and as the scheduler would have it.
 *
 * Ranking: nodes by what is free of what the batch wants most, the freest
 * first; for one job those that take it, and those that discourage it
 * (PreferNoSchedule) behind all others. A job prefers the first with weight
 * 100, the next with 15, 14, 13 ... and 1 from there on.
 *
 * Nothing here depends on anything but its arguments: the same cluster and
 * batch give the same packing.
 */
#ifndef MILLRACE_CLI_PLACE_PACK_H
#define MILLRACE_CLI_PLACE_PACK_H

#include "cli/place/batch.h"

struct share {
    size_t  node; /* index in the cluster */
    int64_t pods;
};

/* Where the pods of one job go. */
struct placed {
    struct share *shares;
    size_t        count;
    int64_t       nowhere; /* pods without a place */
};

struct packing {
    struct placed *placed; /* one for each task of the batch */
    size_t         count;
    struct amount *free; /* of each node, when all are placed */
};

/* All nodes by rank, the first one first: owned by the caller. */
size_t *pack_rank(const struct batch *b, const struct cluster *c);

/* Of order, which is all of them, those that can take the job; out has room for all. Returns how many. */
size_t pack_rank_for(const struct task *t, const struct cluster *c, const size_t *order, size_t *out);

/* The weight of the node that stands there in the job's ranking, from 0. */
int pack_weight(size_t place);

/* Each job on the first node of its ranking that has room, then on the next. */
void pack_first_fit(const struct batch *b, const struct cluster *c, const size_t *order, struct packing *out);

/* Pod by pod as kube-scheduler's scores have it (LeastAllocated and BalancedAllocation with weight 1, NodeAffinity 2,
 * TaintToleration 3), the first of equals by name. is_preferring: the jobs have the weights above. */
void pack_scheduled(const struct batch *b, const struct cluster *c, const size_t *order, bool is_preferring,
                    struct packing *out);

void packing_free(struct packing *p);

/* What a packing comes to. */
struct tally {
    size_t  nodes;     /* that take pods of the batch */
    int64_t nowhere;   /* pods without a place */
    wide    cpu_milli; /* stranded: free, with less than 4 GB of free memory beside each core; on ready nodes that are
                          not cordoned */
    wide memory_bytes; /* free, with less than a core for each 4 GB */
};

struct tally packing_tally(const struct packing *p, const struct cluster *c);

#endif
