/* SPDX-License-Identifier: Apache-2.0 */
/* order.c - see the header. */
#include "worker/order.h"

/* The job's own limit or the usual one, neither above the largest. */
static int64_t limit_s_of(const struct settings *settings, const struct kind_spec *kind, const struct args *args)
{
    int64_t limit_s = args_common(kind, args, "timeout");

    if (limit_s <= 0)
        limit_s = settings->timeout_s;
    return limit_s < settings->timeout_max_s ? limit_s : settings->timeout_max_s;
}

enum err order_read(const struct settings *settings, const struct kind_spec *kind, const struct delivery *d,
                    struct order *out, struct fault *why)
{
    const struct limits limits = {.inline_max = (size_t)settings->inline_max,
                                  .side_max = settings->side_max,
                                  .result_max = (uint64_t)settings->result_max};
    enum err            e;

    out->is_undecodable = true; /* until it proves to be readable */
    if (d->bad.err)
        return fault_set(why, ERR_UNDECODABLE, "%s", d->bad.detail);
    args_init(&out->args);
    e = args_from_json(kind, d->msg->params, &out->args, why);
    if (!e)
        e = args_complete(kind, &out->args, why);
    if (e)
        return e;
    out->is_undecodable = false;
    if (d->msg->body_len > limits.inline_max)
        return fault_set(why, ERR_BODY, "the input has %zu bytes; this worker takes %zu", d->msg->body_len,
                         limits.inline_max);
    out->limit_s = limit_s_of(settings, kind, &out->args);
    return kind->check(&out->args, &(struct input){d->msg->body, d->msg->body_len, d->msg->refs}, &limits,
                       &out->result_max, why);
}
