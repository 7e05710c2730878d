/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the records of all jobs, in Redis, moved by one atomic script each.
 *
 * The guards and answers are those of docs/delivery.md; each call here is one
 * Lua script under common/store/lua of the same name. Asynchronous on the loop
 * (hiredis; nothing else includes it); answers come in the order of the calls.
 *
 * Epoch: on each (re)connect the store reads the server's run_id and runs
 * `boot`; a script that meets another epoch answers so, and then this module
 * boots, replays its redo ring (its own confirmed transitions of the last
 * seconds, in order) and repeats the call, before the caller hears anything.
 *
 * While Redis is away every call answers STORE_DOWN: at once when there is no
 * connection, after 3 s when the server is silent. A call that had been sent may
 * have been applied; all of them may be repeated.
 */
#ifndef MILLRACE_STORE_H
#define MILLRACE_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"
#include "common/msg.h"
#include "common/store/record.h"

struct store; /* one per process */

enum store_answer {
    STORE_OK,
    STORE_EXISTS,    /* create: the idempotency key names another job: reply->record (id, kind, state) */
    STORE_MISMATCH,  /* create: the same key with another digest */
    STORE_GONE,      /* no record, of this epoch: ended and expired, or never made */
    STORE_TERMINAL,  /* claim: ended already; ack the message */
    STORE_RUN,       /* claim: yours: reply->fence, attempt, errors */
    STORE_MINE,      /* claim: this very owner runs this very copy: the same of its claim */
    STORE_LATER,     /* claim: retrying and not due: reply->wait_ms */
    STORE_HELD,      /* claim: another owner, lease over in reply->wait_ms */
    STORE_ASK,       /* claim: ask again after 400 ms with second = true */
    STORE_STALE,     /* renew, finish, fail, drain: another fence holds the job */
    STORE_CANCELLED, /* renew, finish, fail, drain: it was cancelled */
    STORE_RETRYING,  /* fail: will run again; publish to the rung, then ack. split: the message is to come back */
    STORE_FAILED,    /* fail: for good */
    STORE_REFUSED,   /* cancel, retry: not in this state: reply->record */
    STORE_NO_INPUT,  /* retry: the input is no longer kept */
    STORE_NO_GROUP,  /* create: there is no such group */
    STORE_CLOSED,    /* create: the group takes no more members */
    STORE_FULL,      /* Redis is out of memory, or the outbox at its bound */
    STORE_DOWN,      /* no answer; the outcome is unknown */
};

/* Borrowed for the time of the callback. */
struct store_reply {
    enum store_answer       answer;
    int64_t                 epoch;         /* of the store that answered */
    int64_t                 fence;         /* RUN, MINE */
    int64_t                 attempt;       /* RUN, MINE: this run, counted from 1 */
    int64_t                 errors;        /* RUN, MINE: transient errors so far */
    const char             *code, *detail; /* TERMINAL: this very claim ended the job, and why; else NULL */
    int64_t                 wait_ms;       /* LATER, HELD; split's RETRYING */
    bool                    is_other_cut;  /* split's RETRYING: the group is cut in another way than the caller says */
    int64_t                 workers;       /* beat: how many there are */
    const struct record    *record;        /* get, result, cancel, retry, EXISTS, REFUSED; else NULL */
    const struct record    *records;       /* list; set_ends: of those that ended, an expired one has its id alone */
    size_t                  record_count;
    const struct store_set *set;      /* set_make, set_get, set_close; set_ends: its state alone */
    int64_t                 position; /* set_ends: of the last one given; list: of the last one looked at */
    const char             *last_id;  /* list: its id */
    bool                    has_more; /* list: there may be more behind it; overdue: worth to be called again at once */
    const void             *data;     /* result: the bytes; stats: JSON text */
    size_t                  data_len;
    const int64_t          *fences; /* result of a group's parent: by member number, its result's fence */
    size_t                  fence_count;
    struct store_item      *items; /* pull: id + value; outbox_take: id + packed message */
    size_t                  item_count;
};
/* A group of jobs that a client made: "set" in all code, as a group here is a product that falls into tiles. */
struct store_set {
    enum { SET_OPEN, SET_CLOSED, SET_ENDED } state; /* ended: closed, and no member is live */
    const char *name;
    int64_t     created_ms;
    int64_t     accepted;              /* the sum of jobs */
    int64_t     jobs[JOB_STATE_COUNT]; /* by state */
    int64_t     ends;                  /* how often a member ended */
};
struct store_item {
    const char *id; /* NUL-terminated */
    const void *data;
    size_t      len;
};
typedef void store_fn(void *ctx, const struct store_reply *reply);

