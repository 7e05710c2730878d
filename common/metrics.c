/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c - a list of series per metric; a new series is rare, a lookup by
 * label walks the few that one metric has. */
#include "common/metrics.h"

#include <stdlib.h>
#include <string.h>

enum metric_kind { COUNTER, GAUGE, HISTOGRAM };

static const struct {
    enum metric_kind kind;
    const char      *name, *sentence;
} rows[METRIC_COUNT] = {
#define METRIC(id, kind, name, sentence) {kind, name, sentence},
#include "common/metrics.def"
#undef METRIC
};

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

const double metrics_bounds[METRICS_BUCKETS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,   0.5,   1,      5,     30,   300,   3600};

struct series {
    struct series *next;
    char          *labels;
    double         value;   /* counter, gauge, or a histogram's sum */
    double        *buckets; /* histogram: METRICS_BUCKETS + 1, not cumulated */
};

struct metrics {
    struct series *first[METRIC_COUNT];
};

struct metrics *metrics_new(void) { return xcalloc(1, sizeof(struct metrics)); }

void metrics_free(struct metrics *m)
{
    for (int i = 0; m && i < METRIC_COUNT; i++)
        while (m->first[i]) {
            struct series *s = m->first[i];

            m->first[i] = s->next;
            free(s->labels);
            free(s->buckets);
            free(s);
        }
    free(m);
}

struct series *metrics_series(struct metrics *m, enum metric id, const char *labels)
{
    struct series **at = &m->first[id];

    while (*at && strcmp((*at)->labels, labels) != 0)
        at = &(*at)->next;
    if (!*at) {
        *at = xcalloc(1, sizeof **at);
        (*at)->labels = xstrdup(labels);
        if (rows[id].kind == HISTOGRAM)
            (*at)->buckets = xcalloc(METRICS_BUCKETS + 1, sizeof(double));
    }
    return *at;
}

void series_add(struct series *s, double amount) { s->value += amount; }
void series_set(struct series *s, double value) { s->value = value; }

void series_observe(struct series *s, double seconds)
{
    int i = 0;

    while (i < METRICS_BUCKETS && seconds > metrics_bounds[i])
        i++;
    s->buckets[i] += 1;
    s->value += seconds;
}

void series_replace(struct series *s, const double *buckets, double sum)
{
    memcpy(s->buckets, buckets, (METRICS_BUCKETS + 1) * sizeof *buckets);
    s->value = sum;
}

static void render_plain(const char *name, const struct series *s, struct buf *out)
{
    if (*s->labels)
        buf_printf(out, "%s{%s} %.17g\n", name, s->labels, s->value);
    else
        buf_printf(out, "%s %.17g\n", name, s->value);
}

static void render_histogram(const char *name, const struct series *s, struct buf *out)
{
    const char *comma = *s->labels ? "," : "";
    const char *open = *s->labels ? "{" : "", *close = *s->labels ? "}" : "";
    double      total = 0;

    for (int i = 0; i <= METRICS_BUCKETS; i++) {
        total += s->buckets[i];
        if (i < METRICS_BUCKETS)
            buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %.17g\n", name, s->labels, comma, metrics_bounds[i], total);
        else
            buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %.17g\n", name, s->labels, comma, total);
    }
    buf_printf(out, "%s_sum%s%s%s %.17g\n", name, open, s->labels, close, s->value);
    buf_printf(out, "%s_count%s%s%s %.17g\n", name, open, s->labels, close, total);
}

void metrics_render(const struct metrics *m, struct buf *out)
{
    for (int i = 0; i < METRIC_COUNT; i++) {
        if (!m->first[i])
            continue;
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].sentence, rows[i].name,
                   kind_names[rows[i].kind]);
        for (const struct series *s = m->first[i]; s; s = s->next) {
            if (rows[i].kind == HISTOGRAM)
                render_histogram(rows[i].name, s, out);
            else
                render_plain(rows[i].name, s, out);
        }
    }
}
