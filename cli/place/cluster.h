/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.h - the nodes of a cluster and what is free on them, out of what `kubectl get nodes,pods -A -o json` prints.
 *
 * 1. cluster_add each document; 2. cluster_settle once; then nodes are in the
 * order of their names. Free is what the scheduler takes for free: allocatable
 * less the requests of the pods that are bound to the node and have not ended.
 * cluster_free ends it, and accepts a zeroed one.
 */
#ifndef MILLRACE_CLI_PLACE_CLUSTER_H
#define MILLRACE_CLI_PLACE_CLUSTER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/place/quantity.h"
#include "common/numtext.h"

#define QUANTITY_TEXT_BYTES (NUMTEXT_BYTES + 1)

struct amount {
    wide cpu_milli, memory_bytes, pods;
};

struct node {
    const char   *name;     /* texts and documents are borrowed from the cluster */
    const char   *hostname; /* its label kubernetes.io/hostname; NULL: it has none */
    const json_t *labels, *taints;
    struct amount allocatable, used; /* used may be more than allocatable */
    bool          is_ready, is_cordoned;
};

struct cluster {
    struct node *nodes;
    size_t       count;
    json_t     **documents; /* owned */
    size_t       document_count;
};

/* Takes doc: a List of nodes and pods, others are passed over, or one of either. source names it in the reason. */
enum err cluster_add(struct cluster *c, json_t *doc, const char *source, struct fault *why) MUST_CHECK;

/* Sorts the nodes and adds up what their pods request. */
enum err cluster_settle(struct cluster *c, struct fault *why) MUST_CHECK;

void cluster_free(struct cluster *c);

/* What is left of the node; no member is below 0. */
struct amount node_free(const struct node *n);

/* The value, a text or a number, as it reads: borrowed from it or in room; NULL: it is neither. */
const char *quantity_text(const json_t *value, char room[QUANTITY_TEXT_BYTES]);

/* Reads the member as a quantity in nano; 0 when there is none. */
enum err quantity_member(const json_t *object, const char *name, wide *nano, struct fault *why) MUST_CHECK;

#endif
