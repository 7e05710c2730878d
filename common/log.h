/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one event, one line, on standard error.
 *
 *   2026-11-20T22:49:00.123Z info  api[4711] job-accepted job=0193... kind=hash
 *
 * An event is a word with dashes; what follows is key=value, units in the key.
 */
#ifndef MILLRACE_LOG_H
#define MILLRACE_LOG_H

#include <stdbool.h>

#include "common/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* program: static name for the prefix. Lines below least are not written.
 * To be called once, before any other thread runs. */
void log_open(const char *program, enum log_level least);

/* Whether lines of this level are written: for a caller on the hot path. */
bool log_wants(enum log_level level);

/* fmt: the key=value part, may be "". Thread-safe: one write(2) per line. */
void log_event(enum log_level level, const char *event, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
