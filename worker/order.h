/* SPDX-License-Identifier: Apache-2.0 */
/* order.h - what a message asks an executor for, checked anew: whoever can
 * publish to a work queue may have made it, not only the gateway. */
#ifndef MILLRACE_ORDER_H
#define MILLRACE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/broker/broker.h"
#include "common/config.h"
#include "kinds/kind.h"

struct order {
    struct args args;           /* complete */
    uint64_t    result_max;     /* upper bound of the result's bytes */
    int64_t     limit_s;        /* the attempt's time limit */
    bool        is_undecodable; /* refused as a message, not as a job: a copy belongs into the dead queue */
};

/* Reads a delivery from the queue of this kind. Refuses with a permanent error and why; then only is_undecodable of
 * out is set. */
enum err order_read(const struct settings *settings, const struct kind_spec *kind, const struct delivery *d,
                    struct order *out, struct fault *why) MUST_CHECK;

#endif
