/* SPDX-License-Identifier: Apache-2.0 */
/* map_record.h - what a run reads of a job's record. */
#ifndef MILLRACE_CLI_MAP_RECORD_H
#define MILLRACE_CLI_MAP_RECORD_H

#include <jansson.h>
#include <stdint.h>

#include "common/err.h"

#define RECORD_ID_BYTES 40

enum record_state {
    RECORD_LIVE, /* it waits or runs */
    RECORD_COMPLETED,
    RECORD_FAILED,
    RECORD_CANCELLED,
    RECORD_GONE, /* expired: nothing is known of it any more */
    RECORD_NONE, /* this is no record */
};

struct record {
    char              id[RECORD_ID_BYTES];
    enum record_state state;
    int64_t           started_ms; /* wall; 0: it never ran */
    int64_t           run_us;
    char              worker[96];                           /* "" unless it ran */
    char              code[32], detail[FAULT_DETAIL_BYTES]; /* of a failure */
};

/* doc: as GET /jobs/ID gives it, or an answer of 202. */
void record_read(const json_t *doc, struct record *out);

/* "2026-11-20T22:49:00.123Z" in ms since 1970; 0: it is no such time. */
int64_t record_time_ms(const char *text);

#endif
