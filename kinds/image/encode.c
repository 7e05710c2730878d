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
    int most = bounds[p->to].side_max;

    if (most && (p->width > most || p->height > most))
        return fault_set(&p->task->why, ERR_PARAM, "a result of %d x %d pixels is more than %s can hold, which is %d",
                         p->width, p->height, image_format_name(p->to), most);
    return ERR_OK;
}

/* libwebp takes an image whole. It is made before, because libvips' writer for it never lets go of an image that fails
 * under its hands, nor of all that this is made from: libvips 8.14. */
static enum err make_room(struct pipeline *p)
{
    double   bytes = (double)p->width * p->height * WEBP_BYTES_PER_PIXEL;
    enum err e;

    if (p->to == IMAGE_TIFF)
        return pipeline_afford(p, TIFF_BYTES_FACTOR * (double)VIPS_IMAGE_SIZEOF_IMAGE(p->image));
    if (p->to != IMAGE_WEBP)
        return ERR_OK;
    e = pipeline_afford(p, bytes);
    if (!e)
        e = pipeline_gather(p);
    return e ? e : pipeline_afford(p, bytes);
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

/* Without the fields of these names, which are taken. The image is one of its own first: its metadata may be shared. */
static enum err forget(struct pipeline *p, GPtrArray *names)
{
    enum err e = pipeline_step(p, vips_copy(p->image, &p->next, NULL));

    for (guint i = 0; i < names->len && !e; i++)
        vips_image_remove(p->image, g_ptr_array_index(names, i));
    g_ptr_array_free(names, TRUE);
    return e;
}

/* All that describes and nothing that the colours need. */
static enum err strip(struct pipeline *p)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);

    vips_image_map(p->image, forget_field, names);
    return forget(p, names);
}

/* TIFF wraps IPTC in another way than JPEG, and libvips would hand it over as it is (and write a quarter of it). */
static enum err forget_iptc(struct pipeline *p)
{
    GPtrArray *names;

    if ((p->from != IMAGE_TIFF && p->to != IMAGE_TIFF) || !vips_image_get_typeof(p->image, VIPS_META_IPTC_NAME))
        return ERR_OK;
    names = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(names, g_strdup(VIPS_META_IPTC_NAME));
    return forget(p, names);
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

/* JPEG and PNG go out while they are made. */
static int save_stream(struct pipeline *p, struct outlet *outlet, int quality)
{
    VipsTarget *target = VIPS_TARGET(vips_target_custom_new());
    int         rc;

    g_signal_connect(target, "write", G_CALLBACK(on_write), outlet);
    if (p->to == IMAGE_JPEG)
        rc = vips_jpegsave_target(p->image, target, "Q", quality, NULL);
    else
        rc = vips_pngsave_target(p->image, target, NULL);
    g_object_unref(target);
    return rc;
}

/* WebP and TIFF are there as a whole before they go out. */
static int save_whole(struct pipeline *p, struct outlet *outlet, int quality, bool is_lossless)
{
    void  *bytes = NULL;
    size_t len = 0;
    int    rc;

    if (p->to == IMAGE_WEBP)
        rc = vips_webpsave_buffer(p->image, &bytes, &len, "Q", quality, "lossless", is_lossless, NULL);
    else
        rc = vips_tiffsave_buffer(p->image, &bytes, &len, "compression", VIPS_FOREIGN_TIFF_COMPRESSION_DEFLATE,
                                  "predictor", VIPS_FOREIGN_TIFF_PREDICTOR_HORIZONTAL, NULL);
    if (!rc)
        rc = outlet_write(outlet, bytes, len) ? -1 : 0;
    g_free(bytes);
    return rc;
}

static int save(struct pipeline *p, struct outlet *outlet)
{
    const struct args *args = p->task->args;
    bool               has_quality = !isnan(args->real[ARG_QUALITY]);
    int                quality = has_quality ? (int)args->integer[ARG_QUALITY] : IMAGE_QUALITY;

    if (p->to == IMAGE_WEBP || p->to == IMAGE_TIFF)
        return save_whole(p, outlet, quality, p->is_lossless && !has_quality);
    return save_stream(p, outlet, quality);
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
    if (!e)
        e = forget_iptc(p);
    if (!e)
        e = make_room(p);
    if (e)
        return e;
    outlet_open(&outlet, p->task);
    p->task->why = (struct fault){.err = ERR_OK};
    pipeline_watch(p, 1);
    rc = save(p, &outlet);
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
