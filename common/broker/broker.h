/* SPDX-License-Identifier: Apache-2.0 */
/* broker.h - RabbitMQ, seen from an event loop that must never block.
 *
 * The library's own I/O can hang for ever, so only its codec is used, here and
 * nowhere else; two connections (publish, consume) live on the caller's loop.
 * Calls return at once; every callback comes from the loop, never from inside
 * a call but broker_stop. Reconnects, the topology (work, delay and dead
 * queues), heartbeats and windows are its own affair.
 *
 * Order of calls:
 *   1. broker_start, once           4. broker_ack / broker_nack per delivery
 *   2. broker_publish, any time     5. broker_stop
 *   3. on channel_ready: broker_consume
 */
#ifndef MILLRACE_BROKER_H
#define MILLRACE_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "common/err.h"
#include "common/msg.h"

struct broker; /* one per process */

enum broker_outcome {
    BROKER_CONFIRMED, /* the broker has it, safely, in at least one queue */
    BROKER_RETURNED,  /* unroutable (mandatory): no queue has it */
    BROKER_NACKED,    /* refused by the broker */
    BROKER_UNKNOWN,   /* deadline passed or connection lost: it may or may not be there */
    BROKER_DOWN,      /* not sent: no connection, or the broker has blocked it */
};

/* Where a message goes. */
enum broker_target {
    BROKER_TO_WORK,  /* millrace.<kind of the message> */
    BROKER_TO_DELAY, /* millrace.delay.<2^rung>, from there to the work queue */
    BROKER_TO_DEAD,  /* millrace.dead; broker_bury alone says why */
};

/* One unacknowledged message. channel and generation name the channel that
 * delivered it: an ack after that channel's end has no effect and does no harm. */
struct delivery {
    struct msg  *msg; /* owned by the delivery */
    struct fault bad; /* err != ERR_OK: properties or headers that make no job */
    void        *raw; /* owned: those, as they came; NULL when they make one */
    size_t       raw_len;
    uint64_t     tag; /* delivery tag */
    uint64_t     generation;
    int          channel;
    int          kind; /* index of the queue's kind */
};

void delivery_free(struct delivery *d); /* accepts NULL; does not ack */

struct broker_events {
    /* May publish now: connected, and not blocked by the broker. */
    void (*publisher)(void *ctx, bool is_up);
    /* The consuming connection is up or was lost. */
    void (*consumer)(void *ctx, bool is_up);
    /* The channel is open with prefetch 1 and has no consumer yet; also after a loss. */
    void (*channel_ready)(void *ctx, int channel);
    /* The channel is gone (connection, consumer timeout): its delivery cannot be acked any more. */
    void (*channel_lost)(void *ctx, int channel);
    /* The broker confirmed the consumer on the queue of this kind. */
    void (*consuming)(void *ctx, int channel, int kind);
    /* The channel has no consumer: after broker_unconsume (by_broker false), or because the broker
     * cancelled it: its queue is gone (true); the topology has been declared again by then. */
    void (*idle)(void *ctx, int channel, bool by_broker);
    void (*delivery)(void *ctx, struct delivery *taken);
    /* Answer to broker_ask_depths: ready messages per kind, -1 where the broker did not say. */
    void (*depths)(void *ctx, const int64_t *ready);
};

struct broker_config {
    const char        *url;   /* amqp://user:pass@host:port/vhost, borrowed */
    const char        *name;  /* connection name shown by the broker, borrowed */
    const char *const *kinds; /* names; the queue of kind i is millrace.<kinds[i]> */
    int                kind_count;
    bool               is_quorum; /* queue type of the whole topology */
    int                heartbeat_s;
    int                channels; /* consuming channels, numbered from 0; 0: no consuming connection */
};

/* Starts the first connects. events and the strings in config
 * are borrowed until broker_stop. ERR_CONFIG when the URL cannot be read. */
enum err broker_start(uv_loop_t *loop, const struct broker_config *config, const struct broker_events *events,
                      void *ctx, struct broker **out, struct fault *why) MUST_CHECK;

/* Says goodbye to the broker, so that acks made before arrive (half a second at
 * most, also when it hangs), and frees b, its handles with the loop's next turn.
 * Publishes under way are answered from inside this call: BROKER_UNKNOWN, or
 * BROKER_DOWN when they had not been sent. Accepts NULL. */
void broker_stop(struct broker *b);

typedef void broker_publish_fn(void *ctx, enum broker_outcome outcome);

/* Publishes m: persistent, mandatory, with confirm; many may be outstanding. m
 * is borrowed (a reference is taken) and must not be changed any more. done is
 * called once, on the loop, never from inside this call, at the latest after
 * deadline_ms.
 * rung: for BROKER_TO_DELAY, else ignored. */
void broker_publish(struct broker *b, struct msg *m, enum broker_target to, int rung, int64_t deadline_ms,
                    broker_publish_fn *done, void *ctx);

/* Publishes d's message to millrace.dead, as broker_publish does: as it came, with its queue, the reason and the
 * time beside. d is borrowed. */
void broker_bury(struct broker *b, const struct delivery *d, const char *reason, int64_t deadline_ms,
                 broker_publish_fn *done, void *ctx);

/* Puts a consumer (prefetch 1) on the idle channel. */
void broker_consume(struct broker *b, int channel, int kind);

/* Cancels the channel's consumer. A delivery that was under way may still
 * come before the idle event. */
void broker_unconsume(struct broker *b, int channel);

/* Settles the delivery with the broker; d is borrowed. */
void broker_ack(struct broker *b, const struct delivery *d);
void broker_nack(struct broker *b, const struct delivery *d, bool requeue);

/* Asks for the ready counts; answered by the depths event, or not at all while
 * the broker is away. */
void broker_ask_depths(struct broker *b);

/* For metrics and readiness. */
bool    broker_publisher_is_up(const struct broker *b);
bool    broker_consumer_is_up(const struct broker *b);
int64_t broker_confirms_outstanding(const struct broker *b);

#endif
