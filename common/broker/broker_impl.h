/* SPDX-License-Identifier: Apache-2.0 */
/* broker_impl.h - the inside of common/broker, for its own files alone.
 *
 *   loop's thread                      |  broker's thread
 *   broker.c   the public calls        |  thread.c    poll, commands, retries
 *   loop.c     answers, deadlines,     |  conn.c      connect, login, heartbeat, loss
 *              watchdog                |  frames.c    bytes <-> frames, on a socket that never blocks
 *        \                             |  control.c   one channel per connection: topology, depths
 *         \__ notes, both ways, in     |  topology.c  what is declared
 *             batches, under one lock  |  publish.c   windows, tags, confirms, returns
 *                                      |  consume.c   channels, consumers, deliveries
 *                                      |  wire.c      struct msg <-> properties and headers
 *
 * librabbitmq serves as the codec of AMQP (methods, properties, tables, URL).
 * Its own I/O is not used: a publish by it can hang for ever (a full socket, a
 * stopped broker), costs three system calls, and one property table that it
 * cannot decode ends the connection again and again. Here one send carries
 * whatever has gathered, and nothing waits but poll and the resolver.
 */
#ifndef MILLRACE_BROKER_IMPL_H
#define MILLRACE_BROKER_IMPL_H

#include <amqp.h>
#include <amqp_framing.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/broker/broker.h"
#include "common/buf.h"

#define QUEUE_NAME_BYTES 64
#define FRAME_MAX 131072
#define BODY_MAX (8u << 20) /* bytes of a delivery that are kept */

/* ---- notes: what the two threads tell each other ---- */

enum note_type {
    NOTE_PUBLISH, /* a struct request: there to be sent, back with its outcome */
    /* to the broker's thread */
    NOTE_CONSUME, NOTE_UNCONSUME, NOTE_ACK, NOTE_NACK, NOTE_REQUEUE, NOTE_ASK_DEPTHS,
    /* to the loop */
    NOTE_PUBLISHER, NOTE_CONSUMER, NOTE_READY, NOTE_LOST, NOTE_CONSUMING, NOTE_IDLE, NOTE_DELIVERY, NOTE_DEPTHS,
};

struct note {
    struct note   *next;
    enum note_type type;
    int            channel;
    int            kind;
    bool           flag;       /* PUBLISHER, CONSUMER: is up; IDLE: by the broker */
    uint64_t       generation;
    uint64_t       tag;
    struct delivery *delivery; /* owned */
    int64_t         *ready;    /* owned */
};

struct notes {
    struct note *first, *last;
};

void         notes_push(struct notes *n, struct note *taken);
void         notes_append(struct notes *n, struct notes *more); /* more is empty then */
struct note *notes_pop(struct notes *n);                        /* NULL when empty */
struct note *note_new(enum note_type type, int channel);
void         note_free(struct note *n); /* with what it carries; not a struct request */

/* One publish. The loop makes and frees it; in between the broker's thread has
 * it and returns it once, whatever happens. Who gets to move `state` out of
 * REQUEST_WAITS decides what an expired deadline means.
 *
 *   WAITS --thread: encoded--> SENT --loop: deadline--> EXPIRED (its confirm is of no use any more)
 *     \-----loop: deadline---> GIVEN_UP (never sent)
 */
enum request_state { REQUEST_WAITS, REQUEST_SENT, REQUEST_GIVEN_UP, REQUEST_EXPIRED };

struct request {
    struct note        note; /* first, so that a request travels as a note */
    struct msg        *msg;  /* our reference */
    enum broker_target to;
    int                rung;
    int                kind; /* BROKER_TO_WORK and _DELAY: only the name counts; unused otherwise */
    atomic_int         state;
    enum broker_outcome outcome;

    /* the loop's */
    broker_publish_fn *done; /* NULL once called */
    void              *ctx;
    int64_t            deadline_ms;
    struct request    *sooner, *later;

    /* the broker thread's, while outstanding */
    uint64_t        tag;
    size_t          bytes;
    bool            is_counted, is_returned;
    struct request *older, *newer, *bucket_next;
};

/* ---- the broker's thread ---- */

enum { CONN_PUBLISH, CONN_CONSUME, CONN_COUNT };

enum conn_state {
    CONN_UNUSED,  /* no consuming channels wanted */
    CONN_DOWN,    /* waits until wake_ms, then connects */
    CONN_CONNECT, /* a TCP connect is under way */
    CONN_LOGIN,   /* start, tune, open */
    CONN_OPEN,    /* logged in; is_up once the topology stands */
    CONN_CLOSING, /* connection.close sent at the very end */
};

enum control_job { CONTROL_OPENING, CONTROL_FREE, CONTROL_TOPOLOGY, CONTROL_DEPTHS };

