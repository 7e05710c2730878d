/* SPDX-License-Identifier: Apache-2.0 */
/* spin: keeps one core busy for a given time; for trying out scaling, limits
 * and cancelling. The raw result is a line of JSON. */
#include "kinds/kind.h"
#include "kinds/render.h"

#include <math.h>

#include "kinds/spin/spin.h"

static const struct param params[] = {
    {"seconds", PARAM_REAL, 0, 86400, true, NAN, "seconds", "how long one core is kept busy"},
    {.type = PARAM_END},
};

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    (void)args, (void)limits;
    if (in->body_len || *in->refs)
        return fault_set(why, ERR_BODY, "spin takes no body, this one has %zu bytes", in->body_len);
    *result_bytes = SPIN_RESULT_BYTES;
    return ERR_OK;
}

static const struct intake intakes[] = {{0}};

static const struct rendering renderings[] = {
    {"application/json", true, render_open_raw, render_read_raw, render_close_raw},
    {0},
};

const struct kind_spec spin_spec = {
    .name = "spin",
    .help = "keeps one core busy for a given time",
    .params = params,
    .intakes = intakes,
    .renderings = renderings,
    .result_type = "application/json",
    .is_pulled = false,
    .takes_body = false,
    .check = check,
};
