/* SPDX-License-Identifier: Apache-2.0 */
/* programs.h - where the programs that compute are, and which kinds that leaves for this worker. */
#ifndef MILLRACE_PROGRAMS_H
#define MILLRACE_PROGRAMS_H

#include <limits.h>
#include <stdbool.h>

#include "common/config.h"
#include "kinds/kind.h"

struct programs {
    char path[PROGRAM_COUNT][PATH_MAX]; /* as configured, else beside this program */
    bool is_there[PROGRAM_COUNT];       /* and may be run */
};

void programs_find(const struct settings *settings, struct programs *out);

/* Sets is_wanted for the kinds that the setting names: with commas, "" for all. Of all, those are left out whose
 * program is not there, which is logged, and commands where none are listed; one that is named is refused. ERR_CONFIG.
 */
enum err programs_choose_kinds(const struct settings *settings, const struct programs *programs,
                               bool is_wanted[KIND_COUNT], struct fault *why) MUST_CHECK;

#endif
