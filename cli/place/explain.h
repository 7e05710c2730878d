/* SPDX-License-Identifier: Apache-2.0 */
/* explain.h - why a batch is placed as it is, and what that is worth: as a document, and as text for people. */
#ifndef MILLRACE_CLI_PLACE_EXPLAIN_H
#define MILLRACE_CLI_PLACE_EXPLAIN_H

#include "cli/place/pack.h"
#include "common/buf.h"

/* The ranking, where each job is expected and why not elsewhere, and the packing beside those of the scheduler; owned
 * by the caller. first_fit is what pack_first_fit made of the same. */
json_t *explain(const struct batch *b, const struct cluster *c, const size_t *order, const struct packing *first_fit);

/* The document as text, appended. */
void explain_print(const json_t *doc, struct buf *out);

#endif
