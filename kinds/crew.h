/* SPDX-License-Identifier: Apache-2.0 */
/* crew.h - threads that share out a loop over much memory, which one alone could not keep up with.
 *
 * An executor has one crew, made before its jail forbids new threads. Between two runs its threads sleep. Each part
 * of a run is done once, by one thread; nothing else is shared than what the parts share themselves.
 */
#ifndef MILLRACE_CREW_H
#define MILLRACE_CREW_H

#include <stdint.h>

#define CREW_MAX 64 /* parts of one run, at most */

struct crew;

/* part: from 0, below parts. ctx is borrowed. */
typedef void crew_fn(void *ctx, int part, int parts);

/* So many threads, the caller's own is one of them; fewer where the system refuses, or beyond CREW_MAX. The crew is
 * owned, and NULL for one thread. */
struct crew *crew_new(int threads);
void         crew_free(struct crew *c); /* NULL is fine */

/* One part for each thread, part 0 for the caller; comes back when all are done. crew NULL: one part in all. */
void crew_run(struct crew *c, crew_fn *fn, void *ctx);

/* What falls to a part of so many things that lie in a row. */
struct stretch {
    uint64_t from, count;
};

static inline struct stretch crew_stretch(uint64_t count, int part, int parts)
{
    uint64_t each = count / (uint64_t)parts, more = count % (uint64_t)parts, before = (uint64_t)part;

    return (struct stretch){before * each + (before < more ? before : more), each + (before < more)};
}

#endif
