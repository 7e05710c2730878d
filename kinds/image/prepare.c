/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.c - see the header. */
#include "kinds/image/prepare.h"

#include <malloc.h>
#include <stdlib.h>
#include <time.h>
#include <vips/vips.h>

#include <vips/vector.h> /* needs the former */

#include "kinds/image/image.h"
#include "kinds/image/ops.h"
#include "kinds/task.h"

#define SIDE 32           /* pixels of the tiny image */
#define ROOM (256 * 1024) /* bytes for what becomes of it */

/* libvips says all that matters by its error buffer. GLib's own way would ask where standard error leads. */
static void ignore(const gchar *domain, GLogLevelFlags level, const gchar *message, gpointer ctx)
{
    (void)domain, (void)level, (void)message, (void)ctx;
}

static GLogWriterOutput ignore_fields(GLogLevelFlags level, const GLogField *fields, gsize count, gpointer ctx)
{
    (void)level, (void)fields, (void)count, (void)ctx;
    return G_LOG_WRITER_HANDLED;
}

/* Files are read by one of these, and written by one of these. */
static void block_others(void)
{
    static const char *const used[] = {"VipsForeignLoadJpeg", "VipsForeignLoadPng",  "VipsForeignLoadWebp",
                                       "VipsForeignLoadTiff", "VipsForeignSaveJpeg", "VipsForeignSavePng",
                                       "VipsForeignSaveWebp", "VipsForeignSaveTiff"};

    vips_block_untrusted_set(TRUE);
    vips_operation_block_set("VipsForeignLoad", TRUE);
    vips_operation_block_set("VipsForeignSave", TRUE);
    for (size_t i = 0; i < G_N_ELEMENTS(used); i++)
        vips_operation_block_set(used[i], FALSE);
}

enum err image_prepare(struct fault *why)
{
    mallopt(M_ARENA_MAX, 1);  /* a further one for a thread would look into /proc when it shrinks */
    setenv("LC_ALL", "C", 1); /* no translations, which are read late */
    setenv("TZ", "UTC0", 1);  /* no time zone, which is read late */
    tzset();
    setenv("VIPSHOME", "/nowhere", 1); /* no plugins: formats that are not used here */
    g_log_set_default_handler(ignore, NULL);
    g_log_set_writer_func(ignore_fields, NULL, NULL);
    if (VIPS_INIT("millrace-exec-image"))
        return fault_set(why, ERR_INTERNAL, "libvips: %.200s", vips_error_buffer());
    block_others();
    vips_vector_set_enabled(FALSE); /* it makes code, and the jail has no memory that can be executed */
    vips_concurrency_set(1);        /* a fleet computes images side by side: that leaves no CPU waiting for another */
    vips_cache_set_max(0);
    return ERR_OK;
}

/* ---- warm-up -------------------------------------------------------------- */

/* One task with these operations; *len bytes in file before and after. */
static enum err convert(char *file, size_t *len, const char *ops, uint64_t memory_max, struct fault *why)
{
    static char    room[ROOM] __attribute__((aligned(64)));
    _Atomic double progress = 0;
    struct args    args;
    struct task    task = {.args = &args,
                           .input = file,
                           .input_len = *len,
                           .refs = "",
                           .output = room,
                           .output_fd = -1,
                           .output_max = ROOM,
                           .room_max = ROOM,
                           .memory_max = memory_max,
                           .threads = 1,
                           .progress = &progress};
    enum err       e;

    args_init(&args);
    e = args_set(kinds[KIND_ID_image], &args, "ops", ops, why);
    if (!e)
        e = args_complete(kinds[KIND_ID_image], &args, why);
    if (!e && image_run(&task)) {
        *why = task.why;
        e = why->err;
    }
    if (!e) {
        memcpy(file, room, task.output_len);
        *len = task.output_len;
    }
    return e;
}

/* A PNG to begin with. */
static enum err draw(char *file, size_t *len, struct fault *why)
{
    VipsImage *image = NULL;
    void      *bytes = NULL;

    if (vips_black(&image, SIDE, SIDE, "bands", 4, NULL) || vips_pngsave_buffer(image, &bytes, len, NULL) ||
        *len > ROOM)
        return fault_set(why, ERR_INTERNAL, "libvips: %.200s", vips_error_buffer());
    memcpy(file, bytes, *len);
    g_free(bytes);
    g_object_unref(image);
    return ERR_OK;
}

enum err image_warm_up(uint64_t memory_max, struct fault *why)
{
    static const char *const chains[] = {
        "rotate:45,scale:0.5,fit:24,thumbnail:16,crop:8x8+1+1,flip:v,gray,blur:1,sharpen,convert:webp",
        "rotate:90,convert:tiff", "flip:h,blur:1,sharpen,convert:jpeg", "rotate:90", "scale:0.9,convert:png"};
    static char file[ROOM];
    size_t      len = 0;
    enum err    e = draw(file, &len, why);

    for (size_t i = 0; i < G_N_ELEMENTS(chains) && !e; i++)
        e = convert(file, &len, chains[i], memory_max, why);
    return e;
}
