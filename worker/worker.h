/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h - what the parts of the supervisor share.
 *
 * A worker has slots; a slot runs one job at a time and drives one executor
 * (child.h) for each program that its kinds need. A channel is the broker's side of a slot: it brings at most one
 * message. Slot and channel are apart, because a message may come back to
 * another channel than that of the slot which still runs its job: then the two
 * slots exchange their channels. All of it lives on one event loop.
 *
 *   slot.c       the way of one message          consume.c  which channel consumes what
 *   attempt.c    from claim to settle            beat.c     numbers and the ready file
 *   successor.c  copies that replace messages    order.c    what a message asks for
 *   programs.c   where the executors are         goods.c    the blobs of an attempt
 *   watch.c      probes, metrics, the pod's cost parts.c    what there is at the start
 */
#ifndef MILLRACE_WORKER_H
#define MILLRACE_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/broker/broker.h"
#include "common/config.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/store/store.h"
#include "worker/child.h"
#include "worker/goods.h"
#include "worker/kernel.h"
#include "worker/order.h"
#include "worker/programs.h"

#define HOST_BYTES 128
#define OWNER_BYTES (HOST_BYTES + 64)
#define CONFIRM_MS 5000 /* wait for the broker's confirm of a successor */

struct slot;
struct worker;

enum channel_state {
    CHANNEL_AWAY,      /* not open */
    CHANNEL_IDLE,      /* open, without a consumer */
    CHANNEL_STARTING,  /* broker_consume was called */
    CHANNEL_CONSUMING, /* the broker confirmed the consumer */
    CHANNEL_STOPPING,  /* broker_unconsume was called */
};

struct channel {
    int                number;
    enum channel_state state;
    bool               is_served; /* had a confirmed consumer and is not meant to stop: counts as ready */
    int                kind;      /* consumed, about to be, or last */
    int64_t            since_ms;  /* when the consumer of this kind was confirmed, mono */
    int64_t            idle_ms;   /* since when its slot has nothing to do, mono */
    struct slot       *slot;
};

enum step {
    STEP_FREE,   /* no message */
    STEP_AWAIT,  /* has a message; waits for the executor to be ready */
    STEP_CLAIM,  /* asks the store for the job */
    STEP_ASK,    /* the owner may have lost it: asks again in a moment */
    STEP_FETCH,  /* the job is ours; its blobs are fetched */
    STEP_RUN,    /* the executor computes */
    STEP_SEAL,   /* the result, a blob, is made durable */
    STEP_LIST,   /* looks for results of members that are there already */
    STEP_SPLIT,  /* the store makes the members of a group */
    STEP_FINISH, /* the result goes to the store */
    STEP_FAIL,   /* the fault goes to the store */
    STEP_COPY,   /* a successor goes to a delay queue */
    STEP_BURY,   /* the message goes to the dead queue */
    STEP_ACK,    /* nothing is owed to the message any more */
    STEP_DRAIN,  /* the job goes back: pending */
    STEP_RETURN, /* the message goes back to its queue */
    STEP_COUNT
};

struct slot {
    struct worker    *worker;
    int               index;
    char              owner[OWNER_BYTES + 16];
    struct channel   *channel;
    struct child      children[PROGRAM_COUNT]; /* config NULL: of a program that no kind of ours needs */
    enum step         step;
    bool              is_asked;    /* an answer of the store or the broker is under way for this step */
    int64_t           again_ms;    /* > 0: the step is to be done again then (mono), or sooner when things come up */
    struct delivery  *delivery;    /* owned; NULL while FREE */
    bool              is_ackable;  /* the channel that brought the delivery still stands */
    bool              is_detached; /* the broker has given up our delivery; the store is told */
    bool              is_second;   /* of the claim */
    bool              is_dead;     /* a copy is owed to the dead queue */
    bool              is_split;    /* COPY: by the parent of a group, and this is its cut: the successor says it */
    struct lease      lease;
    int64_t           lease_epoch; /* of the store that last knew the record: for the successor */
    int               rung;        /* of the successor */
    struct fault      fault;       /* FAIL: why */
    struct order      order;       /* FETCH to FINISH, COPY of a group's parent: what the message asks for */
    struct goods      goods;       /* FETCH to FINISH */
    struct frame_done done;        /* SEAL, FINISH: the executor's answer */
    int64_t           claimed_ms;  /* mono; 0: not claimed */
    int64_t           wait_ms;     /* from submit to claim */
    int64_t           limit_ms;    /* mono: the attempt's time limit */
    int64_t           renewed_ms;  /* mono */
    bool              is_renewing;
};

