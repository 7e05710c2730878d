/* SPDX-License-Identifier: Apache-2.0 */
/* broker_impl.h - the inside of common/broker, for its own files alone.
 *
 *   broker.c    the public calls, start and stop
 *   loop.c      turns of the loop: clocks, answers, deadlines
 *   conn.c      connect, heartbeat, loss;   login.c: the handshake
 *   frames.c    bytes <-> frames, on a socket that never blocks
 *   control.c   one channel per connection: topology, depths
 *   topology.c  what is declared
 *   publish.c   windows, tags, confirms, returns
 *   consume.c   channels, consumers, deliveries
 *   browse.c    the dead queue read and held, messages counted;   burial.c: what lies in it
 *   wire.c      struct msg <-> properties and headers
 *
 * librabbitmq serves as the codec of AMQP (methods, properties, tables, URL).
 * Its own I/O is not used: a publish by it can hang for ever (a full socket, a
 * stopped broker), it costs three system calls, and one property table that it
 * cannot decode ends the connection again and again. Without it nothing here
 * waits for anything, so there is no thread to hand things to either: a job
 * costs one recv and one send, shared with all others of the same turn.
 *
 * A turn: read a socket or see which clock is due; hand the answers that came
 * of it to the callbacks; send what they and the windows allow, at once.
 */
#ifndef MILLRACE_BROKER_IMPL_H
#define MILLRACE_BROKER_IMPL_H

#include <amqp.h>
#include <amqp_framing.h>
#include <netdb.h>

#include "common/broker/broker.h"
#include "common/broker/browse.h"
#include "common/buf.h"

#define QUEUE_NAME_BYTES 64
#define PUBLISH_CHANNEL 1
#define CONTROL_CHANNEL 2 /* of the publishing connection */
#define BROWSE_CHANNEL 3
#define FRAME_MAX 131072
#define PARAMS_MAX 65536 /* of a message's params; with the room below they fit one frame again when republished */
#define HEADER_ROOM 6144 /* all of a message's properties but params */
#define EDGE_BYTES 8     /* of a frame: head and end octet */
#define FRAME_LEAST (PARAMS_MAX + HEADER_ROOM + EDGE_BYTES)
#define BODY_MAX (8u << 20) /* bytes of a delivery that are kept */

/* ---- notes: what will be told at the end of the turn, so that no callback
 * runs inside of a call or in the middle of a frame ---- */

enum note_type {
    NOTE_PUBLISHED, /* a struct request with its outcome */
    NOTE_PUBLISHER,
    NOTE_CONSUMER,
    NOTE_READY,
    NOTE_LOST,
    NOTE_CONSUMING,
    NOTE_IDLE,
    NOTE_DELIVERY,
    NOTE_DEPTHS,
    NOTE_BROWSED, /* a struct look */
};

struct note {
    struct note     *next;
    enum note_type   type;
    int              channel;
    int              kind;
    bool             flag;     /* PUBLISHER, CONSUMER: is up; IDLE: by the broker */
    struct delivery *delivery; /* owned */
    int64_t         *ready;    /* owned */
};

struct notes {
    struct note *first, *last;
};

void         notes_push(struct notes *n, struct note *taken);
struct note *notes_pop(struct notes *n); /* NULL when empty */
struct note *note_new(enum note_type type, int channel);
void         note_free(struct note *n); /* with what it carries; not a struct request */

/* One publish, from the call until its fate is known: a deadline answers it,
 * but does not end it. */
enum request_state {
    REQUEST_WAITS, /* for the window; after its deadline it will not be sent */
    REQUEST_SENT,  /* outstanding */
    REQUEST_ENDED, /* its note is under way */
};

struct request {
    struct note         note; /* first, so that a request travels as a note */
    enum request_state  state;
    struct msg         *msg; /* our reference; NULL once answered */
    enum broker_target  to;
    int                 rung;
    struct buf          head; /* its header frame's payload where that is not the msg's; else empty */
    enum broker_outcome outcome;
    broker_publish_fn  *done; /* NULL once called */
    void               *ctx;
    int64_t             deadline_ms;
    struct request     *sooner, *later;

    /* while outstanding */
    uint64_t        tag;
    size_t          bytes;      /* about what it takes of the window */
    bool            is_counted; /* in the window */
    bool            is_returned;
    struct request *older, *newer, *bucket_next;
};

