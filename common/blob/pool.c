/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - work on the loop's thread pool that a closing store can wait for.
 *
 * libuv tells the end of work through the loop alone, and a store closes
 * without turning the loop: each job has a semaphore that its run posts. What
 * has ended by a closing is freed when the loop gets to it. */
#include <assert.h>
#include <stdlib.h>

#include "common/blob/blob_impl.h"

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

static void after_pool(uv_work_t *work, int status)
{
    struct pool_job *job = work->data;

    (void)status; /* whoever cancels knows of it */
    if (job->store) {
        unlink_job(job);
        job->end(job, false, true);
    }
    uv_sem_destroy(&job->has_run);
    free(job);
}

void pool_start(struct blob_store *b, struct pool_job *job, void (*run)(struct pool_job *job),
                void (*end)(struct pool_job *job, bool is_closing, bool has_begun))
{
    int rc;

    job->work.data = job;
    job->store = b;
    job->run = run;
    job->end = end;
    job->prev = NULL;
    job->next = b->jobs;
    if (job->next)
        job->next->prev = job;
    b->jobs = job;
    rc = uv_sem_init(&job->has_run, 0);
    assert(!rc);
    rc = uv_queue_work(b->loop, &job->work, on_pool, after_pool);
    assert(!rc);
    (void)rc;
}

bool pool_take_back(struct pool_job *job)
{
    bool is_ours = uv_cancel((uv_req_t *)&job->work) == 0;

    if (!is_ours)
        uv_sem_wait(&job->has_run);
    uv_sem_post(&job->has_run); /* whoever closes the store may ask for it, too */
    return is_ours;
}

void pool_close(struct blob_store *b)
{
    struct pool_job *job;

    atomic_store(&b->is_closing, true); /* whatever runs long looks at it now and then */
    while ((job = b->jobs)) {
        bool has_begun = uv_cancel((uv_req_t *)&job->work) != 0;

        if (has_begun)
            uv_sem_wait(&job->has_run);
        unlink_job(job);
        job->end(job, true, has_begun);
        job->store = NULL;
    }
}
