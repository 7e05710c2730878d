/* SPDX-License-Identifier: Apache-2.0 */
/* chain.c - the operations, in libvips' terms. */
#include "kinds/image/pipeline.h"

#include <math.h>

#define BANDS_MAX 16

/* ---- filters that mix pixels --------------------------------------------- */

/* Makes *out of in; a and b are the filter's own. Returns libvips' answer. */
typedef int filter(VipsImage *in, VipsImage **out, double a, double b);

static int resize(VipsImage *in, VipsImage **out, double x_factor, double y_factor)
{
    return vips_resize(in, out, x_factor, "vscale", y_factor, NULL);
}

static int blur(VipsImage *in, VipsImage **out, double sigma, double unused)
{
    (void)unused;
    return vips_gaussblur(in, out, sigma, NULL);
}

/* Colours count by how much of them is to be seen, or what is transparent would shine through at the edges. */
static enum err filter_visible(struct pipeline *p, filter *run, double a, double b)
{
    VipsBandFormat format = p->image->BandFmt;
    bool           has_alpha = vips_image_hasalpha(p->image);
    enum err       e = ERR_OK;

    if (has_alpha)
        e = pipeline_step(p, vips_premultiply(p->image, &p->next, NULL));
    if (!e)
        e = pipeline_step(p, run(p->image, &p->next, a, b));
    if (!e && has_alpha)
        e = pipeline_step(p, vips_unpremultiply(p->image, &p->next, NULL));
    if (!e && has_alpha)
        e = pipeline_step(p, vips_cast(p->image, &p->next, format, NULL));
    return e;
}

/* ---- sizes --------------------------------------------------------------- */

static enum err check_size(struct pipeline *p, double width, double height, const struct image_op *op, int number)
{
    if (width * height > IMAGE_PIXELS_MAX || width > VIPS_MAX_COORD || height > VIPS_MAX_COORD)
        return fault_set(&p->task->why, ERR_PARAM, "operation %d, %s, makes %.0f x %.0f pixels; the limit is %d",
                         number, image_op_rows[op->code].name, width, height, IMAGE_PIXELS_MAX);
    return ERR_OK;
}

static enum err resize_to(struct pipeline *p, double width, double height, const struct image_op *op, int number)
{
    enum err e;

    width = fmax(1, round(width));
    height = fmax(1, round(height));
    e = check_size(p, width, height, op, number);
    if (e || (width == p->image->Xsize && height == p->image->Ysize))
        return e;
    return filter_visible(p, resize, width / p->image->Xsize, height / p->image->Ysize);
}

static enum err fit(struct pipeline *p, const struct image_op *op, int number)
{
    double factor = fmin(1, fmin((double)op->width / p->width, (double)op->height / p->height));

    return resize_to(p, p->width * factor, p->height * factor, op, number);
}

static enum err crop(struct pipeline *p, int x, int y, int width, int height)
{

    return pipeline_step(p, vips_extract_area(p->image, &p->next, x, y, width, height, NULL));
}

static enum err thumbnail(struct pipeline *p, const struct image_op *op, int number)
{
    double   factor = fmax((double)op->width / p->width, (double)op->height / p->height);
    enum err e = resize_to(p, fmax(op->width, p->width * factor), fmax(op->height, p->height * factor), op, number);

    if (e)
        return e;
    return crop(p, (p->image->Xsize - op->width) / 2, (p->image->Ysize - op->height) / 2, op->width, op->height);
}

static enum err crop_box(struct pipeline *p, const struct image_op *op, int number)
{
    if (op->x + op->width > p->width || op->y + op->height > p->height)
        return fault_set(&p->task->why, ERR_PARAM, "operation %d, crop:%dx%d+%d+%d, reaches beyond an image of %d x %d",
                         number, op->width, op->height, op->x, op->y, p->width, p->height);
    return crop(p, op->x, op->y, op->width, op->height);
}

/* ---- turns --------------------------------------------------------------- */

static enum err turn(struct pipeline *p, const struct image_op *op)
{
    static const VipsAngle quarters[] = {VIPS_ANGLE_D0, VIPS_ANGLE_D90, VIPS_ANGLE_D180, VIPS_ANGLE_D270};