/* ---- the connections ---- */

enum { CONN_PUBLISH, CONN_CONSUME, CONN_COUNT };

enum conn_state {
    CONN_UNUSED,  /* no consuming channels wanted */
    CONN_DOWN,    /* waits until wake_ms, then connects */
    CONN_RESOLVE, /* the host's name, by libuv's threads */
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
    int              answered;                  /* of this job's steps */
    unsigned         started, wanted, finished; /* rounds of the topology */
    int64_t          started_ms;
    bool             depths_wanted;
    int64_t         *ready; /* owned: answers so far, NULL outside of a round */
};

struct conn {
    struct broker   *b;
    int              role;
    enum conn_state  state;
    int              fd;
    uv_poll_t       *poll;    /* of fd; frees itself when closed */
    int              events;  /* UV_READABLE, UV_WRITABLE: wanted */
    int              watched; /* and what poll is set to */
    struct lookup   *lookup;  /* while CONN_RESOLVE */
    bool             is_up, is_blocked;
    int              failures;
    int64_t          wake_ms; /* end of this state's patience; INT64_MAX: none */
    int64_t          heard_ms, spoke_ms, up_ms;
    int              heartbeat_ms;
    size_t           frame_max;
    struct addrinfo *addresses, *address; /* owned, and the one being tried */
    char            *in;                  /* owned: in_cap bytes, in_len of them unread */
    size_t           in_len, in_cap;
    struct buf       out;
    size_t           out_done; /* bytes of out that are written */
    amqp_pool_t      pool;     /* of the frame at hand */
    struct control   control;
};

struct publisher {
    struct notes    waiting;         /* requests not yet sent */
    struct request *oldest, *newest; /* outstanding, by tag */
    struct request *buckets[256];    /* the same, found by tag */
    uint64_t        next_tag;
    int             counted;     /* in the window */
    int             outstanding; /* also those whose deadline is over */
    size_t          counted_bytes;
    bool            is_open;        /* confirm.select was answered */
    bool            is_announced;   /* open, not blocked, and the loop was told so */
    bool            return_is_open; /* a basic.return came, its header is next */
    char            returned_exchange[QUEUE_NAME_BYTES], returned_key[QUEUE_NAME_BYTES];
};

enum chan_state {
    CHAN_CLOSED, /* to be opened: at once, or at reopen_ms */
    CHAN_OPENING,
    CHAN_IDLE,     /* open, no consumer */
    CHAN_STARTING, /* consume sent */
    CHAN_CONSUMING,
    CHAN_STOPPING,  /* cancel sent */
    CHAN_CANCELLED, /* by the broker: idle once the topology stands again */
};

struct chan {
    enum chan_state  state;
    uint64_t         generation;
    int              kind;
    bool             is_announced; /* the loop was told that it is ready */
    bool             is_cancelled; /* while STOPPING: the broker was first */
    unsigned         topology;     /* round to wait for */
    int64_t          reopen_ms, closed_ms;
    struct delivery *content; /* owned: the delivery being read, else NULL */
    bool             content_has_header;
    uint64_t         content_remaining; /* body bytes still to come */
};

struct consumer {
    struct chan *chans; /* owned, config.channels of them */
    uint64_t     generation;
};

/* One call about queues, from its making to its answer. */
enum look_type { LOOK_LIST, LOOK_FIND, LOOK_SETTLE, LOOK_COUNT };

struct look {
    struct note         note; /* first, so that it travels as one */
    enum look_type      type;
    size_t              limit;             /* LIST */
    char                id[DEAD_ID_BYTES]; /* FIND */
    bool                is_done;           /* SETTLE */
    int64_t             until_ms;
    struct browsed      seen;
    struct dead_letter *letters; /* owned: what seen.letters is */
    int64_t            *counts;  /* owned: what seen.ready and consumers are */
    browse_fn          *fn;
    void               *ctx;
};

enum browse_step {
    BROWSE_FREE,       /* the channel is closed */
    BROWSE_LOCKING,    /* channel.open and the declare of the lock are sent */
    BROWSE_WAITING,    /* somebody has the lock: again at wake_ms */
    BROWSE_COUNTING,   /* passive declares are sent */
    BROWSE_READING,    /* a consumer is on the dead queue */
    BROWSE_CANCELLING, /* it has had all */
    BROWSE_HELD,       /* found, and not settled */
    BROWSE_RETURNING,  /* all given back, and not yet counted again */
    BROWSE_CLOSING,    /* channel.close sent */
};

