/* SPDX-License-Identifier: Apache-2.0 */
/* map_report.h - OUTPUT/report.html: one page that needs nothing but itself.
 *
 * Summary, parameters, failures, what each worker did when, and some pictures
 * before and after. Its size is bounded whatever the number of files.
 */
#ifndef MILLRACE_CLI_MAP_REPORT_H
#define MILLRACE_CLI_MAP_REPORT_H

#include "cli/http.h"
#include "cli/map_plan.h"
#include "cli/map_state.h"
#include "cli/map_summary.h"

struct report_config {
    struct http          *http; /* for thumbnails; NULL: the gateway is not asked */
    const struct state   *state;
    const struct plan    *plan;
    const struct summary *summary;
};

/* Writes it, atomically; *path is owned: where it is. */
enum err report_write(const struct report_config *config, char **path, struct fault *why) MUST_CHECK;

#endif
