/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.h - numbers for Prometheus. Each metric is a row of metrics.def; its
 * series are made when first touched and live as long as the process. */
#ifndef MILLRACE_METRICS_H
#define MILLRACE_METRICS_H

#include <stdint.h>

#include "common/buf.h"

enum metric {
#define METRIC(id, kind, name, sentence) METRIC_##id,
#include "common/metrics.def"
#undef METRIC
    METRIC_COUNT
};

struct metrics;
struct series; /* one metric with one set of labels */

/* Upper bounds in seconds of every histogram, METRICS_BUCKETS of them; the
 * last bucket beyond is +Inf. */
#define METRICS_BUCKETS 15
extern const double metrics_bounds[METRICS_BUCKETS];

struct metrics *metrics_new(void);
void            metrics_free(struct metrics *m); /* accepts NULL */

/* The series with these labels, written as Prometheus writes them:
 * `route="/jobs",code="202"`, "" for none. Keep the pointer on hot paths. */
struct series *metrics_series(struct metrics *m, enum metric id, const char *labels);

void series_add(struct series *s, double amount);      /* counter */
void series_set(struct series *s, double value);       /* gauge, or a counter kept elsewhere */
void series_observe(struct series *s, double seconds); /* histogram */

/* Replaces a histogram's contents by sums kept elsewhere: buckets[i] counts the
 * samples in bucket i alone (not cumulated), METRICS_BUCKETS + 1 of them. */
void series_replace(struct series *s, const double *buckets, double sum);

/* Appends everything in the Prometheus text format 0.0.4. */
void metrics_render(const struct metrics *m, struct buf *out);

#endif
