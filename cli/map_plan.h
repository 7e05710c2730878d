/* SPDX-License-Identifier: Apache-2.0 */
/* map_plan.h - the files of a dataset, and what became of each.
 *
 * A file is known by its index, which it keeps from the first plan to the last
 * resume. Some 50 bytes each and its name: 100,000 files take 10 MB.
 */
#ifndef MILLRACE_CLI_MAP_PLAN_H
#define MILLRACE_CLI_MAP_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"

enum plan_state { PLAN_TO_DO, PLAN_DONE, PLAN_FAILED };

struct plan_file {
    uint64_t name_at; /* in plan.texts: relative to the dataset, parts joined by '/' */
    uint64_t base_at; /* where the base of its output's name lies; 0: its stem is the base */
    uint64_t size;    /* bytes */
    int64_t  mtime_ns;
    uint64_t end_at;  /* of a file that ended: where the journal says how */
    uint32_t again;   /* how often it was begun anew: part of its job's key */
    uint8_t  state;   /* enum plan_state */
    bool     is_gone; /* no longer in the dataset: neither done again nor counted */
};

struct plan {
    struct plan_file *files; /* owned; in the order of their indexes */
    size_t            count, cap;
    struct buf        texts; /* names and bases, each with its NUL; byte 0 is one, so that 0 means none */
};

void plan_init(struct plan *p);
void plan_free(struct plan *p);

/* The new file's index. It is to be done. */
size_t plan_add(struct plan *p, const char *name, uint64_t size, int64_t mtime_ns);

/* Gives a file the base of its output's name; "" takes it away. */
void plan_set_base(struct plan *p, size_t index, const char *base);

/* Both are borrowed until the next plan_add or plan_set_base; base: NULL when the stem is the base. */
const char *plan_name(const struct plan *p, size_t index);
const char *plan_base(const struct plan *p, size_t index);

/* By name, byte by byte. Only before anything refers to an index. */
void plan_sort(struct plan *p);

/* What a later look at the dataset found, put into the plan. Files that are new come last; a file of another size or
 * time is to be done again, and one that is not there any more is gone. changed is told the index of each file that
 * is new or other than before. found is in order. */
void plan_merge(struct plan *p, const struct plan *found, void (*changed)(void *ctx, size_t index), void *ctx);

struct plan_counts {
    size_t   all, to_do, done, failed;
    uint64_t bytes; /* of all */
};

/* Without those that are gone. */
struct plan_counts plan_count(const struct plan *p);

#endif
