/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the settings of a daemon, from the environment alone.
 *
 * Each is a row of settings.def. Read once at start; a MILLRACE_* name that no
 * row has, or a value outside its row, is refused with a sentence that says
 * what would be taken.
 */
#ifndef MILLRACE_CONFIG_H
#define MILLRACE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

enum program { PROGRAM_API = 1, PROGRAM_WORKER = 2, PROGRAM_BOTH = 3, PROGRAM_CLIENT = 4 };

typedef int64_t     setting_INT;
typedef int64_t     setting_BYTES;
typedef bool        setting_BOOL;
typedef int         setting_CHOICE; /* index into the row's words */
typedef const char *setting_TEXT;   /* borrowed from the environment or a literal */

struct settings {
#define SETTING(who, field, type, name, min, max, def, unit, sentence) setting_##type field;
#include "common/settings.def"
#undef SETTING
};

enum { QUEUE_TYPE_QUORUM, QUEUE_TYPE_CLASSIC };

/* Reads environ into out. Names of the other daemon's rows are accepted, since
 * a fleet shares its environment. why names the variable, the value and what
 * would be taken. */
enum err config_load(struct settings *out, struct fault *why) MUST_CHECK;

/* Handles --help and --version (both print to stdout) and refuses any other
 * argument but those in extra ("--once"), a NULL-terminated list with a
 * sentence behind each name. Returns -1 to go on, or the exit status. found:
 * bit i is set when extra[2 * i] was given. */
int config_arguments(int argc, char **argv, enum program who, const char *purpose, const char *const *extra,
                     unsigned *found);

/* Logs each setting of who once, passwords in URLs hidden. */
void config_log(const struct settings *s, enum program who);

/* Prints the rows as a Markdown table: docs/settings.md is made of it. */
void config_print_markdown(void);

#endif
