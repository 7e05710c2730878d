/* SPDX-License-Identifier: Apache-2.0 */
/* map_plan.c - see the header. */
#include "cli/map_plan.h"

#include <stdlib.h>
#include <string.h>

#include "cli/map_nameset.h"

void plan_init(struct plan *p)
{
    memset(p, 0, sizeof *p);
    buf_append(&p->texts, "", 1);
}

void plan_free(struct plan *p)
{
    free(p->files);
    buf_free(&p->texts);
    memset(p, 0, sizeof *p);
}

static uint64_t keep_text(struct plan *p, const char *text)
{
    uint64_t at = p->texts.len;

    buf_append(&p->texts, text, strlen(text) + 1);
    return at;
}

size_t plan_add(struct plan *p, const char *name, uint64_t size, int64_t mtime_ns)
{
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap + p->cap / 2 : 64;
        p->files = xrealloc(p->files, p->cap * sizeof *p->files);
    }
    p->files[p->count] = (struct plan_file){.name_at = keep_text(p, name), .size = size, .mtime_ns = mtime_ns};
    return p->count++;
}

void plan_set_base(struct plan *p, size_t index, const char *base)
{
    p->files[index].base_at = *base ? keep_text(p, base) : 0;
}

const char *plan_name(const struct plan *p, size_t index) { return p->texts.data + p->files[index].name_at; }

const char *plan_base(const struct plan *p, size_t index)
{
    return p->files[index].base_at ? p->texts.data + p->files[index].base_at : NULL;
}

static int by_name(const void *a, const void *b, void *texts)
{
    const struct plan_file *left = a, *right = b;

    return strcmp((char *)texts + left->name_at, (char *)texts + right->name_at);
}

void plan_sort(struct plan *p)
{
    if (p->count)
        qsort_r(p->files, p->count, sizeof *p->files, by_name, p->texts.data);
}

/* A file that was planned before, as it is now. */
static bool update(struct plan_file *old, const struct plan_file *now)
{
    bool is_same = old->size == now->size && old->mtime_ns == now->mtime_ns;

    old->is_gone = false;
    if (is_same)
        return false;
    old->size = now->size;
    old->mtime_ns = now->mtime_ns;
    old->state = PLAN_TO_DO;
    old->again++;
    return true;
}

void plan_merge(struct plan *p, const struct plan *found, void (*changed)(void *ctx, size_t index), void *ctx)
{
    struct nameset known;

    nameset_init(&known, p->count);
    for (size_t i = 0; i < p->count; i++) {
        p->files[i].is_gone = true;
        nameset_add(&known, p->texts.data, p->files[i].name_at, strlen(plan_name(p, i)), i);
    }
    for (size_t i = 0; i < found->count; i++) {
        const struct plan_file *now = &found->files[i];
        const char             *name = plan_name(found, i);
        size_t                  index = nameset_find(&known, p->texts.data, name, strlen(name));

        if (index == NAMESET_NONE)
            changed(ctx, plan_add(p, name, now->size, now->mtime_ns));
        else if (update(&p->files[index], now))
            changed(ctx, index);
    }
    nameset_free(&known);
}

struct plan_counts plan_count(const struct plan *p)
{
    struct plan_counts n = {0};

    for (size_t i = 0; i < p->count; i++) {
        const struct plan_file *file = &p->files[i];

        if (file->is_gone)
            continue;
        n.all++;
        n.bytes += file->size;
        n.to_do += file->state == PLAN_TO_DO;
        n.done += file->state == PLAN_DONE;
        n.failed += file->state == PLAN_FAILED;
    }
    return n;
}
