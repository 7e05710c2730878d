/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h - one pass over a block of a matrix that multiplies it with a few vectors at once.
 *
 * As fast as the block can be read: this is what a check of a product costs.
 */
#ifndef MILLRACE_PROBE_H
#define MILLRACE_PROBE_H

#include "kinds/matrix/source.h"

#define PROBES 2

/* Of floats, in float64, for each row i of the block: adds sum_j m[i][j] v[p][j] to out[p][i], p < PROBES; to
 * out[PROBES][i] sum_j |m[i][j]| v[PROBES][j], or the sum of squares where v[PROBES] is NULL. */
void probe_floats(const struct view *m, const double *const v[PROBES + 1], double *const out[PROBES + 1]);

/* Of integers, modulo 2^64: adds sum_j m[i][j] v[p][j] to out[p][i]. */
void probe_integers(const struct view *m, const uint64_t *const v[PROBES], uint64_t *const out[PROBES]);

#endif
