/* SPDX-License-Identifier: Apache-2.0 */
/* image: decode, the operations in their order, encode. One that only turns a JPEG moves its coefficients instead. */
#include "kinds/image/lossless.h"
#include "kinds/image/pipeline.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY_SHARE 0.75 /* of what a task may take, for whole images; the rest is for all that is small */
#define GATHER_PART 0.5   /* of what is left of the progress, for each gathering */
#define UNREADABLE "not an image that can be read: "

/* ---- parts of the pipeline ------------------------------------------------ */

/* libvips' words, a line for each fault, as one line. */
static void take_words(char *out, size_t room)
{
    const char *words = vips_error_buffer();
    size_t      len = 0;

    for (; *words && len + 3 < room; words++) {
        if (*words != '\n')
            out[len++] = *words;
        else if (words[1]) {
            out[len++] = ';';
            out[len++] = ' ';
        }
    }
    out[len] = '\0';
    vips_error_clear();
}

enum err pipeline_refuse(struct pipeline *p)
{
    char words[sizeof p->task->why.detail - sizeof UNREADABLE];

    take_words(words, sizeof words);
    if (strstr(words, "out of memory") || strstr(words, "nsufficient memory"))
        return fault_set(&p->task->why, ERR_MEMORY, "no memory for this image: %s", words);
    return fault_set(&p->task->why, ERR_BODY, UNREADABLE "%s", *words ? words : "it is damaged or cut short");
}

enum err pipeline_step(struct pipeline *p, int rc)
{
    if (rc)
        return pipeline_refuse(p);
    if (p->image)
        g_object_unref(p->image);
    p->image = p->next;
    p->next = NULL;
    return ERR_OK;
}

enum err pipeline_afford(struct pipeline *p, double bytes)
{
    double most = MEMORY_SHARE * (double)p->task->memory_max, all = (double)vips_tracked_get_mem() + bytes;

    if (all > most)
        return fault_set(&p->task->why, ERR_MEMORY, "this image takes %.0f MiB of memory; a job may take %.0f MiB",
                         all / (1 << 20), most / (1 << 20));
    return ERR_OK;
}

enum err pipeline_gather(struct pipeline *p)
{
    enum err e = pipeline_afford(p, (double)VIPS_IMAGE_SIZEOF_IMAGE(p->image));

    if (e)
        return e;
    pipeline_watch(p, GATHER_PART);
    p->next = vips_image_copy_memory(p->image);
    p->done += (1 - p->done) * GATHER_PART;
    p->is_overlapping = false;
    return pipeline_step(p, p->next ? 0 : -1);
}

static void on_eval(VipsImage *image, VipsProgress *progress, void *ctx)
{
    const struct pipeline *p = ctx;
    double                *span = g_object_get_data(G_OBJECT(image), "span");

    atomic_store_explicit(p->task->progress, p->done + *span * progress->percent / 100, memory_order_relaxed);
}

void pipeline_watch(struct pipeline *p, double part)
{
    double *span = g_new(double, 1);

    *span = (1 - p->done) * part;
    g_object_set_data_full(G_OBJECT(p->image), "span", span, g_free);
    vips_image_set_progress(p->image, TRUE);
    g_signal_connect(p->image, "eval", G_CALLBACK(on_eval), p);
}

int pipeline_background(const struct pipeline *p, const VipsImage *image, double *out, int most)
{
    const unsigned char *c = p->background;
    bool                 has_alpha = vips_image_hasalpha((VipsImage *)image);
    double               range = image->BandFmt == VIPS_FORMAT_USHORT ? 257 : 1;
    int                  count = image->Bands < most ? image->Bands : most;
    bool                 is_gray = image->Bands - has_alpha < 3;

    for (int i = 0; i < count; i++)
        out[i] = range * (is_gray ? 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2] : c[i < 3 ? i : 2]);
    return count;
}

/* ---- the job -------------------------------------------------------------- */

static enum err process(struct pipeline *p)
{
    enum err e = pipeline_decode(p);

    for (int i = 0; i < p->plan->count && !e; i++)
        e = pipeline_apply(p, &p->plan->ops[i], i + 1);
    return e ? e : pipeline_encode(p);
}

static enum err read_args(const struct task *task, struct image_plan *plan, unsigned char background[3],
                          struct fault *why)
{
    const char *ops = args_text(task->args, ARG_OPS), *colour = args_text(task->args, ARG_BACKGROUND);
    enum err    e = image_ops_read(ops ? ops : "", plan, why);

    return e ? e : image_colour_read(colour ? colour : IMAGE_BACKGROUND, background, why);
}

enum err image_run(struct task *task)
{
    struct image_plan plan;
    struct filemap    file = {0};
    struct pipeline   p = {.task = task, .plan = &plan, .file = &file};
    enum err          e = read_args(task, &plan, p.background, &task->why);

    if (!e)
        e = raw_input(task, &file);
    if (e)
        return e;
    if (!lossless_try(task, &plan, &file, &e))
        e = process(&p);
    if (p.image)
        g_object_unref(p.image);
    filemap_close(&file);
    vips_error_clear();
    if (!e)
        atomic_store_explicit(task->progress, 1.0, memory_order_relaxed);
    return e;
}