struct store_events {
    void (*state)(void *ctx, bool is_up); /* true after every boot: it may come again, with a new epoch,
                                             without a false in between. May be NULL */

    /* A watched job became terminal. reply: what store_result would have answered then, but a result in it only if
     * that is short; NULL: ask. May be NULL. */
    void (*ended)(void *ctx, const char *id, const struct store_reply *reply);
    void (*set)(void *ctx, const char *id); /* in a watched set a member ended, or the set has; may be NULL */
    void (*missed)(void *ctx);              /* the subscription was away: look again at what you watch */
    void (*outbox)(void *ctx);              /* a group has put members into the outbox; may be NULL. With neither
                                               this nor ended nothing is subscribed */
};

struct store_config {
    const char *url;          /* redis://[user:password@]host:port/db or unix:///path?db=N, borrowed */
    int64_t     retention_ms; /* TTL of terminal records */
    int64_t     lease_ms;
    int64_t     attempts_max; /* of records that are made here */
    int64_t     losses_max;
    int64_t     kept_max; /* bytes of all inputs that are kept for failed jobs */

    /* The url is that of a replica, for store_read alone. It is up while it follows its primary; it makes no epoch,
     * it tells the one that it has from there. */
    bool is_replica;
};

/* Connects in the background; ERR_CONFIG when the URL cannot be read. */
enum err store_open(uv_loop_t *loop, const struct store_config *config, const struct store_events *events, void *ctx,
                    struct store **out, struct fault *why) MUST_CHECK;

/* Closes; outstanding calls answer STORE_DOWN from inside this call. Accepts NULL. */
void store_close(struct store *s);

bool    store_is_up(const struct store *s);               /* connected and booted */
bool    store_is_late(const struct store *s, int64_t ms); /* it owes an answer for longer than that */
int64_t store_epoch(const struct store *s);               /* 0 before the first boot */

/* ---- gateway ---------------------------------------------------------- */

/* Makes the unconfirmed record of m (id, kind, created, deadline, idempotency,
 * digest, group). OK, EXISTS, MISMATCH, NO_GROUP, CLOSED, FULL, DOWN. OK also when this very id exists
 * unconfirmed already: the blobs of m's refs are tied to it beside those it has. */
void store_create(struct store *s, const struct msg *m, store_fn *fn, void *ctx);

/* After the confirm: counts the job as pending. OK, GONE, DOWN. */
void store_accept(struct store *s, const struct msg *m, store_fn *fn, void *ctx);

/* Instead of a confirm: accepts, and keeps the whole message for the relay.
 * bound: bytes of all outbox entries. OK, GONE, FULL, DOWN. */
void store_outbox(struct store *s, const struct msg *m, int64_t bound, store_fn *fn, void *ctx);

/* Relay: up to count messages to publish, reserved for 10 s; those of ended
 * jobs are dropped on the way. OK with items. */
void store_outbox_take(struct store *s, int count, store_fn *fn, void *ctx);

/* Relay: confirmed; forget the entry. */
void store_outbox_done(struct store *s, const char *id, store_fn *fn, void *ctx);

/* The record; watch: also asks for the ended event when it is not terminal.
 * OK, GONE (also while unconfirmed), DOWN. */
void store_get(struct store *s, const char *id, bool watch, store_fn *fn, void *ctx);

/* The record and, when completed, the result's bytes; watch as above. OK, GONE, DOWN. */
void store_result(struct store *s, const char *id, bool watch, store_fn *fn, void *ctx);

