/* SPDX-License-Identifier: Apache-2.0 */
/* map_names.h - what the output of each file is called.
 *
 * The same relative name where the result is of the same type; else the name
 * with the extension of the result's type: plants/oak.jpg -> plants/oak.webp.
 * Before any result is known, each file has a base that no other file has:
 *
 *   oak.jpg alone             base "oak"
 *   oak.jpg beside oak.png    bases "oak.jpg" and "oak.png": oak.jpg.webp, oak.png.webp
 *
 * so two files never have one output, in whatever order results arrive. The
 * names follow from the dataset alone.
 */
#ifndef MILLRACE_CLI_MAP_NAMES_H
#define MILLRACE_CLI_MAP_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/map_plan.h"

/* Gives bases to the files from index `from` on; those before have theirs, and keep them. The plan is whole. */
void names_assign(struct plan *p, size_t from);

/* Appends the output's name, with its NUL not counted in len. base: NULL for the stem. type: the result's content
 * type, parameters and all; one that is not known, or is application/octet-stream, leaves the name as it is. */
void names_output(const char *name, const char *base, const char *type, struct buf *out);

/* The content type of files with this extension, of len bytes without its dot; "": it is not known. */
const char *names_type_of(const char *extension, size_t len);

/* Whether a file of this name may be a picture. */
bool names_is_image(const char *name);

#endif
