/* SPDX-License-Identifier: Apache-2.0 */
/* image: one file in, one file out, and between them a chain of operations in one pass. The raw result is the file. */
#include "kinds/image/image.h"
#include "kinds/image/ops.h"
#include "kinds/kind.h"
#include "kinds/render.h"

#include <math.h>

#define OPS_BYTES_MAX 512

static const struct param params[] = {
    [ARG_OPS] = {"ops", PARAM_TEXT, 0, OPS_BYTES_MAX, false, NAN, "bytes",
                 "what is done, in this order, as in rotate:45,scale:0.5"},
    [ARG_QUALITY] = {"quality", PARAM_INT, 1, 100, false, NAN, "", "of a result that is JPEG or WebP"},
    [ARG_STRIP] = {"strip", PARAM_INT, 0, 1, false, 0, "", "1: the result has no metadata but its colour profile"},
    [ARG_BACKGROUND] = {"background", PARAM_TEXT, 6, 6, false, NAN, "bytes",
                        "what shows in corners that a rotation opens, red, green and blue in hex"},
    {.type = PARAM_END},
};

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    const char       *ops = args_text(args, ARG_OPS), *background = args_text(args, ARG_BACKGROUND);
    struct image_plan plan;
    unsigned char     rgb[3];
    enum err          e = image_ops_read(ops ? ops : "", &plan, why);

    if (!e && background)
        e = image_colour_read(background, rgb, why);
    *result_bytes = limits->result_max;
    return e ? e : input_check_raw(&image_spec, in, limits, why);
}

static const struct intake intakes[] = {{0}};

static const struct rendering renderings[] = {
    {"", true, render_open_raw, render_read_raw, render_close_raw},
    {0},
};

const struct kind_spec image_spec = {
    .name = "image",
    .help = "turns, scales, crops, filters and converts an image: JPEG, PNG, WebP or TIFF",
    .params = params,
    .intakes = intakes,
    .raw_max = IMAGE_FILE_MAX,
    .renderings = renderings,
    .result_type = "application/octet-stream",
    .is_pulled = false,
    .takes_body = true,
    .is_open_ended = true,
    .check = check,
};