/* Both without watch, of a replica or of the server itself: what was so some time ago, seconds perhaps. An end that it
 * tells is true; that there is no such job, or that it has not ended, is for the primary to say. OK, GONE, DOWN. */
void store_read(struct store *s, const char *id, bool with_result, store_fn *fn, void *ctx);

/* OK with the record as it is now, REFUSED with the record (ended, or member of a group that has not: its parent is
 * what one cancels), GONE, DOWN. */
void store_cancel(struct store *s, const char *id, store_fn *fn, void *ctx);

/* A failed job again: record and outbox entry in one. REFUSED also for a group's member: its parent is what one
 * retries. OK, REFUSED, NO_INPUT, GONE, FULL, DOWN. */
void store_retry(struct store *s, const char *id, store_fn *fn, void *ctx);

/* m comes out of the dead queue and is to be published again. OK: its job had failed and is pending again, and m is
 * kept in the outbox for the case that it is not published: then say store_outbox_done. EXISTS: the job has not
 * ended (no record in reply); GONE: there is no record; REFUSED with the record: it has ended otherwise, or is a
 * group's member. FULL, DOWN. */
void store_replay(struct store *s, const struct msg *m, store_fn *fn, void *ctx);

/* Up to top finished jobs of the kind, newest first, each handed out once.
 * idempotency "" or a key under which the same batch is repeated for 10 min. */
void store_pull(struct store *s, const char *kind, int64_t top, const char *idempotency, store_fn *fn, void *ctx);

/* ---- gateway: sets (calls_set.c) ------------------------------------------ */

/* Makes a set, open, under an id of the caller's choice; again is the same. OK with the set, FULL, DOWN. */
void store_set_make(struct store *s, const char *id, const char *name, store_fn *fn, void *ctx);

/* watch: asks for the event when it has ended. OK with the set, GONE, DOWN. */
void store_set_get(struct store *s, const char *id, bool watch, store_fn *fn, void *ctx);

/* Up to count members that ended behind this position (0: the beginning), in the order in which they did. watch: where
 * there is none, asks for the event when there is one, or the set has ended. OK with records, position and the set's
 * state; GONE, DOWN. */
void store_set_ends(struct store *s, const char *id, int64_t after, int64_t count, bool watch, store_fn *fn, void *ctx);

/* No more members. OK with the set, GONE, DOWN. */
void store_set_close(struct store *s, const char *id, store_fn *fn, void *ctx);

/* The same, and cancels some of its live members: call again while there are any. Those that no call reaches are
 * cancelled when a worker meets them. OK with the set, GONE, DOWN. */
void store_set_cancel(struct store *s, const char *id, store_fn *fn, void *ctx);

/* ---- gateway: the fleet ------------------------------------------------ */

/* Reconciler step, safe to call from everyone: one leader by lease puts
 * retrying jobs overdue by more than 60 s back into the outbox, and forgets what has expired. OK, has_more. */
void store_overdue(struct store *s, const char *leader, store_fn *fn, void *ctx);

/* Of these blobs: items (id: the name) are those that some record still needs. All of them while the store's epoch
 * is younger than grace_ms: it may not know of every job yet. OK with items, DOWN. */
void store_blobs_needed(struct store *s, const char *const *names, size_t count, int64_t grace_ms, store_fn *fn,
                        void *ctx);

/* Jobs, the newest first. Looks at a bounded number of them: there may be more behind the last one also when fewer than
 * limit came. after, after_id: where to go on, 0 and "" to begin with. OK with records, position, last_id, has_more;
 * DOWN. */
struct store_filter {
    const char *state, *kind, *set; /* "": any */
};
void store_list(struct store *s, const struct store_filter *filter, int64_t limit, int64_t after, const char *after_id,
                store_fn *fn, void *ctx);

/* A bounded part of the books; audit.lua says what there is to ask, and what the JSON text in data is. OK, DOWN. */
struct store_part {
    const char *what, *kind, *cursor; /* borrowed */
    int         count;
};
void store_audit(struct store *s, const struct store_part *part, const char *const *ids, size_t count, store_fn *fn,
                 void *ctx);

