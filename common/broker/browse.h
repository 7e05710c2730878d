/* SPDX-License-Identifier: Apache-2.0 */
/* browse.h - looking into queues without taking anything out of them.
 *
 * The dead queue is read on a channel of its own, behind a lock that the broker
 * keeps (an exclusive queue: it ends with our connection, as do the messages
 * that we hold), so that of all gateways one reads at a time and each sees all
 * of it. What was read goes back in its order, at once and before the answer.
 * One look at a time; further ones wait.
 */
#ifndef MILLRACE_BROWSE_H
#define MILLRACE_BROWSE_H

#include "common/broker/broker.h"

#define DEAD_READ_MAX 1000 /* messages that one look reads, from the head of the queue */
#define DEAD_ID_BYTES 40

/* What lies in millrace.dead. */
struct dead_letter {
    char         id[DEAD_ID_BYTES]; /* its message-id; without a usable one "d-" and a checksum: the same each time */
    char         kind[KIND_BYTES];  /* of the queue it was in, else its type; "" when nothing says so */
    char         reason[256];
    int64_t      received_ms; /* wall time when it came here, 0: unknown */
    uint64_t     bytes;       /* of its body */
    struct fault bad;         /* err != ERR_OK: it makes no job, and why */
    struct msg  *msg;         /* owned by the letter; of a letter that was looked for, else NULL */
};

enum browse_outcome {
    BROWSE_OK,
    BROWSE_NOT_FOUND, /* not among the first DEAD_READ_MAX */
    BROWSE_BUSY,      /* somebody else has been reading all the while */
    BROWSE_DOWN,      /* no connection, blocked, or no answer */
};

/* Borrowed for the time of the callback. */
struct browsed {
    enum browse_outcome       outcome;
    const struct dead_letter *letters; /* of a list: the oldest first; of a find: that one */
    size_t                    count;
    int64_t                   total; /* messages in the dead queue */
    uint64_t                  hold;  /* of a find that is OK */
    const int64_t            *ready; /* of a count: by kind; a queue that is not there has none */
    const int64_t            *consumers;
    int64_t                   delayed; /* of a count: in all delay queues together */
};

/* Called once, on the loop, never from inside the call; from inside of broker_stop with BROWSE_DOWN. */
typedef void browse_fn(void *ctx, const struct browsed *seen);

/* The first `limit` dead messages. */
void broker_dead_list(struct broker *b, size_t limit, browse_fn *fn, void *ctx);

/* Looks for a dead message. BROWSE_OK: the queue is held, for nobody else to read, until
 * broker_dead_settle with the same hold; or until the connection is lost. */
void broker_dead_find(struct broker *b, const char *id, browse_fn *fn, void *ctx);

/* Lets go of the queue. is_done: the message that was found is taken out of it. BROWSE_DOWN: the connection was
 * lost, and the message may be there still. False, and fn is not called: it was lost, or stopped, before. */
bool broker_dead_settle(struct broker *b, uint64_t hold, bool is_done, browse_fn *fn, void *ctx);

/* How many messages are ready, first in the delay queues, then in the work queues: a message on its way from
 * one to the other may be counted twice, not missed. */
void broker_count(struct broker *b, browse_fn *fn, void *ctx);

#endif
