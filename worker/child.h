/* SPDX-License-Identifier: Apache-2.0 */
/* child.h - one executor process at a time, of one program, for one slot.
 *
 *   ASLEEP -+-start-> STARTING --ready--> READY <--job/done--> BUSY
 *   ABSENT -+             |                 |                   |
 *      ^                  |                 |                   |
 *      +------reaped------+-----------------+---- DYING <-kill--+
 *
 * Asleep is one that nobody has needed yet, or for a while; an absent one is
 * started again as soon as that may be. The shared memory lives as long as the
 * slot, so a result outlives the executor that computed it; the process is
 * replaced after a number of jobs, on growth, and after every end of its own.
 */
#ifndef MILLRACE_CHILD_H
#define MILLRACE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "worker/frame.h"
#include "worker/outcome.h"

enum child_state { CHILD_ASLEEP, CHILD_ABSENT, CHILD_STARTING, CHILD_READY, CHILD_BUSY, CHILD_DYING };

struct child;

/* What all executors of one program have in common; borrowed. */
struct child_config {
    uv_loop_t  *loop;
    const char *path;       /* of the program */
    const char *variable;   /* "NAME=VALUE", for its environment beside what all get; "": none */
    int         list;       /* descriptor of the list of commands, for its hello; -1: it needs none */
    bool        has_kernel; /* when it is ready it says which kernel its matrix library took */
    int         threads;    /* CPUs per task */
    uint64_t    inline_max; /* bytes of largest input */
    uint64_t    memory_max;
    int64_t     recycle_jobs;
    int64_t     rest_ms; /* without a job for so long it may go to sleep */
};

/* What an executor is to compute. Borrowed for the call. */
struct child_job {
    enum kind_id       kind;
    const struct args *args;
    const void        *input;
    size_t             input_len; /* at most inline_max */
    const char        *refs;      /* "" or JSON, shorter than MSG_REFS_BYTES */
    int                blob_count;
    const int         *blob_fds; /* read only */
    const uint64_t    *blob_bytes;
    int                output_fd; /* of a file of output_max bytes; -1: the result goes to child_output. A kind that is
                                   * open-ended may use either, and the file grows to output_max at most */
    uint64_t output_max;
    int64_t  limit_s; /* for the sentence when it is over */
};

struct child_events {
    void (*ready)(void *ctx, struct child *c, const char *kernel); /* kernel: what the matrix library calls it, "" */
    /* The answer to the job; borrowed. The result, if any, lies at child_output or in the output file. */
    void (*done)(void *ctx, struct child *c, const struct frame_done *done);
    /* The executor is gone; why says what that means for a job it was at. restart_ms: until the next one starts. */
    void (*ended)(void *ctx, struct child *c, const struct fault *why, int64_t restart_ms);
};

struct child {
    const struct child_config *config; /* borrowed */
    const struct child_events *events; /* borrowed */
    void                      *ctx;
    enum child_state           state;
    enum kill_reason           killed;
    pid_t                      pid;  /* 0: none */
    uv_poll_t                 *poll; /* owned by the loop while it closes */
    int                        fd;   /* our end of the pair, -1: none */
    int                        memfd;
    void                      *shared;    /* the mapped memfd, frame_map_bytes long */
    int                        failures;  /* abnormal ends in a row */
    int64_t                    start_ms;  /* ABSENT: not before; STARTING: since */
    int64_t                    limit_s;   /* of the job under way, for the sentence */
    int64_t                    jobs;      /* since the start */
    int64_t                    rss_first; /* bytes when it became ready */
    uint64_t                   space;     /* its limit of addresses between jobs, bytes; UINT64_MAX: none */
    bool                       is_lent;   /* its limits are those of a job with blobs */
    int64_t                    looked_ms, looked_jobs;
    int64_t                    needed_ms; /* when it became ready, or last got a job */
};

/* Makes the shared memory; the executor is asleep. ERR_IO with why. */
enum err child_open(struct child *c, const struct child_config *config, const struct child_events *events, void *ctx,
                    struct fault *why) MUST_CHECK;

/* Kills what still runs and waits for it; frees. */
void child_close(struct child *c);

/* Starts a process, unless there is one or it is too early. False: it could not be started, which is tried again in
 * a while; no event says so. */
bool child_start(struct child *c, int64_t now_ms);

/* Whether the next start is put off, after several abnormal ends. */
bool child_is_held_back(const struct child *c, int64_t now_ms);

/* Whether it ended when it should not have, and is not ready again. */
bool child_is_failing(const struct child *c);

/* Whether it is ready for a job, or asleep and to be started for one. */
bool child_is_at_hand(const struct child *c);

/* Hands over a job; only while READY. */
void child_run(struct child *c, const struct child_job *job);

const void *child_output(const struct child *c);
uint64_t    child_output_max(const struct child *c);
double      child_progress(const struct child *c); /* 0 to 1 */

/* Ends the process at once; events->ended follows when it is reaped. */
void child_kill(struct child *c, enum kill_reason reason);

/* Replaces a READY process that is old or has grown. */
void child_recycle(struct child *c, int64_t now_ms);

/* Sends a READY process to sleep that had no job for long. */
void child_rest(struct child *c, int64_t now_ms);

/* On SIGCHLD: looks whether it ended. */
void child_reap(struct child *c, int64_t now_ms);

/* Now and then, and after an end: starts one that is absent, ends a start that takes too long. */
void child_tick(struct child *c, int64_t now_ms);

#endif
