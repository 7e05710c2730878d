/* SPDX-License-Identifier: Apache-2.0 */
/* map_run_impl.h - what map_run.c (the loop), map_slot.c (the way of one file) and map_follow.c (the group) share. */
#ifndef MILLRACE_CLI_MAP_RUN_IMPL_H
#define MILLRACE_CLI_MAP_RUN_IMPL_H

#include "cli/map_batch.h"
#include "cli/map_record.h"
#include "cli/map_run.h"

#define UPLOADS_MAX 32 /* at a time: more gain nothing, and each is a connection */
#define FETCHES_MAX 64 /* under way before the next ends are asked for */
#define ASKS_MAX 32    /* by the clock, at a time: where many are silent for long, all are due at once */
#define JOB_BUCKETS 1024

enum slot_step {
    SLOT_FREE,
    SLOT_TO_SUBMIT,  /* at due_ms */
    SLOT_SUBMITTING, /* transfer */
    SLOT_IN_FLEET,   /* asked for at due_ms */
    SLOT_ASKING,     /* transfer */
    SLOT_TO_FETCH,   /* at due_ms */
    SLOT_FETCHING,   /* transfer */
};

struct slot {
    struct run     *run;
    struct slot    *next; /* of those that are free, or of its bucket by job */
    enum slot_step  step;
    size_t          index;
    struct transfer transfer;
    struct buf      path, temporary; /* the file, and where its result goes */
    char            key[GROUP_BYTES + 32];
    struct record   record;   /* its id from the submit on, the rest from the end on */
    uint64_t        position; /* in the group's ends, at which this one's end was read */
    uint64_t        stamp;    /* of its submit: they are counted */
    int64_t         due_ms;
    int64_t         pause_ms; /* between questions */
    unsigned        tries;    /* how often something went wrong that may pass */
};

/* An end that came before the answer to its submit. */
struct early {
    struct record record;
    uint64_t      position, stamp;
};

struct run {
    const struct run_config *config;
    struct slot             *slots;
    struct slot             *free;
    struct slot             *by_job[JOB_BUCKETS];
    unsigned                 busy, submitting, asking, fetching;
    size_t                   next_index; /* all below have been begun */
    uint64_t                 stamps;
    struct batch             batch;
    size_t                   ended, failed; /* in this run */
    bool                     has_begun;     /* a job was accepted, or may have been */
    int64_t                  swept_ms;      /* mono: when due_ms of all slots was last looked at */

    /* ---- map_follow.c */
    struct transfer follow;
    bool            is_following, is_in_doubt, was_refused;
    unsigned        doubts;        /* in a row that were not for the group's sake */
    uint64_t        doubted_stamp; /* of the last submit before the last doubt: refusals up to it are no news */
    int64_t         follow_due_ms;
    uint64_t        position; /* the next of the group's ends to read */
    struct early   *early;
    size_t          early_count, early_cap;

    /* ---- why it stops; RUN_ALL: it goes on */
    enum run_end  stop;
    bool          is_abrupt; /* without waiting for what is under way */
    struct fault *why;
};

/* map_run.c */
/* The first reason counts. fmt: why; NULL when run->why says it already. */
void run_stop(struct run *run, enum run_end how, bool is_abrupt, const char *fmt, ...) PRINTF_LIKE(4, 5);
void run_ended(void *ctx, size_t index, const struct ending *end); /* a file: counted, logged */

/* map_slot.c */
void         slot_begin(struct run *run, size_t index);  /* takes a free one */
void         slot_sweep(struct slot *slot, int64_t now); /* does what is due */
void         slot_end(struct slot *slot, const struct record *record, uint64_t position);
void         slot_leave(struct slot *slot); /* free again, whatever it was at; its file is still to be done */
struct slot *slot_of_job(const struct run *run, const char *id); /* NULL: none */

/* map_follow.c */
void follow_group(struct run *run);   /* asks for the next ends, if it is time */
void follow_resolve(struct run *run); /* where the group is in doubt, or there is none: finds out, or makes one */
bool follow_claim(struct run *run, const char *id, struct record *record, uint64_t *position); /* an early end */
void follow_close(struct run *run); /* nothing more will come */
void follow_cancel(struct run *run);
void follow_free(struct run *run);

#endif