/* The channel for declares: one job at a time, all its methods sent at once,
 * answers counted. */
struct control {
    int              channel;
    enum control_job job;
    int              answered;       /* of this job's steps */
    unsigned         started, wanted, finished; /* rounds of the topology */
    int64_t          started_ms;
    bool             depths_wanted;
    int64_t         *ready;          /* owned: answers so far, NULL outside of a round */
};

struct conn {
    struct broker  *b;
    int             role;
    enum conn_state state;
    int             fd;
    short           events; /* for poll */
    bool            is_up, is_blocked;
    int             failures;
    int64_t         wake_ms;            /* end of this state's patience; INT64_MAX: none */
    int64_t         heard_ms, spoke_ms, up_ms;
    int             heartbeat_ms;
    size_t          frame_max;
    struct addrinfo *addresses, *address; /* owned, and the one being tried */
    char           *in;                 /* owned: in_cap bytes, in_len of them unread */
    size_t          in_len, in_cap;
    struct buf      out;
    size_t          out_done;           /* bytes of out that are written */
    amqp_pool_t     pool;               /* of the frame at hand */
    struct control  control;
};

struct publisher {
    struct notes    waiting;            /* requests not yet sent */
    struct request *oldest, *newest;    /* outstanding, by tag */
    struct request *buckets[256];       /* the same, found by tag */
    uint64_t        next_tag;
    int             counted;            /* in the window */
    int             outstanding;        /* also those whose deadline is over */
    size_t          counted_bytes;
    bool            is_open;            /* confirm.select was answered */
    bool            is_announced;       /* open, not blocked, and the loop was told so */
    bool            return_is_open;     /* a basic.return came, its header is next */
    char            returned_exchange[QUEUE_NAME_BYTES], returned_key[QUEUE_NAME_BYTES];
};

enum chan_state {
    CHAN_CLOSED,    /* to be opened: at once, or at reopen_ms */
    CHAN_OPENING,
    CHAN_IDLE,      /* open, no consumer */
    CHAN_STARTING,  /* consume sent */
    CHAN_CONSUMING,
    CHAN_STOPPING,  /* cancel sent */
    CHAN_CANCELLED, /* by the broker: idle once the topology stands again */
};

struct chan {
    enum chan_state state;
    uint64_t        generation;
    int             kind;
    bool            is_announced; /* the loop was told that it is ready */
    bool            is_cancelled; /* while STOPPING: the broker was first */
    unsigned        topology;     /* round to wait for */
    int64_t         reopen_ms, closed_ms;
    struct delivery *content;     /* owned: the delivery being read, else NULL */
    bool             content_has_header;
    uint64_t         content_remaining; /* body bytes still to come */
};

struct consumer {
    struct chan *chans; /* owned, config.channels of them */
    uint64_t     generation;
};

struct broker {
    struct broker_config        config; /* strings borrowed */
    const struct broker_events *events;
    void                       *ctx;
    char                       *url;    /* owned: account points into it */
    struct amqp_connection_info account;

    /* the loop's */
    uv_loop_t  *loop;
    uv_async_t  async;
    uv_idle_t   turn;        /* runs once after calls were made: hands them over */
    uv_timer_t  deadlines, watchdog;
    int         handles;     /* not yet closed */
    struct notes outgoing;   /* calls made in this turn of the loop */
    struct notes refused;    /* requests to be answered BROKER_DOWN in the next turn */
    struct notes inbox;      /* answers being delivered */
    struct request *soonest, *latest;
    int64_t     armed_ms;    /* the deadline timer's next call, INT64_MAX when idle */
    int64_t     unanswered;
    bool        publisher_is_up, consumer_is_up, is_stopped;
    uint64_t   *generations; /* owned: of each channel, as last told; 0: lost */

    /* shared, under lock; what the thread sleeps on is wake_fd */
    pthread_mutex_t lock;
    struct notes    commands, answers;
    bool            thread_sleeps, stop_wanted, is_ended, is_abandoned;
    pthread_cond_t  ended;           /* signalled with is_ended */
    int             fds[CONN_COUNT]; /* for shutdown by the loop; -1: none */
    int             wake_fd;
    _Atomic int64_t busy_since_ms;   /* mono; 0 while the thread sleeps */

    /* the thread's */
    pthread_t       thread;
    struct conn     conns[CONN_COUNT];
    struct publisher publisher;
    struct consumer  consumer;
    struct notes    said;            /* answers gathered in this turn */
    int64_t         now_ms;          /* at the start of this turn */
    uint64_t        dice;
    bool            stop_seen;
};

