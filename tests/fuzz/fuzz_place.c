/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_place.c - {"batch": .., "cluster": ..} as millrace place would be given them: refused with a sentence, or packed
 * so that no node has more than it can hold and no pod is forgotten. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/place/explain.h"
#include "cli/place/render.h"

#define PODS_MAX 2000 /* the scheduler is worked out pod by pod */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_packing(const struct batch *b, const struct cluster *c, const struct packing *p)
{
    for (size_t i = 0; i < b->count; i++) {
        int64_t pods = p->placed[i].nowhere;

        for (size_t k = 0; k < p->placed[i].count; k++)
            pods += p->placed[i].shares[k].pods;
        if (pods != b->tasks[i].parallelism)
            abort();
    }
    for (size_t i = 0; i < c->count; i++)
        if (p->free[i].cpu_milli < 0 || p->free[i].memory_bytes < 0 || p->free[i].pods < 0)
            abort();
}

static void place(const struct batch *b, const struct cluster *c)
{
    size_t        *order = pack_rank(b, c);
    json_t        *jobs = render_jobs(b, c, order, "space"), *explained;
    char          *text = json_dumps(jobs, 0);
    struct packing p;
    struct buf     out = {0};

    if (!text || json_array_size(json_object_get(jobs, "items")) != b->count)
        abort();
    pack_first_fit(b, c, order, &p);
    check_packing(b, c, &p);
    if (b->pods <= PODS_MAX) {
        explained = explain(b, c, order, &p);
        explain_print(explained, &out);
        json_decref(explained);
    }
    packing_free(&p);
    buf_free(&out);
    free(text);
    json_decref(jobs);
    free(order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t        *doc = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    struct batch   b = {0};
    struct cluster c = {0};
    struct fault   why = {0};
    enum err       e;

    e = batch_read(json_incref(json_object_get(doc, "batch")), &b, &why);
    if (!e)
        e = cluster_add(&c, json_incref(json_object_get(doc, "cluster")), "cluster", &why);
    if (!e)
        e = cluster_settle(&c, &why);
    if (!e)
        place(&b, &c);
    else if (!*why.detail)
        abort();
    cluster_free(&c);
    batch_free(&b);
    json_decref(doc);
    return 0;
}
