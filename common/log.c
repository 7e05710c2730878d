/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - formats on the stack, writes once. */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"

static const char *const level_names[] = {"debug", "info ", "warn ", "error"};

/* Set once by log_open, before threads: the one piece of state at file scope,
 * because a log that must be handed to every function would drown the code. */
static struct {
    const char    *program;
    enum log_level least;
} log_state = {"millrace", LOG_INFO};

void log_open(const char *program, enum log_level least)
{
    log_state.program = program;
    log_state.least = least;
}

bool log_wants(enum log_level level) { return level >= log_state.least; }

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    char    line[2048];
    char    when[WALL_TEXT_BYTES];
    va_list args;
    size_t  len;
    int     n;

    if (!log_wants(level))
        return;
    wall_format(wall_ms(), when);
    n = snprintf(line, sizeof line - 1, "%s %s %s[%d] %s ", when, level_names[level], log_state.program, (int)getpid(),
                 event);
    len = (size_t)n < sizeof line - 1 ? (size_t)n : sizeof line - 2;
    va_start(args, fmt);
    n = vsnprintf(line + len, sizeof line - 1 - len, fmt, args);
    va_end(args);
    if (n > 0)
        len += (size_t)n < sizeof line - 1 - len ? (size_t)n : sizeof line - 2 - len;
    for (size_t i = 0; i < len; i++) /* one event stays one line, whatever a user sent */
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[len++] = '\n';
    if (write(STDERR_FILENO, line, len) < 0) {
        /* nowhere left to say so */
    }
}
