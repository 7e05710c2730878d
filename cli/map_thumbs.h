/* SPDX-License-Identifier: Apache-2.0 */
/* map_thumbs.h - small pictures of some files, before and after, for the report.
 *
 * They are made by the fleet itself, as image jobs; a picture for which it has
 * no answer within some seconds goes as it is if it is small, else not at all.
 */
#ifndef MILLRACE_CLI_MAP_THUMBS_H
#define MILLRACE_CLI_MAP_THUMBS_H

#include "cli/http.h"

#define THUMBS_MAX 12 /* pairs */

struct thumb {
    char      *file;  /* owned: its path */
    struct buf image; /* owned: a data URI with its NUL; empty: there is none */
};

/* Fills the images of all of them. http NULL: the fleet is not asked. */
void thumbs_make(struct http *http, struct thumb *thumbs, size_t count);

#endif
