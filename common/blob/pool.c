/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - work on the loop's thread pool that a closing store can wait for.
 *
 * libuv tells the end of work through the loop alone, and a store closes
 * without turning the loop: each job has a semaphore that its run posts. What
 * has ended by a closing is freed when the loop gets to it.
 *
 * Long jobs wait here for one of a few places, first come, first served: four
 * seals or transfers of gigabytes would keep the pool to themselves for
 * minutes, and nobody could even connect anew, for names are looked up there.
 * What is to be repeated waits among them for its time, without a place. */
#include <assert.h>
#include <stdlib.h>

#include "common/blob/blob_impl.h"
#include "common/clock.h"
#include "common/log.h"

#define LONG_MAX_RUNNING 2 /* of the pool's 4 threads */
#define REPEAT_MS 1000

enum err closing_fault(struct fault *why) { return fault_set(why, ERR_IO, "the blob store is closing"); }

static void on_pool(uv_work_t *work)
{
    struct pool_job *job = work->data;

    job->run(job);
    uv_sem_post(&job->has_run);
}

static void unlink_job(struct pool_job *job)
{
    if (job->prev)
        job->prev->next = job->next;
    else
        job->store->jobs = job->next;
    if (job->next)
        job->next->prev = job->prev;
    job->next = job->prev = NULL;
}

static void stop_waiting(struct pool_job *job)
{
    struct pool_job **at = &job->store->waiting, *before = NULL;

    for (; *at != job; at = &before->later)
        before = *at;
    *at = job->later;
    if (job->store->waiting_last == job)
        job->store->waiting_last = before;
}

static void job_free(struct pool_job *job)
{
    uv_sem_destroy(&job->has_run);
    free(job);
}

static void after_pool(uv_work_t *work, int status);

static void begin(struct pool_job *job)
{
    int rc = uv_queue_work(job->store->loop, &job->work, on_pool, after_pool);

    assert(!rc);
    (void)rc;
}

static void wait_in_line(struct blob_store *b, struct pool_job *job)
{
    job->is_waiting = true;
    job->later = NULL;
    if (b->waiting)
        b->waiting_last->later = job;
    else
        b->waiting = job;
    b->waiting_last = job;
}

static struct pool_job *find_due(const struct blob_store *b, int64_t now_ms)
{
    struct pool_job *job = b->waiting;

    while (job && job->due_ms > now_ms)
        job = job->later;
    return job;
}

static void begin_waiting(struct blob_store *b)
{
    int64_t          now_ms = mono_ms();
    struct pool_job *job;

    while (b->long_count < LONG_MAX_RUNNING && (job = find_due(b, now_ms))) {
        stop_waiting(job);
        job->is_waiting = false;
        job->due_ms = 0;
        b->long_count++;
        begin(job);
    }
}

bool pool_tick(struct blob_store *b)
{
    begin_waiting(b);
    for (const struct pool_job *job = b->waiting; job; job = job->later)
        if (job->due_ms)
            return true;
    return false;
}

static void link_job(struct blob_store *b, struct pool_job *job)
{
    job->prev = NULL;
    job->next = b->jobs;
    if (job->next)
        job->next->prev = job;
    b->jobs = job;
}

bool pool_repeat(struct pool_job *job, const struct fault *why)
{
    struct blob_store *b = job->store;
    int64_t            now_ms = mono_ms();

    if (!job->failing_ms && b->patience_ms > 0)
        log_event(EVENT_BLOBS_AWAY, LOG_INT("repeated_for_ms", b->patience_ms), LOG_TEXT("reason", why->detail));
    if (!job->failing_ms)
        job->failing_ms = now_ms;
    if (now_ms - job->failing_ms >= b->patience_ms)
        return false;
    job->due_ms = now_ms + REPEAT_MS;
    return true;
}

/* It has run, and waits for the time of the next one. */
static void rest(struct blob_store *b, struct pool_job *job)
{
    uv_sem_wait(&job->has_run); /* posted long ago */
    link_job(b, job);
    wait_in_line(b, job);
    tender_wake(b);
}

static void after_pool(uv_work_t *work, int status)
{
    struct pool_job   *job = work->data;
    struct blob_store *b = job->store;

    (void)status; /* only a closing store cancels */
    if (b) {
        unlink_job(job);
        if (job->is_long) {
            b->long_count--;
            begin_waiting(b);
        }
        job->end(job, false, true);
        if (job->due_ms) {
            rest(b, job);
            return;
        }
    }
    job_free(job);
}

static void prepare(struct blob_store *b, struct pool_job *job, void (*run)(struct pool_job *job),
                    void (*end)(struct pool_job *job, bool is_closing, bool has_begun))
{
    int rc;

    job->work.data = job;
    job->store = b;
    job->run = run;
    job->end = end;
    link_job(b, job);
    rc = uv_sem_init(&job->has_run, 0);
    assert(!rc);
    (void)rc;
}

void pool_start(struct blob_store *b, struct pool_job *job, void (*run)(struct pool_job *job),
                void (*end)(struct pool_job *job, bool is_closing, bool has_begun))
{
    prepare(b, job, run, end);
    begin(job);
}

void pool_start_long(struct blob_store *b, struct pool_job *job, void (*run)(struct pool_job *job),
                     void (*end)(struct pool_job *job, bool is_closing, bool has_begun))
{
    prepare(b, job, run, end);
    job->is_long = true;
    wait_in_line(b, job);
    begin_waiting(b);
}

/* ---- discarded files ------------------------------------------------------------------ */

struct discarding {
    struct pool_job job;
    struct draft    file;
};

static void discard_run(struct pool_job *job)
{
    struct discarding *g = (struct discarding *)job;

    draft_drop(&job->store->dir, &g->file);
}

static void discard_end(struct pool_job *job, bool is_closing, bool has_begun)
{
    (void)is_closing;
    if (!has_begun)
        discard_run(job);
}

void discard(struct blob_store *b, struct draft *f)
{
    struct discarding *g;

    if (f->fd >= 0)
        draft_unname(&b->dir, f);
    if (f->fd < 0 && !f->path[0])
        return;
    g = xcalloc(1, sizeof *g);
    g->file = *f;
    *f = (struct draft){.fd = -1};
    pool_start_long(b, &g->job, discard_run, discard_end);
}

/* ---- close ------------------------------------------------------------------------------ */

void pool_close(struct blob_store *b)
{
    struct pool_job *job;

    atomic_store(&b->is_closing, true); /* whatever runs long looks at it now and then */
    while ((job = b->jobs)) {
        bool is_waiting = job->is_waiting;
        bool has_begun = !is_waiting && uv_cancel((uv_req_t *)&job->work) != 0;

        if (has_begun)
            uv_sem_wait(&job->has_run);
        if (is_waiting)
            stop_waiting(job);
        unlink_job(job);
        job->end(job, true, has_begun);
        job->store = NULL;
        if (is_waiting)
            job_free(job); /* the loop knows nothing of it */
    }
}