/* JSON text: {"epoch","jobs":{..totals..},"kinds":{KIND:{state:count,...,"oldest_ms"}},
 * "outbox":{"count","bytes"},"workers":[..],"histograms":{..}}; docs/protocol.md. */
void store_stats(struct store *s, store_fn *fn, void *ctx);

/* ---- worker ----------------------------------------------------------- */

/* One attempt, from claim to settle. Filled by the caller before claim; fence,
 * attempt, errors, claim_epoch, started_ms, losses and is_visit by the store when it answers RUN or MINE. */
struct lease {
    const struct msg *msg;   /* borrowed while the attempt lives */
    const char       *owner; /* "host-pid-start-slot", borrowed */
    int64_t           fence, attempt, errors, claim_epoch, started_ms;
    int64_t           losses;   /* > 0: this claim took the job from an owner that was lost; so many by now */
    bool              is_visit; /* of a group's parent that has its members already */
};

/* RUN, MINE, TERMINAL, GONE, LATER, HELD, ASK, DOWN. second: asked before, 400 ms ago.
 * The record is made anew when it is missing and the message is of an older epoch. */
void store_claim(struct store *s, struct lease *l, bool second, store_fn *fn, void *ctx);

/* Extends the lease. detached: this owner has lost its delivery and goes on. OK, STALE, CANCELLED, GONE, DOWN. */
void store_renew(struct store *s, const struct lease *l, double progress, bool detached, store_fn *fn, void *ctx);

/* What an attempt brought. All of it is copied. */
struct store_result {
    const void *bytes; /* NULL when it is a blob */
    const char *blob;  /* name of a sealed blob, "" when bytes are given */
    int64_t     size;  /* of either */
    const char *content_type;
    const char *verified;  /* JSON for the record, "" without */
    bool        with_pull; /* the kind is handed out by pull */
};

/* Completed. A group's member (msg->parent) counts in its parent by the same script, lets the next members go,
 * and ends the parent when it was the last. OK, STALE, CANCELLED, GONE, DOWN. */
void store_finish(struct store *s, const struct lease *l, const struct store_result *result, store_fn *fn, void *ctx);

/* A job that falls into members. Idempotent: makes those that are missing, a few more at a time than the fleet
 * has slots; the rest follow as members end. The parent stays in-progress without an owner; its message is to be
 * deferred, and each later claim of it leads here again. member_params: those of every member, with the text
 * "@MEMBER@" where its number goes. sealed: (number, fence) of results that are there though the store does not
 * know of them any more; heeded when the group is not known either. l->msg says how it is cut: it is kept for a retry,
 * unless the group is cut in another way already (reply->is_other_cut). RETRYING (defer the message: reply->wait_ms),
 * OK (it has ended by this), STALE, CANCELLED, GONE, DOWN. */
struct store_sealed {
    int64_t member, fence;
};
void store_split(struct store *s, const struct lease *l, int64_t count, const char *member_params, const char *layout,
                 int64_t result_bytes, const char *content_type, const struct store_sealed *sealed, size_t sealed_count,
                 store_fn *fn, void *ctx);

/* The attempt failed. The class of err decides: permanent fails; transient
 * retries after wait_ms while attempts are left; loss runs again until losses_max.
 * Keeps the message while retrying, and when failed within kept_max. RETRYING, FAILED, STALE, CANCELLED, GONE, DOWN. */
void store_fail(struct store *s, const struct lease *l, const struct fault *why, int64_t wait_ms, store_fn *fn,
                void *ctx);

/* Hands the job back: pending again, attempt not spent. OK, STALE, CANCELLED, GONE, DOWN. */
void store_drain(struct store *s, const struct lease *l, store_fn *fn, void *ctx);

/* Tells who is there, for /stats: a JSON object kept for 5 s, and adds samples
 * (name, bucket upper bound or "sum"/"count", amount: JSON [[name,bucket,n],..]) to the histograms. */
void store_beat(struct store *s, const char *worker, const char *json, const char *samples, store_fn *fn, void *ctx);

/* Says goodbye: the worker leaves the list. */
void store_leave(struct store *s, const char *worker, store_fn *fn, void *ctx);

#endif
