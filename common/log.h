/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - one event, one line on standard error: a JSON object.
 *
 *   {"time":"2026-11-20T22:49:00.123Z","level":"info","program":"millrace-worker","pid":4711,
 *    "event":"job-completed","job_id":"0193..","kind":"hash","attempt":1,"run_ms":12}      (in one line)
 *
 * What happens is a row of events.def, which gives it a name and a level; the rest are fields, typed, units in their
 * names. Texts may hold any bytes: the line is valid JSON and UTF-8 whatever a user sent, and harmless to a terminal.
 * A line has LOG_LINE_BYTES at most; what does not fit is left out or cut, and `"cut":true` says so: what one looks for
 * comes first, long texts last.
 *
 *   log_event(EVENT_JOB_COMPLETED, LOG_JOB(id, kind, attempt), LOG_INT("run_ms", ms));
 */
#ifndef MILLRACE_LOG_H
#define MILLRACE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

enum log_event {
#define EVENT(id, level, name, sentence) EVENT_##id,
#include "common/events.def"
#undef EVENT
    EVENT_COUNT
};

#define LOG_LINE_BYTES 4096 /* PIPE_BUF: programs that share a pipe do not write into each other's lines */

/* One field, borrowed; made by the macros below. */
struct log_field {
    const char *name; /* lower case with underscores, trusted */
    enum { LOG_FIELD_NONE, LOG_FIELD_INT, LOG_FIELD_TEXT, LOG_FIELD_BYTES } type;
    int64_t     number;
    const char *text;
    size_t      len; /* of BYTES */
};
#define LOG_INT(key, value)                                                                                            \
    {                                                                                                                  \
        .name = (key), .type = LOG_FIELD_INT, .number = (value)                                                        \
    }
#define LOG_INT_IF(is_known, key, value)                                                                               \
    {                                                                                                                  \
        .name = (key), .type = (is_known) ? LOG_FIELD_INT : LOG_FIELD_NONE, .number = (value)                          \
    }
#define LOG_TEXT(key, value)                                                                                           \
    {                                                                                                                  \
        .name = (key), .type = LOG_FIELD_TEXT, .text = (value)                                                         \
    } /* NULL, "": left out */
#define LOG_BYTES(key, value, bytes)                                                                                   \
    {                                                                                                                  \
        .name = (key), .type = LOG_FIELD_BYTES, .text = (value), .len = (bytes)                                        \
    }

/* Whatever is about a job begins with these. attempt 0: none yet. */
#define LOG_JOB(id, kind, attempt)                                                                                     \
    LOG_TEXT("job_id", id), LOG_TEXT("kind", kind), LOG_INT_IF((attempt) > 0, "attempt", attempt)

/* program: static name. Events of a lower level are not written. To be called before any other thread runs. */
void log_open(const char *program, enum log_level least);

/* Whether this event is written: for a caller on the hot path. */
bool log_wants(enum log_event event);

/* Thread-safe: one write(2) per line. The fields are not evaluated when the event is not written. Whoever reads
 * standard error and stops reading holds the program up for a second, once: until there is room again lines are
 * counted, not written, and then log-lines-lost says how many. */
#define log_event(event, ...)                                                                                          \
    (log_wants(event) ? log_write(event, (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})         \
                      : (void)0)
void log_write(enum log_event event, const struct log_field *fields);

/* The line that log_write would write, its newline included: how many bytes of out. fields end with a name of NULL. */
size_t log_format(enum log_event event, const struct log_field *fields, char out[LOG_LINE_BYTES]);

/* Of a row of events.def. Static strings. */
const char *log_event_name(enum log_event event);
const char *log_event_level(enum log_event event);
const char *log_event_sentence(enum log_event event);

#endif
