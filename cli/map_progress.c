/* SPDX-License-Identifier: Apache-2.0 */
/* map_progress.c - see the header. */
#include "cli/map_progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/text.h"

#define BAR_EVERY_MS 200
#define LINE_EVERY_MS 10000
#define MARK_EVERY_MS 1000
#define BAR_WIDTH_MAX 40
#define TEXT_WIDTH 56 /* behind the bar */

void progress_init(struct progress *p, bool is_terminal, size_t all, size_t done, size_t failed, int64_t now)
{
    *p = (struct progress){.is_terminal = is_terminal, .all = all, .done = done, .failed = failed};
    p->before = done + failed;
    p->shown_ms = now;
    p->marks[0] = (struct progress_mark){now, p->before};
    p->mark_count = 1;
}

void progress_ended(struct progress *p, bool is_done)
{
    if (is_done)
        p->done++;
    else
        p->failed++;
}

double progress_rate(const struct progress *p, int64_t now)
{
    int                         kept = p->mark_count < PROGRESS_MARKS ? p->mark_count : PROGRESS_MARKS;
    const struct progress_mark *oldest = &p->marks[(p->mark_count - kept) % PROGRESS_MARKS];
    int64_t                     passed = now - oldest->at_ms;

    return passed > 0 ? (double)(p->done + p->failed - oldest->ended) * 1000 / (double)passed : 0;
}

static void put_time(struct buf *out, double seconds)
{
    if (seconds < 100)
        buf_printf(out, "%.0f s", seconds);
    else if (seconds < 6000)
        buf_printf(out, "%.0f min", seconds / 60);
    else
        buf_printf(out, "%.1f h", seconds / 3600);
}

void progress_text(const struct progress *p, int64_t now, int columns, struct buf *out)
{
    size_t ended = p->done + p->failed, from = out->len;
    double rate = progress_rate(p, now);
    int    width = columns - TEXT_WIDTH;

    if (width >= 8) {
        width = width < BAR_WIDTH_MAX ? width : BAR_WIDTH_MAX;
        buf_text(out, "[");
        for (int i = 0; i < width; i++)
            buf_text(out, p->all && (size_t)i * p->all < ended * (size_t)width ? "#" : ".");
        buf_text(out, "] ");
    }
    buf_printf(out, "%zu of %zu", ended, p->all);
    if (p->failed)
        buf_printf(out, ", %zu failed", p->failed);
    buf_printf(out, rate < 100 ? ", %.1f/s" : ", %.0f/s", rate);
    if (rate > 0 && ended < p->all) {
        buf_text(out, ", ");
        put_time(out, (double)(p->all - ended) / rate);
        buf_text(out, " left");
    }
    if (columns > 0 && out->len - from >= (size_t)columns) /* a second line could not be wiped */
        out->len = from + (size_t)columns - 1;
}

static int terminal_columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

static void wipe(struct progress *p)
{
    if (p->is_bar_up)
        fputs("\r\033[K", stderr);
    p->is_bar_up = false;
}

void progress_show(struct progress *p, int64_t now, bool is_last)
{
    const struct progress_mark *newest = &p->marks[(p->mark_count - 1) % PROGRESS_MARKS];
    struct buf                  text = {0};

    if (now - newest->at_ms >= MARK_EVERY_MS)
        p->marks[p->mark_count++ % PROGRESS_MARKS] = (struct progress_mark){now, p->done + p->failed};
    if (!is_last && now - p->shown_ms < (p->is_terminal ? BAR_EVERY_MS : LINE_EVERY_MS))
        return;
    p->shown_ms = now;
    progress_text(p, now, p->is_terminal ? terminal_columns() : 0, &text);
    wipe(p);
    fprintf(stderr, "%.*s%s", (int)text.len, text.data, p->is_terminal && !is_last ? "" : "\n");
    p->is_bar_up = p->is_terminal && !is_last;
    fflush(stderr);
    buf_free(&text);
}

void progress_say(struct progress *p, const char *fmt, ...)
{
    char    text[4608];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    text_tame(text, strlen(text));
    wipe(p);
    fprintf(stderr, "%s\n", text);
    p->shown_ms = p->is_terminal ? 0 : p->shown_ms; /* the bar comes back at once */
}
