/* SPDX-License-Identifier: Apache-2.0 */
/* raw.h - what the run of a kind that takes raw bytes and is open-ended needs: its input wherever that lies, and a
 * place for a result whose size nobody knows before it is there.
 *
 *   raw_input -> ... -> outlet_open -> outlet_write* -> outlet_close
 *
 * A result goes into the task's room; once that is full, all of it goes into the task's file. Works in the jail.
 */
#ifndef MILLRACE_RAW_H
#define MILLRACE_RAW_H

#include "common/filemap.h"
#include "kinds/task.h"

/* The input as memory: the body, or the one blob that stands for it. filemap_close ends it. ERR_MEMORY, ERR_IO,
 * in task->why too. */
enum err raw_input(struct task *task, struct filemap *out) MUST_CHECK;

struct outlet {
    struct task     *task; /* borrowed */
    struct checksum *sum;  /* NULL while all lies in the room */
    uint64_t         len;
};

void outlet_open(struct outlet *o, struct task *task);

/* Adds bytes. ERR_RESULT_LARGE, ERR_DISK_FULL, ERR_IO, in task->why too; no more is written then. */
enum err outlet_write(struct outlet *o, const void *bytes, size_t len) MUST_CHECK;

/* The result is whole: the task says where it lies, and of which type it is ("": the kind's own; shorter than
 * RESULT_TYPE_BYTES). */
void outlet_close(struct outlet *o, const char *type);

/* Instead of outlet_close, when the task fails. */
void outlet_drop(struct outlet *o);

#endif
