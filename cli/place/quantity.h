/* SPDX-License-Identifier: Apache-2.0 */
/* quantity.h - amounts of CPU and memory as Kubernetes writes them ("500m", "3.5Gi", "2e3"), in whole numbers.
 *
 * The rules are those of ParseQuantity in k8s.io/apimachinery/pkg/api/resource:
 * what it takes is taken, what it refuses is refused, and what is finer than
 * 1e-9 is rounded away from zero to that. One thing differs: an amount beyond
 * 2^63 - 1 is refused here, while there it is capped or kept.
 */
#ifndef MILLRACE_CLI_PLACE_QUANTITY_H
#define MILLRACE_CLI_PLACE_QUANTITY_H

#include "common/err.h"

typedef __int128 wide; /* sums and products of amounts stay far within it */

#define QUANTITY_ONE ((wide)1000000000) /* nano in a core or byte */
#define QUANTITY_MILLI ((wide)1000000)

/* Reads all of text, which ends with a NUL; *nano: the amount times 1e9. ERR_PARAM with a sentence: it is none. */
enum err quantity_read(const char *text, wide *nano, struct fault *why) MUST_CHECK;

/* nano in units of unit nano, rounded away from zero. */
wide quantity_in(wide nano, wide unit);

#endif
