/* SPDX-License-Identifier: Apache-2.0 */
/* encode.c - images to files. This is where all that was asked for gets computed. */
#include "kinds/image/pipeline.h"

#include <math.h>

#define WEBP_BYTES_PER_PIXEL 16 /* libwebp holds the whole image, its planes, and what it tries */
#define TIFF_BYTES_FACTOR 1     /* its writer goes back and forth in the file, which is in memory therefore */

static const struct {
    int side_max; /* pixels; 0: as many as there may be */
} bounds[IMAGE_FORMAT_COUNT] = {[IMAGE_JPEG] = {65500}, [IMAGE_WEBP] = {16383}};

static enum err check_bounds(struct pipeline *p)
{
    int    most = bounds[p->to].side_max;
    double pixels = (double)p->width * p->height;

    if (most && (p->width > most || p->height > most))
        return fault_set(&p->task->why, ERR_PARAM, "a result of %d x %d pixels is more than %s can hold, which is %d",
                         p->width, p->height, image_format_name(p->to), most);
    if (p->to == IMAGE_WEBP)
        return pipeline_afford(p, pixels * WEBP_BYTES_PER_PIXEL);
    if (p->to == IMAGE_TIFF)
        return pipeline_afford(p, TIFF_BYTES_FACTOR * (double)VIPS_IMAGE_SIZEOF_IMAGE(p->image));
    return ERR_OK;
}

static void *forget_field(VipsImage *image, const char *name, GValue *value, void *names)
{
    (void)image, (void)value;
    if (g_str_has_prefix(name, "exif-") || g_str_has_prefix(name, "xmp-") || g_str_has_prefix(name, "iptc-") ||
        g_str_has_prefix(name, "png-comment-") || g_str_has_prefix(name, "photoshop-") ||
        g_str_has_suffix(name, "-thumbnail-data") || strcmp(name, VIPS_META_IMAGEDESCRIPTION) == 0)
        g_ptr_array_add(names, g_strdup(name));
    return NULL;
}

/* All that describes and nothing that the colours need. The image is one of its own first: its metadata may be shared.
 */
static enum err strip(struct pipeline *p)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    enum err   e = pipeline_step(p, vips_copy(p->image, &p->next, NULL));

    if (!e)
        vips_image_map(p->image, forget_field, names);
    for (guint i = 0; i < names->len && !e; i++)
        vips_image_remove(p->image, g_ptr_array_index(names, i));
    g_ptr_array_free(names, TRUE);
    return e;
}

/* A JPEG has no transparency: the background shows. */
static enum err flatten(struct pipeline *p)
{
    double           ink[3];
    VipsArrayDouble *background;
    int              count;
    enum err         e;

    if (p->to != IMAGE_JPEG || !vips_image_hasalpha(p->image))
        return ERR_OK;
    count = pipeline_background(p, p->image, ink, p->image->Bands > 3 ? 3 : p->image->Bands - 1);
    background = vips_array_double_new(ink, count);
    e = pipeline_step(p, vips_flatten(p->image, &p->next, "background", background, NULL));
    vips_area_unref(VIPS_AREA(background));
    return e;
}

static gint64 on_write(VipsTargetCustom *target, const void *bytes, gint64 len, void *ctx)
{
    (void)target;
    return outlet_write(ctx, bytes, (size_t)len) ? -1 : len;
}

/* JPEG, PNG and WebP go out while they are made. */
static int save_stream(struct pipeline *p, struct outlet *outlet)
{
    const struct args *args = p->task->args;
    bool               has_quality = !isnan(args->real[ARG_QUALITY]);
    int                quality = has_quality ? (int)args->integer[ARG_QUALITY] : IMAGE_QUALITY;
    VipsTarget        *target = VIPS_TARGET(vips_target_custom_new());
    int                rc;

    g_signal_connect(target, "write", G_CALLBACK(on_write), outlet);
    if (p->to == IMAGE_JPEG)
        rc = vips_jpegsave_target(p->image, target, "Q", quality, NULL);
    else if (p->to == IMAGE_PNG)
        rc = vips_pngsave_target(p->image, target, NULL);
    else
        rc = vips_webpsave_target(p->image, target, "Q", quality, "lossless", p->is_lossless && !has_quality, NULL);
    g_object_unref(target);
    return rc;
}

static int save_tiff(struct pipeline *p, struct outlet *outlet)
{
    void  *bytes = NULL;
    size_t len = 0;
    int    rc = vips_tiffsave_buffer(p->image, &bytes, &len, "compression", VIPS_FOREIGN_TIFF_COMPRESSION_DEFLATE,
                                     "predictor", VIPS_FOREIGN_TIFF_PREDICTOR_HORIZONTAL, NULL);

    if (!rc)
        rc = outlet_write(outlet, bytes, len) ? -1 : 0;
    g_free(bytes);
    return rc;
}

enum err pipeline_encode(struct pipeline *p)
{
    struct outlet outlet;
    enum err      e = check_bounds(p);
    int           rc;

    if (!e && p->task->args->integer[ARG_STRIP])
        e = strip(p);
    if (!e)
        e = flatten(p);
    if (e)
        return e;
    outlet_open(&outlet, p->task);
    p->task->why = (struct fault){.err = ERR_OK};
    pipeline_watch(p, 1);
    rc = p->to == IMAGE_TIFF ? save_tiff(p, &outlet) : save_stream(p, &outlet);
    if (p->task->why.err) /* of the outlet: it comes before what libvips says about it */
        e = p->task->why.err;
    else if (rc)
        e = pipeline_refuse(p);
    if (e)
        outlet_drop(&outlet);
    else
        outlet_close(&outlet, image_format_type(p->to));
    return e;
}
