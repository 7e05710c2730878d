/* SPDX-License-Identifier: Apache-2.0 */
/* successor.c - copies that take the place of a message.
 *
 * A rescue is a successor of a message whose queue was deleted under us: it
 * must reach the queue made anew even if its slot is long done by then (a
 * message of an ended job is acked and forgotten, so one too many is harmless).
 */
#include "worker/worker.h"

#include <stdlib.h>

#include "common/buf.h"
#include "common/log.h"

struct rescue {
    struct worker *worker;
    struct msg    *msg; /* owned; as it was delivered */
    int64_t        epoch, attempt;
    bool           is_sent; /* an answer is under way */
    struct rescue *next;
};

struct msg *successor_new(const struct msg *m, int64_t epoch, int64_t attempt)
{
    struct msg *copy = msg_dup(m);

    job_copy_new(copy->copy);
    copy->epoch = epoch;
    if (attempt > 0)
        copy->attempt = attempt;
    return copy;
}

static void drop(struct rescue *r)
{
    struct rescue **at = &r->worker->rescues;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    msg_free(r->msg);
    free(r);
}

static void on_published(void *ctx, enum broker_outcome outcome)
{
    struct rescue *r = ctx;
    struct worker *w = r->worker;

    r->is_sent = false;
    if (outcome != BROKER_CONFIRMED)
        return; /* the tick sends it again */
    drop(r);
    worker_check_end(w);
}

static void send_rescue(struct rescue *r)
{
    struct msg *copy = successor_new(r->msg, r->epoch, r->attempt);

    r->is_sent = true;
    broker_publish(r->worker->broker, copy, BROKER_TO_WORK, 0, CONFIRM_MS, on_published, r);
    msg_free(copy);
}

void successor_rescue(struct worker *w, const struct msg *m, int64_t epoch, int64_t attempt)
{
    struct rescue *r = xcalloc(1, sizeof *r);

    log_event(EVENT_MESSAGE_RESCUED, LOG_JOB(m->id, m->kind, attempt));
    *r = (struct rescue){.worker = w, .msg = msg_dup(m), .epoch = epoch, .attempt = attempt, .next = w->rescues};
    w->rescues = r;
    send_rescue(r);
}

void successor_tick(struct worker *w)
{
    if (!broker_publisher_is_up(w->broker))
        return;
    for (struct rescue *r = w->rescues; r; r = r->next)
        if (!r->is_sent)
            send_rescue(r);
}

void successor_free_all(struct worker *w)
{
    while (w->rescues)
        drop(w->rescues);
}
