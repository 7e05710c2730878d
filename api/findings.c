/* SPDX-License-Identifier: Apache-2.0 */
/* findings.c - see the header. */
#include "api/findings.h"

#include <stdlib.h>
#include <string.h>

void findings_clear(struct findings *f)
{
    for (size_t i = 0; i < f->count; i++)
        free(f->each[i].why);
    free(f->each);
    *f = (struct findings){0};
}

static struct finding *find(struct findings *f, const char *id, int kind)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->each[i].kind == kind && strcmp(f->each[i].id, id) == 0)
            return &f->each[i];
    return NULL;
}

void findings_add(struct findings *f, const struct finding *found, const char *why)
{
    if (find(f, found->id, found->kind))
        return;
    if (f->count == FINDINGS_MAX) {
        f->more++;
        return;
    }
    if (f->count == f->room) {
        f->room = f->room ? f->room * 2 : 16;
        f->each = xrealloc(f->each, f->room * sizeof *f->each);
    }
    f->each[f->count] = *found;
    f->each[f->count++].why = xstrdup(why);
}

void findings_look(struct findings *f)
{
    for (size_t i = 0; i < f->count; i++)
        f->each[i].is_seen = f->each[i].is_final;
}

void findings_see(struct findings *f, const char *id, int kind, const char *mark)
{
    struct finding *found = find(f, id, kind);

    if (found && strcmp(found->mark, mark) == 0)
        found->is_seen = true;
}

/* Drops what is not marked as seen. */
static void drop_unseen(struct findings *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->count; i++) {
        if (f->each[i].is_seen)
            f->each[kept++] = f->each[i];
        else
            free(f->each[i].why);
    }
    f->count = kept;
}

void findings_keep(struct findings *f) { drop_unseen(f); }

int64_t findings_lost(const struct findings *f, int kind)
{
    int64_t count = 0;

    for (size_t i = 0; i < f->count; i++)
        count += f->each[i].is_bare && f->each[i].kind == kind && strcmp(f->each[i].state, "in-progress") == 0;
    return count;
}

static int64_t missing_of(const struct balance *b, int kind)
{
    return b->bare[kind] > b->ready[kind] ? b->bare[kind] - b->ready[kind] : 0;
}

int64_t balance_missing(const struct balance *b)
{
    int64_t missing = 0;

    for (int i = 0; i < KIND_COUNT; i++)
        missing += missing_of(b, i);
    return missing - b->delayed - b->outbox;
}

/* Faults first, then bare jobs, the oldest first. */
static int compare(const void *a, const void *b)
{
    const struct finding *one = a, *other = b;

    if (one->is_bare != other->is_bare)
        return one->is_bare - other->is_bare;
    return (one->since > other->since) - (one->since < other->since);
}

void findings_suspect(struct findings *f, const struct balance *b, int64_t missing)
{
    int64_t named = 0;

    if (f->count)
        qsort(f->each, f->count, sizeof *f->each, compare);
    for (size_t i = 0; i < f->count; i++) {
        struct finding *each = &f->each[i];

        each->is_seen =
            !each->is_bare || (named < missing && each->kind >= 0 && missing_of(b, each->kind) > 0 && ++named);
    }
    drop_unseen(f);
    if (missing > named && named > 0)
        f->more += missing - named;
}
