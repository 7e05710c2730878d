/* SPDX-License-Identifier: Apache-2.0 */
/* msg.h - a job as it travels: one AMQP message, or one outbox entry.
 *
 * docs/protocol.md specifies both for other languages. AMQP properties:
 * message-id = id, type = kind, content-type; our headers are the fields
 * below of the same name, nothing else. The packed form (outbox, kept input)
 * is one line of JSON with the same names, a newline, and the raw body.
 */
#ifndef MILLRACE_MSG_H
#define MILLRACE_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/job.h"

#define KIND_BYTES 32
#define IDEMPOTENCY_BYTES 256
#define TRACEPARENT_BYTES 64
#define CONTENT_TYPE_BYTES 128
#define MSG_REFS_BYTES 2048 /* of refs, with its NUL */

/* Filled in by its maker, and only read once it has been handed to broker_publish. */
struct msg {
    int     ref_count;        /* msg_ref and msg_free alone touch it */
    char    id[JOB_ID_BYTES]; /* "" when the message had no usable message-id */
    char    kind[KIND_BYTES];
    char    content_type[CONTENT_TYPE_BYTES];
    char    copy[COPY_BYTES];               /* new at every publish; "" from a foreign producer */
    int64_t epoch;                          /* of the store, refreshed at each publish; 0: foreign */
    int64_t attempt;                        /* attempts claimed so far, for a record made anew */
    int64_t created_ms;                     /* wall time of the submit */
    int64_t deadline_ms;                    /* wall time after which it must not start; 0: none */
    char    idempotency[IDEMPOTENCY_BYTES]; /* "" when none */
    char    digest[65];                     /* SHA-256 hex of kind, params, refs and body; "" without a key */
    char    traceparent[TRACEPARENT_BYTES]; /* W3C trace context, passed on; "" when none */
    char    parent[JOB_ID_BYTES];           /* the group's parent; "" of a job on its own */
    int64_t member;                         /* number within the group, from 0 */
    char    group[JOB_ID_BYTES];            /* of a client's jobs, whose member it is; "" of none */
    int64_t attempts_max;                   /* runs that it may spend on errors of its own; 0: as many as is usual */
    char   *params;                         /* owned: JSON object of the kind's parameters, never NULL */
    char   *refs;                           /* owned: JSON of the blobs that are input, "" without; kinds/kind.h */
    void   *body;                           /* owned: raw input, NULL when body_len is 0 */
    size_t  body_len;
};

/* A zeroed message with params "{}" and one reference. */
struct msg *msg_new(void);

/* A deep copy with one reference: for a new copy id, a new epoch. */
struct msg *msg_dup(const struct msg *m);

/* One reference more, and one less; the last one frees. msg_free takes NULL. */
struct msg *msg_ref(struct msg *m);
void        msg_free(struct msg *m);

/* Appends the packed form. */
void msg_pack(const struct msg *m, struct buf *out);

/* Reads the packed form; *out is owned by the caller. Refuses what is not
 * whole: ERR_UNDECODABLE with the fault. */
enum err msg_unpack(const void *packed, size_t len, struct msg **out, struct fault *why) MUST_CHECK;

#endif
