/* SPDX-License-Identifier: Apache-2.0 */
/* map_batch.h - from a downloaded temporary to an output under its final name.
 *
 * Results are gathered for a moment and made durable together: one flush of the
 * file system, then the journal, then the renames. So an output is never seen
 * half written, and one that the journal calls done survives a power cut, at
 * the price of a flush for dozens of files instead of for each. A client that
 * is killed between journal and rename leaves the rename to the next.
 */
#ifndef MILLRACE_CLI_MAP_BATCH_H
#define MILLRACE_CLI_MAP_BATCH_H

#include "cli/map_plan.h"
#include "cli/map_record.h"
#include "cli/map_state.h"

#define BATCH_MAX 64

struct batch {
    struct plan  *plan;  /* borrowed */
    struct state *state; /* borrowed */
    int           count;
    int64_t       since_ms; /* mono; when the first came */
    struct batch_item {
        size_t        index;
        uint64_t      bytes;
        char          type[128];
        struct record record;
    } items[BATCH_MAX];
    void (*ended)(void *ctx, size_t index, const struct ending *end); /* of each that was committed */
    void *ctx;
};

/* The temporary of a file, appended with a NUL. */
void batch_temporary(const struct state *st, size_t index, struct buf *out);

/* Takes over the temporary of a file. There is room, or batch_commit makes it. */
void batch_add(struct batch *b, size_t index, uint64_t bytes, const char *type, const struct record *record);

/* All of them get their final names, and the journal is written, also where the batch is empty, which it is afterwards
 * in any case. An output that cannot have its name is a failure of that file. ERR_IO: nothing can be written there any
 * more; what has no name yet is still to be done, by the next client, with its temporary where the journal has it. */
enum err batch_commit(struct batch *b, struct fault *why) MUST_CHECK;

/* After an earlier client's journal was read: files that it calls done have their output, of the size it had, or are
 * to be done again. Renames that were not made are, unless is_dry. */
void batch_recover(struct state *st, struct plan *p, bool is_dry);

#endif