/* loop.c */
void loop_deliver(struct broker *b);               /* inbox to callbacks, until empty or stopped */
void loop_add_deadline(struct broker *b, struct request *r);
void loop_end_request(struct broker *b, struct request *r, enum broker_outcome outcome);
void request_free(struct request *r);
void loop_on_async(uv_async_t *async);
void loop_on_deadline(uv_timer_t *timer);
void loop_on_watchdog(uv_timer_t *timer);
void loop_shut_down(struct broker *b); /* ends whatever the thread waits for on a socket */

/* thread.c */
void *thread_main(void *broker);
void  thread_say(struct broker *b, struct note *taken); /* goes to the loop at the end of the turn */
void  thread_say_flag(struct broker *b, enum note_type type, bool flag);
double thread_dice(struct broker *b);                   /* in [0, 1) */

/* conn.c */
void conn_init(struct conn *c, struct broker *b, int role);
void conn_fini(struct conn *c);
void conn_on_poll(struct conn *c, short revents);
void conn_on_time(struct conn *c);      /* whatever is due by now */
int64_t conn_wake_ms(const struct conn *c);
void conn_close(struct conn *c);        /* orderly, at the very end */
void conn_topology_stands(struct conn *c);
/* Drops the connection; reason is logged, and a new attempt follows. */
void conn_fail(struct conn *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A frame as it came. */
struct frame {
    int                  type; /* AMQP_FRAME_* */
    int                  channel;
    amqp_method_number_t method;
    void                *decoded; /* of a method; lives until the next frame */
    amqp_bytes_t         payload; /* of a header or body frame */
};

void conn_on_frame(struct conn *c, const struct frame *f);

/* frames.c */
void frames_method(struct conn *c, int channel, amqp_method_number_t method, void *decoded);
/* Appends a publish. False, and nothing appended: it does not fit into the peer's frames. */
bool frames_publish(struct conn *c, int channel, const char *exchange, const char *key, const struct msg *m);
void frames_heartbeat(struct conn *c);
void frames_protocol_header(struct conn *c);
void frames_read(struct conn *c);       /* reads what is there, calls conn_on_frame for each */
void frames_flush(struct conn *c);      /* writes what the socket takes */
size_t frames_unwritten(const struct conn *c);
void frames_reset(struct conn *c);
amqp_bytes_t bytes_of(const char *text);

/* control.c */
void control_start(struct conn *c);     /* opens the channel; the topology follows */
void control_stop(struct conn *c);
void control_on_method(struct conn *c, const struct frame *f);
unsigned control_want_topology(struct conn *c); /* returns the round that will include this wish */
void control_want_depths(struct conn *c);
void control_step(struct conn *c);      /* starts what is wanted */

/* topology.c */
int  topology_steps(const struct broker *b);
void topology_send(struct conn *c, int channel, int step);
void topology_describe(const struct broker *b, int step, char out[QUEUE_NAME_BYTES + 16]);
void topology_work_queue(const char *kind, char out[QUEUE_NAME_BYTES]);
void topology_delay(int rung, char out[QUEUE_NAME_BYTES]); /* the exchange's name and the queue's */
const char *topology_dead_queue(void);

/* publish.c */
void publish_start(struct conn *c);     /* the topology stands: confirm.select */
void publish_stop(struct broker *b);    /* the connection is gone */
void publish_take(struct broker *b, struct request *taken);
void publish_set_blocked(struct conn *c, bool is_blocked);
void publish_on_method(struct conn *c, const struct frame *f);
void publish_on_content(struct conn *c, const struct frame *f);
void publish_pump(struct broker *b);

/* consume.c */
void consume_start(struct conn *c);
void consume_stop(struct broker *b);
void consume_topology_stands(struct conn *c);
void consume_on_method(struct conn *c, const struct frame *f);
void consume_on_content(struct conn *c, const struct frame *f);
void consume_on_command(struct broker *b, const struct note *n);
void consume_on_time(struct conn *c);
int64_t consume_wake_ms(const struct broker *b);

/* wire.c */
/* Appends class, size and properties: the payload of a header frame. False when it takes more than room. */
bool wire_encode(const struct msg *m, amqp_bytes_t room, size_t *len);
/* The message of a header frame; payload is as received. Never NULL; bad says what is wrong with it. */
struct msg *wire_decode(amqp_bytes_t payload, amqp_pool_t *pool, const char *kind, struct fault *bad);
/* The message-id in a header frame, "" when there is none. */
void wire_message_id(amqp_bytes_t payload, amqp_pool_t *pool, char out[JOB_ID_BYTES]);
uint64_t wire_body_size(amqp_bytes_t payload);

/* Big-endian integers at p. */
uint16_t get16(const void *p);
uint32_t get32(const void *p);
uint64_t get64(const void *p);
void     put16(void *p, uint16_t value);
void     put32(void *p, uint32_t value);
void     put64(void *p, uint64_t value);

#endif
