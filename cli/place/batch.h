/* SPDX-License-Identifier: Apache-2.0 */
/* batch.h - the jobs that are to be placed, as their file lists them; docs/place.md has the format.
 *
 * Whatever the file says is checked here, to the last member: what is rendered
 * from a batch is taken by a cluster.
 */
#ifndef MILLRACE_CLI_PLACE_BATCH_H
#define MILLRACE_CLI_PLACE_BATCH_H

#include <jansson.h>

#include "cli/place/cluster.h"

#define BATCH_JOBS_MAX 10000
#define BATCH_PODS_MAX 100000 /* of all jobs, at a time */
#define BATCH_COUNT_MAX 1000000000

/* A job of a batch; all but the amounts is borrowed from the batch's document. */
struct task {
    const char   *name, *image;
    const json_t *doc;         /* the object in the file */
    struct amount need;        /* of one pod; need.pods is 1 */
    int64_t       completions; /* pods that are to succeed */
    int64_t       parallelism; /* pods at a time */
};

struct batch {
    json_t       *doc;   /* owned */
    struct task  *tasks; /* the largest first: what is large finds a place most easily while all is free */
    size_t        count;
    int64_t       pods;         /* of all at a time */
    struct amount total;        /* of those */
    double        ratio;        /* cores over bytes times 4e9: 1 is a core for every 4 GB */
    bool          is_cpu_bound; /* ratio >= 1: CPU decides, else memory */
};

/* Takes doc, also when it is refused with a sentence. batch_free ends the batch in any case. */
enum err batch_read(json_t *doc, struct batch *out, struct fault *why) MUST_CHECK;
void     batch_free(struct batch *b);

/* Up to 63 of a-z, 0-9 and -, neither first nor last a dash: what names a job, or a namespace. */
bool is_dns_label(const char *text);

#endif
