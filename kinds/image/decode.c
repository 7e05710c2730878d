/* SPDX-License-Identifier: Apache-2.0 */
/* decode.c - files to images. Each format has its own loader here: libvips is not asked to guess.
 *
 * A loader reads the head when it is made, and no pixel before it is asked for one: what is too large is refused
 * before it costs anything. */
#include "kinds/image/pipeline.h"

#include <math.h>

#include "kinds/image/sniff.h"

#define WEBP_BYTES_PER_PIXEL 16 /* libwebp decodes the whole image: its planes, its frame and ours */

/* shrink: of a JPEG, by how much its sides are made shorter while it is decoded: 1, 2, 4 or 8. */
static int load(const struct pipeline *p, int shrink, VipsImage **out)
{
    void  *bytes = (void *)p->file->bytes; /* libvips only reads it */
    size_t len = p->file->len;

    switch (p->from) {
    case IMAGE_JPEG:
        return vips_jpegload_buffer(bytes, len, out, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                    VIPS_FAIL_ON_TRUNCATED, "shrink", shrink, NULL);
    case IMAGE_PNG:
        return vips_pngload_buffer(bytes, len, out, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on", VIPS_FAIL_ON_TRUNCATED,
                                   NULL);
    case IMAGE_WEBP:
        return vips_webpload_buffer(bytes, len, out, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                    VIPS_FAIL_ON_TRUNCATED, NULL);
    default:
        return vips_tiffload_buffer(bytes, len, out, "access", VIPS_ACCESS_SEQUENTIAL, "fail_on",
                                    VIPS_FAIL_ON_TRUNCATED, NULL);
    }
}

static enum err check_head(struct pipeline *p)
{
    VipsImage *image = p->image;
    int        pages = 1;

    if ((double)image->Xsize * image->Ysize > IMAGE_PIXELS_MAX)
        return fault_set(&p->task->why, ERR_BODY, "the image says it has %d x %d pixels; the limit is %d", image->Xsize,
                         image->Ysize, IMAGE_PIXELS_MAX);
    if (vips_image_get_typeof(image, VIPS_META_N_PAGES) && vips_image_get_int(image, VIPS_META_N_PAGES, &pages))
        return pipeline_refuse(p);
    if (pages > 1)
        return fault_set(&p->task->why, ERR_BODY, "the file holds %d pages or frames; only files of one are taken",
                         pages);
    return p->from == IMAGE_WEBP ? pipeline_afford(p, (double)image->Xsize * image->Ysize * WEBP_BYTES_PER_PIXEL)
                                 : ERR_OK;
}

/* Factor by which the first operation shrinks the image; 1 where it is none that does. */
static double first_factor(const struct pipeline *p)
{
    const struct image_op *op = p->plan->ops;
    double                 x, y;

    if (!p->plan->count)
        return 1;
    if (op->code == OP_SCALE)
        return op->number;
    if (op->code != OP_FIT && op->code != OP_THUMBNAIL)
        return 1;
    x = (double)op->width / p->width;
    y = (double)op->height / p->height;
    return op->code == OP_FIT ? fmin(x, y) : fmax(x, y);
}

/* A JPEG can be decoded at a half, a quarter or an eighth of its size. As much of that as leaves the filter, which is
 * better at it, the last half at least; and no side may become shorter than a pixel, which ends libvips. */
static enum err read_smaller(struct pipeline *p)
{
    double factor = first_factor(p);
    int    shrink = factor <= 1 / 16.0 ? 8 : factor <= 1 / 8.0 ? 4 : factor <= 1 / 4.0 ? 2 : 1;

    while (shrink > p->width || shrink > p->height)
        shrink /= 2;
    if (p->from != IMAGE_JPEG || shrink == 1)
        return ERR_OK;
    return pipeline_step(p, load(p, shrink, &p->next));
}

static enum err make_upright(struct pipeline *p, int orientation)
{
    enum err e;

    if (orientation == 1)
        return ERR_OK;
    e = pipeline_gather(p);
    return e ? e : pipeline_step(p, vips_autorot(p->image, &p->next, NULL));
}

/* Operations work in gray or RGB, of any depth. */
static enum err make_plain(struct pipeline *p)
{
    enum err e;

    switch (p->image->Type) {
    case VIPS_INTERPRETATION_MULTIBAND:
    case VIPS_INTERPRETATION_B_W:
    case VIPS_INTERPRETATION_GREY16:
    case VIPS_INTERPRETATION_RGB:
    case VIPS_INTERPRETATION_sRGB:
    case VIPS_INTERPRETATION_RGB16:
        return ERR_OK;
    default:
        e = pipeline_step(p, vips_colourspace(p->image, &p->next, VIPS_INTERPRETATION_sRGB, NULL));
        if (!e)
            vips_image_remove(p->image, VIPS_META_ICC_NAME); /* of the colours that were */
        return e;
    }
}

enum err pipeline_decode(struct pipeline *p)
{
    int      orientation;
    enum err e = sniff_format(p->file->bytes, p->file->len, &p->from, &p->task->why);

    if (e)
        return e;
    p->to = p->plan->format == IMAGE_SAME ? p->from : p->plan->format;
    p->is_lossless = p->from == IMAGE_WEBP && sniff_webp_lossless(p->file->bytes, p->file->len);
    e = pipeline_step(p, load(p, 1, &p->next));
    if (!e)
        e = check_head(p);
    if (e)
        return e;
    orientation = vips_image_get_orientation(p->image);
    p->width = orientation >= 5 ? p->image->Ysize : p->image->Xsize;
    p->height = orientation >= 5 ? p->image->Xsize : p->image->Ysize;
    e = read_smaller(p);
    if (!e)
        e = make_upright(p, orientation);
    return e ? e : make_plain(p);
}
