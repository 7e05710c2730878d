/* SPDX-License-Identifier: Apache-2.0 */
/* pod.h - what the cluster is told of this worker's pod: how dear it is to delete.
 *
 * Of a set that shrinks, Kubernetes ends the pods of the lowest deletion cost
 * first (annotation controller.kubernetes.io/pod-deletion-cost). A busy worker
 * raises its own. It is a wish: a change that fails is counted, tried again
 * later, and nothing else depends on it.
 */
#ifndef MILLRACE_WORKER_POD_H
#define MILLRACE_WORKER_POD_H

#include <stdint.h>
#include <uv.h>

#include "common/err.h"

struct pod;

/* Where there is no cluster (no KUBERNETES_SERVICE_HOST), *out is NULL. Token and certificate of the pod's service
 * account are read at each change, for they are renewed. Loads libcurl. ERR_CONFIG: no such name, no libcurl. */
enum err pod_open(uv_loop_t *loop, const char *name, const char *namespace, struct pod **out,
                  struct fault *why) MUST_CHECK;

/* The cost of a pod with so many slots at work, and so many of them for long, that was `told` last (-1: nothing yet).
 * Short jobs alone do not raise it, but keep it up: a change per job would be a burden to the cluster. */
int pod_cost(int busy, int busy_for_long, int told);

/* Call often. Asks the cluster for a change where one is due: one at a time, at most one each 10 s. */
void pod_tick(struct pod *p, int busy, int busy_for_long, int64_t now_ms);

struct pod_numbers {
    int     told; /* -1: nothing yet */
    int64_t changed, failed;
};

struct pod_numbers pod_numbers(const struct pod *p);

/* Takes p; a change under way is broken off. Its memory goes once the loop has run out. Accepts NULL. */
void pod_close(struct pod *p);

#endif