struct browser {
    enum browse_step    step;
    struct notes        waiting;         /* looks */
    struct look        *look;            /* at work; NULL: FREE, HELD, or CLOSING after an answer */
    int64_t             wake_ms;         /* when this step's patience ends */
    bool                is_locked;       /* the lock is to be taken away again */
    size_t              wanted, arrived; /* messages */
    int64_t             expected;        /* that the queue has when all is back */
    int64_t             back_ms;         /* RETURNING: until then */
    int                 answered;        /* of the declares of a count */
    struct dead_letter *letter;          /* owned: being read */
    bool                has_header;
    uint64_t            remaining; /* bytes of its body still to come */
    struct checksum    *sum;       /* owned, of the letter; NULL when it has a name */
    uint64_t            tag;       /* delivery tag of the letter */
    uint64_t            found_tag, hold;
    uint64_t            taken_tag; /* of the message that is taken out, 0: none */
};

struct broker {
    struct broker_config        config; /* strings borrowed */
    const struct broker_events *events;
    void                       *ctx;
    char                       *url; /* owned: account points into it */
    struct amqp_connection_info account;

    uv_loop_t *loop;
    uv_idle_t  turn; /* runs once, after calls were made or answers were left */
    uv_timer_t clock;
    int        handles;  /* not yet closed */
    int64_t    armed_ms; /* when clock rings, INT64_MAX: never */
    int64_t    now_ms;   /* at the start of this turn */
    uint64_t   dice;
    bool       publisher_is_up, consumer_is_up; /* as told */
    bool       is_stopped;

    struct notes    said;             /* to be told at the end of the turn */
    struct request *soonest, *latest; /* not yet answered, by deadline */
    int64_t         unanswered;

    struct conn      conns[CONN_COUNT];
    struct publisher publisher;
    struct consumer  consumer;
    struct browser   browser;
};

/* loop.c */
void   loop_begin_turn(struct broker *b); /* what time is it? */
void   loop_end_turn(struct broker *b);   /* tells, sends, sets the clock; b may be stopped afterwards */
void   loop_want_turn(struct broker *b);  /* one more, before the loop sleeps */
void   loop_say(struct broker *b, struct note *taken);
void   loop_say_flag(struct broker *b, enum note_type type, bool flag);
double loop_dice(struct broker *b); /* in [0, 1) */
void   loop_add_deadline(struct broker *b, struct request *r);
void   loop_end_request(struct broker *b, struct request *r, enum broker_outcome outcome);
void   loop_tell(struct broker *b); /* all that was said */
void   request_free(struct request *r);

/* conn.c */
void        conn_init(struct conn *c, struct broker *b, int role);
void        conn_fini(struct conn *c);
void        conn_on_time(struct conn *c); /* whatever is due by now */
int64_t     conn_wake_ms(const struct conn *c);
void        conn_flush(struct conn *c);     /* sends what waits; sets what to poll for */
void        conn_goodbye(struct broker *b); /* closes both, in order where the broker answers; waits for a moment */
void        conn_topology_stands(struct conn *c);
const char *conn_role_name(const struct conn *c);
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

/* login.c */
void login_on_start(struct conn *c);
void login_on_tune(struct conn *c, const amqp_connection_tune_t *tune);

/* frames.c */
void frames_method(struct conn *c, int channel, amqp_method_number_t method, void *decoded);
/* Appends a publish. False, and nothing appended: it does not fit into the peer's frames. */
bool         frames_publish(struct conn *c, int channel, const char *exchange, const char *key, const struct msg *m,
                            const struct buf *head); /* head: its properties, encoded; NULL: those of m */
void         frames_heartbeat(struct conn *c);
void         frames_protocol_header(struct conn *c);
void         frames_read(struct conn *c);  /* reads what is there, calls conn_on_frame for each */
void         frames_flush(struct conn *c); /* writes what the socket takes */
size_t       frames_unwritten(const struct conn *c);
void         frames_reset(struct conn *c);
amqp_bytes_t bytes_of(const char *text);

