/* SPDX-License-Identifier: Apache-2.0 */
/* source.h - the part of an operand that a job needs, wherever it comes from, as blocks of numbers.
 *
 *   source_open -> for each block: source_view where the numbers lie as they are wanted (source_is_direct),
 *                  else source_fill into a buffer -> source_close
 *
 * What lies in a blob is mapped, read only, and only the needed range of it: such pages belong to the file and
 * cost the job no memory. Integers are always looked at where they lie; random operands are always made anew.
 */
#ifndef MILLRACE_SOURCE_H
#define MILLRACE_SOURCE_H

#include "common/filemap.h"
#include "kinds/matrix/matrix.h"
#include "kinds/task.h"

/* A block of a matrix. Row by row, ld is the distance from one row to the next in numbers; with is_fortran it
 * is that from one column to the next. */
struct view {
    const void *numbers; /* borrowed; of a file: not necessarily aligned */
    enum dtype  dtype;
    bool        is_fortran;
    uint64_t    rows, cols, ld;
};

struct crew;

struct source {
    const struct operand *operand; /* borrowed */
    struct region         region;  /* of the operand */
    const char           *numbers; /* the region's first; NULL: random */
    struct filemap        map;     /* of a blob */
};

/* The region of the operand, all of whose numbers must lie within the task's body or blob. operand and task are
 * borrowed until source_close. ERR_BODY, ERR_MEMORY, ERR_IO. */
enum err source_open(struct source *s, const struct operand *operand, const struct region *region,
                     const struct task *task, struct fault *why) MUST_CHECK;
void     source_close(struct source *s); /* also of one that did not open, or {0} */

/* Whether a view can be used as numbers of this type by the matrix library: right type, aligned, countable. */
bool source_is_direct(const struct source *s, enum dtype wanted);

/* A block of the region, as it lies. part: counted from the region's first row and column. Not of a random one. */
struct view source_view(const struct source *s, const struct region *part);

/* The same block as numbers of the type `wanted` (a float), in out: rows * cols of them, side by side, in the
 * order that the source has. Aligned for its type. The crew, if any, shares it out. */
struct view source_fill(const struct source *s, const struct region *part, enum dtype wanted, void *out,
                        struct crew *crew);

#endif
