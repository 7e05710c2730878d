/* SPDX-License-Identifier: Apache-2.0 */
/* map_timeline.c - see the header. */
#include "cli/map_timeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/map_html.h"

#define ROW_HEIGHT 34
#define BAND_HEIGHT 24.0
#define LABEL_WIDTH 190

void timeline_init(struct timeline *t, int64_t from_ms, int64_t to_ms)
{
    *t = (struct timeline){.from_ms = from_ms, .to_ms = to_ms > from_ms ? to_ms : from_ms + 1};
}

void timeline_free(struct timeline *t)
{
    free(t->rows);
    t->rows = NULL;
}

static struct timeline_row *row_of(struct timeline *t, const char *worker)
{
    for (size_t i = 0; i < t->count; i++)
        if (!strcmp(t->rows[i].worker, worker))
            return &t->rows[i];
    if (t->count == TIMELINE_ROWS) {
        strcpy(t->rows[t->count - 1].worker, "all others");
        return &t->rows[t->count - 1];
    }
    t->rows = xrealloc(t->rows, (t->count + 1) * sizeof *t->rows);
    memset(&t->rows[t->count], 0, sizeof *t->rows);
    snprintf(t->rows[t->count].worker, sizeof t->rows->worker, "%s", worker);
    return &t->rows[t->count++];
}

void timeline_add(struct timeline *t, const char *worker, int64_t started_ms, int64_t run_us)
{
    struct timeline_row *row = row_of(t, worker);
    double               width = (double)(t->to_ms - t->from_ms) / TIMELINE_COLUMNS; /* of a column, ms */
    double               from = (double)(started_ms - t->from_ms) / width, to = from + (double)run_us / 1e3 / width;

    row->files++;
    row->busy_s += (double)run_us / 1e6;
    from = from > 0 ? from : 0;
    to = to < TIMELINE_COLUMNS ? to : TIMELINE_COLUMNS;
    for (int i = (int)from; i < to; i++) {
        double left = from > i ? from : i, right = to < i + 1 ? to : i + 1;

        row->running[i] += (float)(right - left);
    }
}

/* A band whose height is the number of running jobs, of most at most. */
static void draw_band(const struct timeline_row *row, double most, double y, struct buf *out)
{
    buf_printf(out, "<path class=\"band\" d=\"M%d %.1f", LABEL_WIDTH, y + BAND_HEIGHT);
    for (int i = 0; i < TIMELINE_COLUMNS; i++)
        if (!i || row->running[i] != row->running[i - 1])
            buf_printf(out, "H%dV%.1f", LABEL_WIDTH + i, y + BAND_HEIGHT * (1 - row->running[i] / most));
    buf_printf(out, "H%dV%.1fZ\"/>", LABEL_WIDTH + TIMELINE_COLUMNS, y + BAND_HEIGHT);
}

void timeline_draw(const struct timeline *t, struct buf *out)
{
    double most = 1;

    for (size_t i = 0; i < t->count; i++)
        for (int k = 0; k < TIMELINE_COLUMNS; k++)
            most = t->rows[i].running[k] > most ? t->rows[i].running[k] : most;
    buf_printf(out, "<svg viewBox=\"0 0 %d %zu\" role=\"img\" aria-label=\"running jobs of each worker over time\">\n",
               LABEL_WIDTH + TIMELINE_COLUMNS + 10, t->count * ROW_HEIGHT + 22);
    for (size_t i = 0; i < t->count; i++) {
        double y = (double)i * ROW_HEIGHT + 4;

        buf_printf(out, "<text x=\"0\" y=\"%.0f\">", y + 11);
        html_text(out, t->rows[i].worker);
        buf_printf(out, "</text><text class=\"small\" x=\"0\" y=\"%.0f\">%zu files, ", y + 23, t->rows[i].files);
        html_seconds(out, t->rows[i].busy_s);
        buf_text(out, "</text>");
        draw_band(&t->rows[i], most, y, out);
        buf_text(out, "\n");
    }
    buf_printf(out,
               "<text class=\"small\" x=\"%d\" y=\"%zu\">0 s</text><text class=\"small\" text-anchor=\"end\" "
               "x=\"%d\" y=\"%zu\">",
               LABEL_WIDTH, t->count * ROW_HEIGHT + 16, LABEL_WIDTH + TIMELINE_COLUMNS, t->count * ROW_HEIGHT + 16);
    html_seconds(out, (double)(t->to_ms - t->from_ms) / 1e3);
    buf_text(out, "</text></svg>\n");
}
