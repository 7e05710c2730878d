/* SPDX-License-Identifier: Apache-2.0 */
/* render.h - the Kubernetes Jobs of a batch, with the nodes that each prefers. */
#ifndef MILLRACE_CLI_PLACE_RENDER_H
#define MILLRACE_CLI_PLACE_RENDER_H

#include "cli/place/pack.h"

/* A List of Jobs for kubectl apply, in the batch's order: owned by the caller. space: NULL for none. */
json_t *render_jobs(const struct batch *b, const struct cluster *c, const size_t *order, const char *space);

#endif
