/* SPDX-License-Identifier: Apache-2.0 */
/* map_halt.h - after how many failures a run gives up: --halt as GNU parallel has it.
 *
 *   never          the default
 *   soon,fail=N    nothing new is begun after N failures; what runs may end
 *   now,fail=N     what runs is cancelled, too
 *   ..,fail=P%     when P percent of the files that ended have failed, and at least three
 */
#ifndef MILLRACE_CLI_MAP_HALT_H
#define MILLRACE_CLI_MAP_HALT_H

#include <stdbool.h>
#include <stddef.h>

enum halt_when { HALT_NEVER, HALT_SOON, HALT_NOW };

struct halt {
    enum halt_when when;
    bool           is_percent;
    unsigned       limit;
};

/* False: text is no such rule. */
bool halt_parse(const char *text, struct halt *out);

/* failed of the ended files failed, in this run. */
bool halt_is_due(const struct halt *h, size_t failed, size_t ended);

#endif
