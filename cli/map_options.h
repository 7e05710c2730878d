/* SPDX-License-Identifier: Apache-2.0 */
/* map_options.h - what `millrace map` was told to do. */
#ifndef MILLRACE_CLI_MAP_OPTIONS_H
#define MILLRACE_CLI_MAP_OPTIONS_H

#include "cli/cli.h"
#include "cli/map_halt.h"
#include "cli/map_target.h"

struct map_options {
    const char       *dataset, *output; /* as given; borrowed */
    char             *target;           /* owned; NULL: nothing was said about it */
    struct try_limits limits;
    const char       *joblog; /* NULL: none */
    unsigned          jobs;   /* files under way at a time, at most */
    struct halt       halt;
    int64_t           patience_ms; /* how long the gateway may be away */
    bool              is_dry, resumes, redoes_failed;
};

extern const struct option map_option_rows[];

/* Reads the command line; options_free ends it in any case. ERR_PARAM. */
enum err map_options_read(const struct line *line, struct map_options *out, struct fault *why) MUST_CHECK;
void     map_options_free(struct map_options *o);

#endif
