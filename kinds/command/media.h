/* SPDX-License-Identifier: Apache-2.0 */
/* media.h - of which content type a result is that says nothing about itself. */
#ifndef MILLRACE_COMMAND_MEDIA_H
#define MILLRACE_COMMAND_MEDIA_H

#include <stddef.h>

#define MEDIA_HEAD_BYTES 16 /* as many are looked at */

/* By the extension of a file name, in any case of letters; NULL: unknown. Static. */
const char *media_of_name(const char *name);

/* By how it begins (head: its first bytes, as many as there are up to MEDIA_HEAD_BYTES); NULL: unknown. Static. */
const char *media_of_bytes(const void *head, size_t len);

#endif
