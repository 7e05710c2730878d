/* SPDX-License-Identifier: Apache-2.0 */
/* sample: a kind of the tests, open-ended and with a program of its own. Its result is the input, over and over. */
#include <math.h>

#include "kinds/kind.h"
#include "kinds/render.h"

static const struct param params[] = {
    {"bytes", PARAM_INT, 0, 1e12, false, NAN, "bytes", "how long the result is; absent: as long as the input"},
    {"type", PARAM_TEXT, 1, RESULT_TYPE_BYTES - 1, false, NAN, "", "its content type"},
    {"wait", PARAM_REAL, 0, 3600, false, 0, "seconds", "how long to work before"},
    {.type = PARAM_END},
};

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    (void)args;
    *result_bytes = limits->result_max;
    return input_check_raw(&sample_spec, in, limits, why);
}

static const struct intake intakes[] = {{0}};

static const struct rendering renderings[] = {
    {"", true, render_open_raw, render_read_raw, render_close_raw},
    {0},
};

const struct kind_spec sample_spec = {
    .name = "sample",
    .help = "gives its input back",
    .params = params,
    .intakes = intakes,
    .raw_max = 16 << 20,
    .renderings = renderings,
    .result_type = "application/octet-stream",
    .takes_body = true,
    .is_open_ended = true,
    .check = check,
};
