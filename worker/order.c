/* SPDX-License-Identifier: Apache-2.0 */
/* order.c - see the header. */
#include "worker/order.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job.h"
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

static enum err read_params(const struct kind_spec *kind, const struct msg *m, struct order *out, struct fault *why)
{
    enum err e;

    args_init(&out->args);
    e = args_from_json(kind, m->params, &out->args, why);
    return e ? e : args_complete(kind, &out->args, why);
}

/* The names that refs has, none of which may lead anywhere but to a blob. */
static enum err read_blobs(const char *refs, struct order *out, struct fault *why)
{
    char    *names[INPUT_BLOBS_MAX];
    int      count = strlen(refs) < MSG_REFS_BYTES ? input_blobs(refs, names) : -1;
    enum err e = ERR_OK;

    if (count < 0)
        return fault_set(why, ERR_UNDECODABLE, "the header input is no JSON that names up to %d blobs",
                         INPUT_BLOBS_MAX);
    for (int i = 0; i < count; i++) {
        if (!e && !blob_name_is_valid(names[i]))
            e = fault_set(why, ERR_UNDECODABLE, "'%.64s' in the header input is no name of a blob", names[i]);
        if (!e)
            snprintf(out->blobs[i], sizeof out->blobs[i], "%s", names[i]);
        free(names[i]);
    }
    out->blob_count = count;
    return e;
}

/* The blob of a member's result is named by the parent and the number that the message gives, and the work is that
 * of the parameter: they have to be of one mind. */
static enum err check_member(const struct kind_spec *kind, const struct msg *m, const struct args *args,
                             struct fault *why)
{
    int row = kind->member_param;

    if (!kind->split)
        return fault_set(why, ERR_UNDECODABLE, "the header parent is there, but no job of the kind %s has members",
                         kind->name);
    if (!job_id_is_valid(m->parent))
        return fault_set(why, ERR_UNDECODABLE, "the header parent is no id of a job");
    if (isnan(args->real[row]) || args->integer[row] != m->member)
        return fault_set(why, ERR_UNDECODABLE, "the header member says %lld, and the parameter %s does not",
                         (long long)m->member, kind_param(kind, row)->name);
    return ERR_OK;
}

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
    struct args before = out->args;

    out->member_count = 1;
    if (!kind->split || d->msg->parent[0])
        return;
    out->member_count = kind->split(&out->args, in, share, &out->layout);
    out->is_recut = memcmp(&before, &out->args, sizeof before) != 0;
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
    e = read_params(kind, d->msg, out, why);
    if (!e)
        e = read_blobs(in.refs, out, why);
    if (!e && is_member)
        e = check_member(kind, d->msg, &out->args, why);
    if (e)
        return e;
    out->is_undecodable = false;
    if (in.body_len > limits.inline_max)
        return fault_set(why, ERR_BODY, "the input has %zu bytes; this worker takes %zu", in.body_len,
                         limits.inline_max);
    if (out->blob_count > 0 || is_member)
        e = refuse_blobs(settings, why);
    if (!e)
        e = kind->check(&out->args, &in, &limits, &out->result_max, why);
    if (e)
        return e;
    out->limit_s = limit_s_of(settings, kind, &out->args);
    if (kind->is_open_ended && out->result_max > limits.result_max)
        out->result_max = limits.result_max;
    out->is_blob = !kind->is_open_ended && (is_member || out->result_max > frame_output_max(limits.inline_max));
    cut(share, kind, d, &in, out);
    return out->is_blob || out->member_count > 1 ? refuse_blobs(settings, why) : ERR_OK;
}

void order_params(const struct order *o, const struct kind_spec *kind, struct buf *out)
{
    args_to_json(kind, &o->args, out);
    buf_append(out, "", 1);
}

void order_member_params(const struct order *o, const struct kind_spec *kind, struct buf *out)
{
    args_to_json(kind, &o->args, out);
    out->len--; /* the brace; what fixes the cut stands before it */
    buf_printf(out, ",\"%s\":@MEMBER@}", kind_param(kind, kind->member_param)->name);
    buf_append(out, "", 1);
}

void order_free(struct order *o) { buf_free(&o->layout); }
