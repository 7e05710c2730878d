/* SPDX-License-Identifier: Apache-2.0 */
/* order.c - see the header. */
#include "worker/order.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/frame.h"

/* The job's own limit or the usual one, neither above the largest. */
static int64_t limit_s_of(const struct settings *settings, const struct kind_spec *kind, const struct args *args)
{
    int64_t limit_s = args_common(kind, args, "timeout");

    if (limit_s <= 0)
        limit_s = settings->timeout_s;
    return limit_s < settings->timeout_max_s ? limit_s : settings->timeout_max_s;
}

static bool has_blobs(const struct settings *settings) { return settings->blob_dir[0] != '\0'; }

/* A worker that was set up without blobs in a fleet that has them: another one may be able to. */
static enum err refuse_blobs(const struct settings *settings, struct fault *why)
{
    return has_blobs(settings) ? ERR_OK
                               : fault_set(why, ERR_IO,
                                           "the job needs blobs, and this worker has no directory for them: set "
                                           "MILLRACE_BLOB_DIR");
}

/* Whether, and into what, the job falls. A member is computed as it is. */
static void cut(const struct share *share, const struct kind_spec *kind, const struct delivery *d,
                const struct input *in, struct order *out)
{
    struct args before = out->job.args;

    out->member_count = 1;
    if (!kind->split || d->msg->parent[0])
        return;
    out->member_count = kind->split(&out->job.args, in, share, &out->layout);
    out->is_recut = memcmp(&before, &out->job.args, sizeof before) != 0;
    buf_append(&out->layout, "", 1);
}

enum err order_read(const struct settings *settings, const struct commands *commands, const struct share *share,
                    const struct kind_spec *kind, const struct delivery *d, struct order *out, struct fault *why)
{
    const struct limits limits = {.inline_max = (size_t)settings->inline_max,
                                  .side_max = settings->side_max,
                                  .result_max = (uint64_t)settings->result_max,
                                  .has_blobs = has_blobs(settings),
                                  .commands = commands};
    const struct input  in = {d->msg->body, d->msg->body_len, d->msg->refs};
    bool                is_member = d->msg->parent[0] != '\0';
    enum err            e;

    *out = (struct order){.is_undecodable = true}; /* until it proves to be readable */
    if (d->bad.err)
        return fault_set(why, ERR_UNDECODABLE, "%s", d->bad.detail);
    e = kind_decode(kind, d->msg, &out->job, why);
    if (e)
        return e;
    out->is_undecodable = false;
    if (in.body_len > limits.inline_max)
        return fault_set(why, ERR_BODY, "the input has %zu bytes; this worker takes %zu", in.body_len,
                         limits.inline_max);
    if (out->job.blob_count > 0 || is_member)
        e = refuse_blobs(settings, why);
    if (!e)
        e = kind->check(&out->job.args, &in, &limits, &out->result_max, why);
    if (e)
        return e;
    out->limit_s = limit_s_of(settings, kind, &out->job.args);
    if (kind->is_open_ended && out->result_max > limits.result_max)
        out->result_max = limits.result_max;
    out->is_blob = !kind->is_open_ended && (is_member || out->result_max > frame_output_max(limits.inline_max));
    cut(share, kind, d, &in, out);
    return out->is_blob || out->member_count > 1 ? refuse_blobs(settings, why) : ERR_OK;
}

void order_params(const struct order *o, const struct kind_spec *kind, struct buf *out)
{
    args_to_json(kind, &o->job.args, out);
    buf_append(out, "", 1);
}

void order_member_params(const struct order *o, const struct kind_spec *kind, struct buf *out)
{
    args_to_json(kind, &o->job.args, out);
    out->len--; /* the brace; what fixes the cut stands before it */
    buf_printf(out, ",\"%s\":@MEMBER@}", kind_param(kind, kind->member_param)->name);
    buf_append(out, "", 1);
}

void order_free(struct order *o) { buf_free(&o->layout); }
