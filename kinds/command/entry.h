/* SPDX-License-Identifier: Apache-2.0 */
/* entry.h - one command of the operator's file: from JSON to struct command. */
#ifndef MILLRACE_COMMAND_ENTRY_H
#define MILLRACE_COMMAND_ENTRY_H

#include <jansson.h>

#include "kinds/command/list.h"

/* Reads the entry into *out, which is zeroed, and checks all of it. path: of the file, for the sentence. In either case
 * entry_free is owed. ERR_CONFIG. */
enum err entry_read(const char *path, const char *name, const json_t *entry, struct command *out,
                    struct fault *why) MUST_CHECK;

/* Frees what is inside. */
void entry_free(struct command *c);

#endif
