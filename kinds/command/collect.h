/* SPDX-License-Identifier: Apache-2.0 */
/* collect.h - what a program made, as the result of its job: what it wrote to standard output, the one file of its
 * output folder, or several files as a tar archive that depends on nothing but their names and bytes.
 *
 *   collect_open -> collect_write* or collect_folder -> collect_close
 *
 * Only plain files count. A link, a pipe or a device in the output folder fails the job: it could lead to what is not
 * the client's.
 */
#ifndef MILLRACE_COMMAND_COLLECT_H
#define MILLRACE_COMMAND_COLLECT_H

#include "kinds/command/media.h"
#include "kinds/raw.h"

struct collect {
    struct outlet outlet;
    char          head[MEDIA_HEAD_BYTES]; /* the first bytes of the result */
    const char   *type;                   /* as its name or form says; NULL: nothing does */
};

void collect_open(struct collect *c, struct task *task);

/* Adds bytes. Errors as outlet_write. */
enum err collect_write(struct collect *c, const void *bytes, size_t len) MUST_CHECK;

/* Takes the files of the folder, which nobody may write to any more; folder is borrowed. ERR_COMMAND where there is
 * none, or something else than files and folders. */
enum err collect_folder(struct collect *c, int folder) MUST_CHECK;

/* The result is whole. type: what the operator says it is, "": found out. */
void collect_close(struct collect *c, const char *type);

/* Instead of collect_close, when the job fails. */
void collect_drop(struct collect *c);

#endif
