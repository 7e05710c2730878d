/* SPDX-License-Identifier: Apache-2.0 */
/* goods.c - see the header. An errand is what a callback of the blobs finds: it
 * outlives the attempt that sent it, and knows when that is over. */
#include "worker/goods.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"

struct errand {
    struct goods *goods; /* NULL: over, whatever comes is thrown away */
    goods_fn     *done;
    void         *ctx;
    char          parent[JOB_ID_BYTES]; /* of a listing */
    int           awaited;              /* answers that are still to come */
    struct input_errand {
        struct errand *errand;
        int            index;
    } inputs[INPUT_BLOBS_MAX];
};

static struct errand *send_out(struct goods *g, int awaited, goods_fn *done, void *ctx)
{
    struct errand *r = xcalloc(1, sizeof *r);

    *r = (struct errand){.goods = g, .done = done, .ctx = ctx, .awaited = awaited};
    g->errand = r;
    return r;
}

/* One of the answers is there. Tells the first fault, or that all went well; the last answer frees. */
static void come_back(struct errand *r, enum err e, const struct fault *why)
{
    struct goods *g = r->goods;
    goods_fn     *done = r->done;
    void         *ctx = r->ctx;

    r->awaited--;
    if (g && (e || r->awaited == 0)) {
        g->errand = NULL;
        r->goods = NULL;
    } else {
        done = NULL;
    }
    if (r->awaited == 0)
        free(r);
    if (done)
        done(ctx, e, why);
}

/* ---- inputs ------------------------------------------------------------------- */

static void on_opened(void *ctx, enum err e, const struct fault *why, int fd, const struct blob_info *info)
{
    struct input_errand *input = ctx;
    struct goods        *g = input->errand->goods;

    if (!e && g) {
        g->inputs[input->index] = fd;
        g->input_bytes[input->index] = (uint64_t)info->size;
    } else if (!e) {
        close(fd);
    }
    come_back(input->errand, e, why);
}

void goods_fetch(struct goods *g, struct blob_store *b, const char (*names)[BLOB_NAME_BYTES], int count, goods_fn *done,
                 void *ctx)
{
    struct errand *r = send_out(g, count, done, ctx);

    g->input_count = count;
    for (int i = 0; i < count; i++) {
        g->inputs[i] = -1;
        r->inputs[i] = (struct input_errand){r, i};
        blob_fetch(b, names[i], on_opened, &r->inputs[i]);
    }
}

/* ---- the result ----------------------------------------------------------------- */

enum err goods_create(struct goods *g, struct blob_store *b, const char *name, int64_t bytes, struct fault *why)
{
    enum err e = blob_create(b, name, bytes, 0, &g->writer, why);

    if (!e)
        snprintf(g->result, sizeof g->result, "%s", name);
    return e;
}

int goods_output(const struct goods *g) { return g->writer ? blob_writer_fd(g->writer) : -1; }

int64_t goods_output_bytes(const struct goods *g)
{
    struct stat st;

    return g->writer && fstat(blob_writer_fd(g->writer), &st) == 0 ? st.st_size : -1;
}

static void on_sealed(void *ctx, enum err e, const struct fault *why, const struct blob_info *info)
{
    (void)info;
    come_back(ctx, e, why);
}

void goods_seal(struct goods *g, const char *sum, goods_fn *done, void *ctx)
{
    struct blob_writer *writer = g->writer;

    g->writer = NULL;
    blob_seal(writer, NULL, sum, NULL, on_sealed, send_out(g, 1, done, ctx));
}

/* ---- results of members --------------------------------------------------------- */

/* PARENT-MEMBER-FENCE; the parent's own result has one number less. */
static bool read_name(const char *name, const char *parent, struct store_sealed *out)
{
    size_t len = strlen(parent);
    int    end = 0;

    return strncmp(name, parent, len) == 0 &&
           sscanf(name + len, "-%" SCNd64 "-%" SCNd64 "%n", &out->member, &out->fence, &end) == 2 &&
           name[len + (size_t)end] == '\0' && out->member >= 0 && out->fence > 0;
}

static int by_member(const void *a, const void *b)
{
    const struct store_sealed *x = a, *y = b;

    return (x->member > y->member) - (x->member < y->member);
}

static void on_listed(void *ctx, enum err e, const char *const *names, size_t count)
{
    struct errand *r = ctx;
    struct goods  *g = r->goods;
    struct fault   why = {0};
    size_t         kept = 0;

    if (e)
        fault_set(&why, e, "the results that are there already cannot be listed");
    if (g && !e && count > 0) {
        g->sealed = xmalloc(count * sizeof *g->sealed);
        for (size_t i = 0; i < count; i++)
            g->sealed_count += read_name(names[i], r->parent, &g->sealed[g->sealed_count]);
        qsort(g->sealed, g->sealed_count, sizeof *g->sealed, by_member);
        for (size_t i = 0; i < g->sealed_count; i++)
            if (kept == 0 || g->sealed[kept - 1].member != g->sealed[i].member)
                g->sealed[kept++] = g->sealed[i];
        g->sealed_count = kept;
    }
    come_back(r, e, &why);
}

void goods_list(struct goods *g, struct blob_store *b, const char *parent, goods_fn *done, void *ctx)
{
    struct errand *r = send_out(g, 1, done, ctx);

    snprintf(r->parent, sizeof r->parent, "%s", parent);
    blob_list(b, parent, on_listed, r);
}

/* ---- the end ---------------------------------------------------------------------- */

void goods_drop(struct goods *g)
{
    if (g->errand)
        g->errand->goods = NULL;
    for (int i = 0; i < g->input_count; i++)
        if (g->inputs[i] >= 0)
            close(g->inputs[i]);
    blob_abort(g->writer);
    free(g->sealed);
    *g = (struct goods){0};
}
