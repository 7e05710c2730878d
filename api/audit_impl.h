/* SPDX-License-Identifier: Apache-2.0 */
/* audit_impl.h - one audit, for audit.c, which makes it, and audit_json.c, which tells it. */
#ifndef MILLRACE_AUDIT_IMPL_H
#define MILLRACE_AUDIT_IMPL_H

#include <jansson.h>

#include "api/findings.h"
#include "api/gateway.h"

struct asker {
    struct asker   *next;
    struct request *request;
};

/* The sums that stand beside a set, in the order in which they are walked. */
enum { SUM_OUTBOX, SUM_KEPT, SUM_COUNT };
extern const char *const audit_sums[SUM_COUNT]; /* their names */

struct audits {
    struct gateway *gw;
    struct series  *ok, *wrong;        /* audits made, by what they found */
    struct asker   *running, *waiting; /* owned */
    uv_timer_t      timer;
    bool            is_busy, is_stopped;

    /* of the one that runs */
    struct findings found;
    struct balance  balance; /* of the last look */
    int64_t         missing; /* least of all looks */
    json_t         *before;  /* owned: the counters of the last look, before the messages were counted .. */
    json_t         *books;   /* .. and behind that */
    bool            has_broker;
    int64_t         consumers[KIND_COUNT];
    int64_t         outboxed[KIND_COUNT], owned[KIND_COUNT]; /* as the walk met them */
    int64_t         epoch;
    int             round, restarts;
    int             part;       /* kind, or sum, being walked */
    size_t          at;         /* finding to look at next */
    char            cursor[32]; /* of the walk; "0": at its begin, or end */
    int64_t         bytes, sum_first;
    int             tries;
    bool            is_moving[SUM_COUNT];
};

/* A number of a JSON object, 0 without; the counters of a kind. */
int64_t       audit_number(const json_t *object, const char *name);
const json_t *audit_kind(const json_t *books, int kind);

/* Appends what the audit found; false: something is wrong. */
bool audit_to_json(const struct audits *a, struct buf *out);

#endif
