/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - one job as the store knows it. docs/protocol.md lists the fields. */
#ifndef MILLRACE_RECORD_H
#define MILLRACE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/job.h"
#include "common/msg.h"

/* Times are wall ms, 0 while they have not come. Strings are NUL-terminated,
 * "" where absent; the pointers are borrowed from the reply they came with. */
struct record {
    char           id[JOB_ID_BYTES];
    char           kind[KIND_BYTES];
    enum job_state state;
    int64_t        fence;
    int64_t        attempt, max_attempts, errors, losses;
    int64_t        created_ms, queued_ms, started_ms, finished_ms;
    int64_t        next_attempt_ms, deadline_ms;
    double         progress; /* 0 to 1 */
    const char    *worker;   /* owner of the last claim */
    const char    *error_code, *error_detail;
    const char    *content_type; /* of the result */
    int64_t        result_bytes; /* -1: no result */
    const char    *result_blob; /* name of the blob that is the result; "" when it is in the store, or in the members */
    const char    *verified;    /* JSON of the check it stood; "" without */
    char           parent[JOB_ID_BYTES];        /* of a group's member, else "" */
    int64_t        member;                      /* its number */
    int64_t        members_total, members_done; /* of a group's parent, else 0 */
    char           set[JOB_ID_BYTES];           /* the group of a client's jobs that it belongs to, else "" */
    const char    *layout;                      /* how their results make one, kinds/kind.h; "" without */
    bool           has_input;                   /* the input is kept, a retry is possible */
};

#endif