    return pipeline_step(p, vips_rot(p->image, &p->next, quarters[image_quarter_turns(op->number)], NULL));
}

static enum err rotate(struct pipeline *p, const struct image_op *op, int number)
{
    double           ink[BANDS_MAX], angle = op->number * G_PI / 180;
    double           c = fabs(cos(angle)), s = fabs(sin(angle));
    int              count = pipeline_background(p, p->image, ink, BANDS_MAX);
    bool             has_alpha = vips_image_hasalpha(p->image);
    VipsArrayDouble *background;
    enum err         e = check_size(p, c * p->width + s * p->height, s * p->width + c * p->height, op, number);

    if (e)
        return e;
    for (int i = 0; i < count && has_alpha; i++)
        ink[i] = 0; /* transparent corners */
    background = vips_array_double_new(ink, count);
    e = pipeline_step(p, vips_rotate(p->image, &p->next, op->number, "background", background, NULL));
    vips_area_unref(VIPS_AREA(background));
    return e;
}

static enum err flip(struct pipeline *p, const struct image_op *op)
{

    return pipeline_step(
        p, vips_flip(p->image, &p->next, op->is_vertical ? VIPS_DIRECTION_VERTICAL : VIPS_DIRECTION_HORIZONTAL, NULL));
}

/* ---- colours ------------------------------------------------------------- */

static enum err gray(struct pipeline *p)
{
    bool     is_deep = p->image->Type == VIPS_INTERPRETATION_RGB16 || p->image->Type == VIPS_INTERPRETATION_GREY16;
    enum err e = pipeline_step(
        p, vips_colourspace(p->image, &p->next, is_deep ? VIPS_INTERPRETATION_GREY16 : VIPS_INTERPRETATION_B_W, NULL));

    if (!e)
        vips_image_remove(p->image, VIPS_META_ICC_NAME); /* a profile of colours means nothing to gray */
    return e;
}

static enum err sharpen(struct pipeline *p, const struct image_op *op)
{

    return pipeline_step(p, vips_sharpen(p->image, &p->next, "sigma", op->number, NULL));
}

/* ---- all of them --------------------------------------------------------- */

/* Whether the operation reads lines in another order than they come. */
static bool is_unordered(const struct image_op *op)
{
    return (op->code == OP_ROTATE && image_quarter_turns(op->number) != 0) || (op->code == OP_FLIP && op->is_vertical);
}

/* Whether it computes a line from many around it. Strips of its result overlap in what they need. */
static bool is_wide(const struct image_op *op) { return op->code == OP_BLUR || op->code == OP_SHARPEN; }

static enum err apply(struct pipeline *p, const struct image_op *op, int number)
{
    switch (op->code) {
    case OP_ROTATE:
        return image_quarter_turns(op->number) >= 0 ? turn(p, op) : rotate(p, op, number);
    case OP_SCALE:
        return resize_to(p, p->width * op->number, p->height * op->number, op, number);
    case OP_FIT:
        return fit(p, op, number);
    case OP_THUMBNAIL:
        return thumbnail(p, op, number);
    case OP_CROP:
        return crop_box(p, op, number);
    case OP_FLIP:
        return flip(p, op);
    case OP_GRAY:
        return gray(p);
    case OP_BLUR:
        return filter_visible(p, blur, op->number, 0);
    case OP_SHARPEN:
        return sharpen(p, op);
    case OP_CONVERT: /* said by plan->format */
    case OP_COUNT:
        break;
    }
    return ERR_OK;
}

enum err pipeline_apply(struct pipeline *p, const struct image_op *op, int number)
{
    enum err e = is_unordered(op) || (is_wide(op) && p->is_overlapping) ? pipeline_gather(p) : ERR_OK;

    p->is_overlapping |= is_wide(op);
    if (!e)
        e = apply(p, op, number);
    if (!e && is_unordered(op) && number < p->plan->count) /* or the next one would have it computed in small pieces */
        e = pipeline_gather(p);
    p->width = p->image->Xsize;
    p->height = p->image->Ysize;
    return e;
}