/* control.c */
void     control_start(struct conn *c); /* opens the channel; the topology follows */
void     control_stop(struct conn *c);
void     control_on_method(struct conn *c, const struct frame *f);
void     control_on_connection_close(struct conn *c, const amqp_connection_close_t *close);
unsigned control_want_topology(struct conn *c); /* returns the round that will include this wish */
void     control_want_depths(struct conn *c);
void     control_step(struct conn *c); /* starts what is wanted */

/* topology.c */
int         topology_steps(const struct broker *b);
void        topology_send(struct conn *c, int channel, int step);
void        topology_describe(const struct broker *b, int step, char out[QUEUE_NAME_BYTES + 16]);
void        topology_work_queue(const char *kind, char out[QUEUE_NAME_BYTES]);
void        topology_delay(int rung, char out[QUEUE_NAME_BYTES]); /* the exchange's name and the queue's */
const char *topology_dead_queue(void);

/* publish.c */
void publish_start(struct conn *c);  /* the topology stands: confirm.select */
void publish_stop(struct broker *b); /* the connection is gone */
void publish_take(struct broker *b, struct request *taken);
void publish_expire(struct broker *b, struct request *r); /* its deadline was answered */
void publish_set_blocked(struct conn *c, bool is_blocked);
void publish_on_method(struct conn *c, const struct frame *f);
void publish_on_content(struct conn *c, const struct frame *f);
void publish_pump(struct broker *b);

/* consume.c */
void    consume_start(struct conn *c);
void    consume_stop(struct broker *b);
void    consume_topology_stands(struct conn *c);
void    consume_on_method(struct conn *c, const struct frame *f);
void    consume_on_content(struct conn *c, const struct frame *f);
void    consume_begin(struct broker *b, int channel, int kind);
void    consume_end(struct broker *b, int channel);
void    consume_ack(struct broker *b, const struct delivery *d);
void    consume_nack(struct broker *b, const struct delivery *d, bool requeue);
void    consume_on_time(struct conn *c);
int64_t consume_wake_ms(const struct broker *b);

/* browse.c */
void    browse_stop(struct broker *b); /* the connection is gone */
void    browse_pump(struct broker *b); /* begins the next look */
void    browse_on_frame(struct conn *c, const struct frame *f);
void    browse_on_time(struct broker *b);
int64_t browse_wake_ms(const struct broker *b);
void    look_end(struct look *taken); /* calls back, and frees */
void    browse_letter_read(struct broker *b);

/* letter.c: what the consumer on the dead queue is given; the look at work keeps what it wants */
void letter_begin(struct broker *b, const amqp_basic_deliver_t *deliver);
void letter_on_header(struct conn *c, const struct frame *f);
void letter_on_body(struct conn *c, const struct frame *f);
void letter_drop(struct browser *w); /* one that has not arrived whole */

/* burial.c */
/* Appends the header frame's payload of d in the dead queue. */
void burial_encode(const struct delivery *d, const char *reason, const char *queue, struct buf *out);
/* Fills a zeroed letter, its msg too; an id only where there is a valid message-id. */
void burial_read(const struct broker *b, amqp_bytes_t payload, amqp_pool_t *pool, struct dead_letter *l);

/* wire.c */
/* The properties in a header frame, decoded into the pool; NULL when they cannot be. */
const amqp_basic_properties_t *wire_properties(amqp_bytes_t payload, amqp_pool_t *pool);
/* Appends class, size and properties: the payload of a header frame. False when it takes more than room. */
bool wire_encode(const struct msg *m, amqp_bytes_t room, size_t *len);
/* The message of a header frame; payload is as received. Never NULL; bad says what is wrong with it. */
struct msg *wire_decode(amqp_bytes_t payload, amqp_pool_t *pool, const char *kind, struct fault *bad);
/* The message-id in a header frame, "" when there is none. */
void     wire_message_id(amqp_bytes_t payload, amqp_pool_t *pool, char out[JOB_ID_BYTES]);
uint64_t wire_body_size(amqp_bytes_t payload);

/* Big-endian integers at p. */
uint16_t get16(const void *p);
uint32_t get32(const void *p);
uint64_t get64(const void *p);
void     put16(void *p, uint16_t value);
void     put32(void *p, uint32_t value);
void     put64(void *p, uint64_t value);

#endif
