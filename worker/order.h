/* SPDX-License-Identifier: Apache-2.0 */
/* order.h - what a message asks for, checked anew: whoever can publish to a
 * work queue may have made it, not only the gateway.
 */
#ifndef MILLRACE_ORDER_H
#define MILLRACE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/broker/broker.h"
#include "common/config.h"
#include "kinds/decode.h"
#include "kinds/kind.h"

struct order {
    struct decoded job;            /* its args: those that fix the cut too, when there are members */
    uint64_t       result_max;     /* upper bound of the result's bytes; of a blob: its size, unless it is open-ended */
    bool           is_blob;        /* the result goes into a blob; of an open-ended kind its executor says that */
    int64_t        limit_s;        /* the attempt's time limit */
    bool           is_undecodable; /* refused as a message, not as a job: a copy belongs into the dead queue */
    int64_t        member_count;   /* > 1: the job falls into so many members, and is not computed itself */
    bool           is_recut;       /* the message did not say how it is cut; the args do now */
    struct buf     layout;         /* owned: how their results make one; text with its NUL */
};

/* Reads a delivery from the queue of this kind. commands: NULL without. Refuses with an error that ends an attempt, and
 * why; then only is_undecodable of out is set. order_free releases what is inside, in either case. */
enum err order_read(const struct settings *settings, const struct commands *commands, const struct share *share,
                    const struct kind_spec *kind, const struct delivery *d, struct order *out,
                    struct fault *why) MUST_CHECK;

/* The params of the message from now on, and those of its members ("@MEMBER@" where the number goes). Appended,
 * with a NUL. */
void order_params(const struct order *o, const struct kind_spec *kind, struct buf *out);
void order_member_params(const struct order *o, const struct kind_spec *kind, struct buf *out);

void order_free(struct order *o);

#endif
