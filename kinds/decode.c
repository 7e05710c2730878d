/* SPDX-License-Identifier: Apache-2.0 */
/* decode.c - see the header. */
#include "kinds/decode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/job.h"

/* The names that refs has, none of which may lead anywhere but to a blob. */
static enum err read_blobs(const char *refs, struct decoded *out, struct fault *why)
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

enum err kind_decode(const struct kind_spec *kind, const struct msg *m, struct decoded *out, struct fault *why)
{
    enum err e = args_from_json(kind, m->params, &out->args, why);

    if (!e)
        e = read_blobs(m->refs, out, why);
    return e || !*m->parent ? e : check_member(kind, m, &out->args, why);
}
