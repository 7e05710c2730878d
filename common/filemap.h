/* SPDX-License-Identifier: Apache-2.0 */
/* filemap.h - a range of a file as memory, read only, wherever it begins.
 *
 * Pages can only be mapped whole: this hides the ones around the range.
 */
#ifndef MILLRACE_FILEMAP_H
#define MILLRACE_FILEMAP_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct filemap {
    const void *bytes; /* the first byte of the range; of no alignment but what offset gives. Never NULL */
    size_t      len;
    void       *pages; /* NULL while nothing is mapped */
    size_t      pages_len;
};

/* Maps len bytes from offset on and has them read ahead. The range must lie within the file, and the file must
 * not shrink: touching what is not there ends the process. fd is borrowed and may be closed while the map lives.
 * No call but mmap and madvise is made, so that it works in the executor's jail. ERR_MEMORY, ERR_IO. */
enum err filemap_open(int fd, uint64_t offset, uint64_t len, struct filemap *m, struct fault *why) MUST_CHECK;

/* Accepts NULL, and a zeroed struct; m is zeroed then. */
void filemap_close(struct filemap *m);

#endif