enum phase {
    PHASE_SERVING,
    PHASE_GRACE,    /* no new jobs, running ones may finish */
    PHASE_HANDBACK, /* running jobs are handed back */
    PHASE_LEAVING,  /* all slots are free, the store is told */
    PHASE_ENDED
};

struct beat; /* numbers not yet told */
struct pod;
struct probe;

struct worker {
    uv_loop_t              *loop;
    const struct settings  *settings;
    struct broker          *broker;
    struct store           *store;
    struct blob_store      *blobs; /* NULL: this worker was set up without */
    int64_t                 sweep_ms;
    struct share            share; /* what a member may take; all workers are taken to have as many slots as we do */
    struct programs         programs;
    struct commands        *commands;      /* owned: of the kind command; NULL: it is not served */
    int                     commands_copy; /* owned: their list, for who runs them; -1: none */
    struct child_config     child_configs[PROGRAM_COUNT];
    bool                    has_seen_kernel; /* it was seen which kernel the executors have */
    struct kernel_choice    kernel;
    char                    host[HOST_BYTES];
    char                    id[OWNER_BYTES]; /* "host-pid-start" */
    char                    started[32];
    const struct kind_spec *kinds[KIND_COUNT]; /* those it works on */
    const char             *kind_names[KIND_COUNT];
    enum kind_id            kind_ids[KIND_COUNT];
    int                     kind_count;
    int                     slot_count;
    struct slot            *slots;
    struct channel         *channels;          /* as many */
    int                     served_count;      /* channels that are served */
    int64_t                 ready[KIND_COUNT]; /* waiting messages as last heard, less those taken since; -1: unknown */
    uv_timer_t              poll_timer;
    int64_t                 poll_ms;
    uv_timer_t              tick_timer;
    uv_signal_t             signals[3];
    enum phase              phase;
    int64_t                 phase_end_ms;
    bool                    is_once;
    struct beat            *beat;
    struct probe           *probe;   /* NULL: nobody asked for a port */
    struct metrics         *metrics; /* with it */
    struct pod             *pod;     /* NULL: not in a cluster */
    struct rescue          *rescues; /* successors of messages whose queue is gone */
    unsigned short          dice[3];
};

/* ---- main.c ---- */
double worker_dice(struct worker *w); /* in [0, 1) */

/* Takes no more jobs; ends when the running ones have. A second call hands them back. */
void worker_stop(struct worker *w);

/* An executor says which kernel its matrix library took. With the first one it is decided whether that will do; true:
 * it does not, and all executors are replaced by such that have a better one. */
bool worker_see_kernel(struct worker *w, const char *name);

/* Slots that have a message. */
int worker_busy(const struct worker *w);

/* A slot became free or a rescue ended: maybe that was the last thing to wait for. */
void worker_check_end(struct worker *w);

/* ---- parts.c: in this order; each says why it cannot be, and leaves what there is to parts_free ---- */
enum err parts_choose_kinds(struct worker *w, struct fault *why) MUST_CHECK;
/* A mistake in the list of commands is found now, not by a job. */
enum err parts_read_commands(struct worker *w, struct fault *why) MUST_CHECK;
void     parts_name_worker(struct worker *w);
enum err parts_open_slots(struct worker *w, struct fault *why) MUST_CHECK;
enum err parts_open_blobs(struct worker *w, struct fault *why) MUST_CHECK;
enum err parts_connect_store(struct worker *w, const struct store_events *events, struct fault *why) MUST_CHECK;
enum err parts_connect_broker(struct worker *w, const struct broker_events *events, struct fault *why) MUST_CHECK;
void     parts_close_slots(struct worker *w); /* ends the executors */
void     parts_free(struct worker *w);        /* behind the loop's last round */

