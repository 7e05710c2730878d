/* SPDX-License-Identifier: Apache-2.0 */
/* gateway.h - what the parts of millrace-api share, and who answers what. */
#ifndef MILLRACE_GATEWAY_H
#define MILLRACE_GATEWAY_H

#include <stdbool.h>
#include <uv.h>

#include "api/http.h"
#include "common/broker/broker.h"
#include "common/config.h"
#include "common/metrics.h"
#include "common/store/store.h"
#include "kinds/kind.h"

struct blob_store;
struct longpolls; /* longpoll.c: requests that wait for the end of a job, or in a group */
struct relay;     /* relay.c: outbox to broker */
struct depths;    /* stats.c: queue lengths as the broker tells them */
struct spill;     /* spill.c: what requests write into blobs */
struct audits;    /* audit.c: who waits for one */
struct sweep;     /* sweep.c: removes blobs that nobody needs */

struct gateway {
    uv_loop_t         *loop;
    struct settings    settings;
    struct limits      limits;   /* of inputs, from the settings */
    struct commands   *commands; /* owned; NULL: none are listed */
    struct metrics    *metrics;
    struct store      *store;
    struct store      *replica; /* NULL without MILLRACE_REDIS_READ_URL */
    struct broker     *broker;
    struct blob_store *blobs; /* NULL without a directory for them */
    struct http       *http;
    struct http       *metrics_http; /* NULL without a port of its own */
    struct auth       *auth;         /* NULL without keys */
    struct longpolls  *longpolls;
    struct relay      *relay;
    struct depths     *depths;
    struct audits     *audits;
    struct sweep      *sweep; /* NULL without blobs */
    struct spill      *spills;
    int                writers; /* of blobs, in all spills */
    int                aheads;  /* bodies that the pool reads */
    bool               is_stopping;
    int                streams_max; /* long answers at one time, as the limit of descriptors allows */
    int                extra_files; /* descriptors of results beyond one for each reader, pieces.h */
    int                submits;     /* under way, and uploads: an end waits for them */
    struct series     *accepted[KIND_COUNT];
    struct series     *held[KIND_COUNT];
    struct series     *replica_reads[2]; /* asked again, given; NULL without a replica */
    struct series     *confirm_seconds;
};

extern const struct route gateway_routes[];
extern const struct route metrics_routes[]; /* of the metrics port */

/* Handlers, by the file that holds them. */
extern const struct handler submit_handler;                                                  /* submit.c */
extern const struct handler blob_put_handler, blob_get_handler, blob_delete_handler;         /* blobs.c */
extern const struct handler blob_list_handler;                                               /* blobs.c */
extern const struct handler job_get_handler, job_cancel_handler, job_retry_handler;          /* jobs.c */
extern const struct handler group_post_handler, group_get_handler, group_ends_handler;       /* groups.c */
extern const struct handler group_close_handler, group_delete_handler;                       /* groups.c */
extern const struct handler job_list_handler;                                                /* list.c */
extern const struct handler result_handler;                                                  /* result.c */
extern const struct handler pull_handler;                                                    /* pull.c */
extern const struct handler dead_list_handler, dead_replay_handler;                          /* dead.c */
extern const struct handler audit_handler;                                                   /* audit.c */
extern const struct handler stats_handler, metrics_handler, healthz_handler, readyz_handler; /* stats.c */

/* record_json.c: appends the record as clients see it. */
void record_to_json(const struct record *record, struct buf *out);

/* The same of several, as an array; one that has expired: {"id","state":"expired"}. */
void records_to_json(const struct record *records, size_t count, struct buf *out);

/* jobs.c: answers the request with the record, or with what the store said instead. */
void answer_record(struct request *r, int status, const struct record *record);
void answer_store_trouble(struct request *r, enum store_answer answer);

/* jobs.c: the id in the path, or NULL after a 404 was given; whether the job of a reply has ended. */
const char *request_job_id(struct request *r);
bool        job_has_ended(const struct store_reply *reply);
void        answer_no_job(struct request *r, const char *id);

/* reads.c: the record of a job, and its result where wanted: for a call that does not wait of the replica where that is
 * enough, else of the store. watch: as store_get has it. */
void read_job(struct request *r, const char *id, bool watch, bool with_result, store_fn *fn, void *ctx);

/* longpoll.c: a call about a job or a group that may wait for something to happen. ask asks the store, which is to tell
 * of the next event of this id where watch is set; is_over: whether there is nothing to wait for. Once, answer is
 * called with a reply that is OK, or answer_gone. To be started from a handler's end, with longpoll_gone as its gone.
 */
struct longpoll {
    int  linger_ms;    /* after an event: more may be about to come */
    bool wants_result; /* of a job that has completed */
    void (*ask)(struct request *r, const char *id, bool watch, store_fn *fn, void *ctx);
    bool (*is_over)(const struct store_reply *reply);
    void (*answer)(struct request *r, const struct store_reply *reply);
    void (*answer_gone)(struct request *r, const char *id);
};
void              longpoll_start(struct request *r, const char *id, const struct longpoll *poll);
void              longpoll_gone(struct request *r);
struct longpolls *longpolls_new(struct gateway *gw);
void              longpolls_free(struct longpolls *set);   /* accepts NULL */
void              longpolls_finish(struct longpolls *set); /* the gateway stops: all are answered */
/* Something happened: the job has ended, with this reply; NULL: who waits has to ask. id NULL: everyone looks again. */
void longpolls_ended(struct longpolls *set, const char *id, const struct store_reply *reply);

/* relay.c */
struct relay *relay_new(struct gateway *gw);
void          relay_stop(struct relay *r); /* no more rounds; accepts NULL */
void          relay_kick(struct relay *r); /* there is something in the outbox, or the broker is back */

/* audit.c */
struct audits *audits_new(struct gateway *gw);
void           audits_stop(struct audits *a); /* all who wait are answered, the store calls nobody back; accepts NULL */

/* sweep.c */
struct sweep *sweep_new(struct gateway *gw);
void          sweep_stop(struct sweep *s); /* accepts NULL */

/* stats.c */
struct depths *depths_new(struct gateway *gw);
void           depths_free(struct depths *d);
void           depths_arrived(struct depths *d, const int64_t *ready);

#endif
