/* SPDX-License-Identifier: Apache-2.0 */
/* tar.h - the frame of an archive in GNU's form of tar, which takes names of
 * any bytes and any length and files of any size.
 *
 * Source: "Basic Tar Format" and "GNU Extensions to the Archive Format" of the
 * GNU tar manual. The library for it would bring an XML reader and 36 MB of
 * Unicode tables into each worker, for formats that nobody writes here.
 */
#ifndef MILLRACE_KINDS_COMMAND_TAR_H
#define MILLRACE_KINDS_COMMAND_TAR_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Takes the next bytes of the archive. */
typedef enum err tar_put_fn(void *ctx, const void *bytes, size_t len);

/* What stands in front of a file: its path, its size, and of the rest always the same (mode 0644, owner 0, 1970), so
 * that the same files make the same archive. Errors are those of put. */
enum err tar_begin_file(const char *path, uint64_t size, tar_put_fn *put, void *ctx) MUST_CHECK;

/* What stands behind its bytes. */
enum err tar_end_file(uint64_t size, tar_put_fn *put, void *ctx) MUST_CHECK;

/* What stands behind the last file. */
enum err tar_end(tar_put_fn *put, void *ctx) MUST_CHECK;

#endif