/* ---- slot.c ---- */
/* Enters a step and those it leads to. For attempt.c. */
void slot_go(struct slot *s, enum step step);
/* The executor that computes this kind, of the worker's. */
struct child *slot_child(struct slot *s, int kind);
void          slot_deliver(struct slot *s, struct delivery *taken);
void          slot_channel_lost(struct slot *s);
void          slot_queue_gone(struct slot *s);
void          slot_tick(struct slot *s, int64_t now_ms);
/* The store or the publisher came up: what waited for it is done again. */
void slot_wake(struct slot *s);
/* Stops: unclaimed messages go back; is_forced: running jobs too. */
void slot_stop(struct slot *s, bool is_forced);

/* What a line about the job of a slot begins with. */
#define SLOT_JOB(s) LOG_JOB((s)->delivery->msg->id, attempt_kind(s)->name, (s)->lease.attempt)

/* ---- attempt.c: steps return their own name to wait, else the next one ---- */
extern const struct child_events attempt_child_events;

const struct kind_spec *attempt_kind(const struct slot *s);
enum step               attempt_fetch(struct slot *s);
enum step               attempt_run(struct slot *s);
enum step               attempt_seal(struct slot *s);
enum step               attempt_list(struct slot *s);
/* Whether it is at work: the lease is renewed, time limit and cancel are obeyed. */
bool attempt_is_at_work(const struct slot *s);
/* Tells the store that we live, and whether the broker has given up our delivery. */
void attempt_renew(struct slot *s, int64_t now_ms);
void attempt_tick(struct slot *s, int64_t now_ms);
/* Ends the work at once; the step is to be left then, and with it go the blobs. */
void attempt_stop(struct slot *s, enum kill_reason reason);

/* ---- successor.c ---- */
/* A copy of the message for another publish, owned: new mark; epoch: of a store that had the record;
 * attempt: claimed so far, 0: as it was. */
struct msg *successor_new(const struct msg *m, int64_t epoch, int64_t attempt);
/* Publishes a successor to the work queue until it is confirmed, whatever becomes of the slot. */
void successor_rescue(struct worker *w, const struct msg *m, int64_t epoch, int64_t attempt);
void successor_tick(struct worker *w);
void successor_free_all(struct worker *w);

/* ---- consume.c ---- */
void consumers_open(struct worker *w);
void consumers_slot(struct slot *s);  /* puts a consumer on a free slot's idle channel, if it may have one */
void consumers_taken(struct slot *s); /* its channel brought a message */
void consumers_after(struct slot *s); /* just before its ack: maybe another kind is next */
/* No such executor for now: no consumer for what it computes. */
void consumers_suspend(struct slot *s, const struct child *c);
void consumers_stop(struct worker *w);
void consumers_on_up(void *ctx, bool is_up);
void consumers_on_ready(void *ctx, int channel);
void consumers_on_lost(void *ctx, int channel);
void consumers_on_confirmed(void *ctx, int channel, int kind);
void consumers_on_idle(void *ctx, int channel, bool by_broker);
void consumers_on_depths(void *ctx, const int64_t *ready);

/* ---- beat.c ---- */
void beat_open(struct worker *w);
void beat_close(struct worker *w);
void beat_wait(struct worker *w, int kind, double seconds);
void beat_run(struct worker *w, int kind, double seconds);
void beat_dead(struct worker *w);
void beat_unverified(struct worker *w);
void beat_tick(struct worker *w, int64_t now_ms);
/* The number of served channels changed: the ready file follows. */
void beat_ready_file(struct worker *w);

/* ---- watch.c ---- */
enum err watch_open(struct worker *w, struct fault *why) MUST_CHECK;
void     watch_close(struct worker *w); /* before the loop's last round */
void     watch_tick(struct worker *w, int64_t now_ms);
void     watch_settled(struct worker *w, int kind, bool is_finished, double seconds);

#endif
