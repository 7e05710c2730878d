/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of the store share; nobody else includes it.
 *
 *   calls_*.c --call_run--> call.c --link_send--> adapter.c --> hiredis
 *                             ^                                    |
 *   boot.c: epoch, replay of ring.c                reply.c <-- answers, in order
 */
#ifndef MILLRACE_STORE_INTERNAL_H
#define MILLRACE_STORE_INTERNAL_H

#include <hiredis/async.h>

#include "common/buf.h"
#include "common/store/store.h"
#include "common/store/store_scripts.h" /* made by embed.cmake: enum script */

/* ---- the Lua texts, made by embed.cmake -------------------------------- */

struct script_text {
    const char *name;
    const char *sha; /* SHA-1 in hex */
    const char *text;
    size_t      len;
};
extern const struct script_text scripts[SCRIPT_COUNT];

/* ---- url.c ------------------------------------------------------------- */

struct redis_url {
    char host[256]; /* a path when port is 0 */
    char user[128], password[256];
    int  port, db;
};
/* name: of the setting that it was. */
enum err redis_url_parse(const char *text, const char *name, struct redis_url *out, struct fault *why) MUST_CHECK;

/* ---- adapter.c: one connection on the loop ------------------------------ */

struct link;
struct link_events {
    void (*up)(void *ctx);                    /* TCP is connected */
    void (*down)(void *ctx, const char *why); /* the last call; all replies came before, as NULL */
};

/* Begins to connect to a numeric address; NULL when that fails at once. The
 * link lives until down or link_close. */
struct link       *link_open(uv_loop_t *loop, const char *ip, int port, const struct link_events *events, void *ctx);
redisAsyncContext *link_context(struct link *l);

/* Ends it without a down event; outstanding replies come as NULL, from inside
 * this call or, inside a reply's callback, right after it. Accepts NULL. */
void link_close(struct link *l);

/* ---- call.c: one script call -------------------------------------------- */

#define CALL_HEAD 160 /* room in front of the arguments for what changes: sha, epoch, counts */

struct call {
    struct call  *next;
    struct store *store;
    enum script   script;
    int           argc;    /* arguments behind the epoch */
    bool          by_text; /* EVAL instead of EVALSHA: the server did not know it */
    bool          is_replay;
    uint64_t      sent_ms; /* loop clock */
    struct buf    bytes;   /* CALL_HEAD, then the arguments as RESP */
    store_fn     *fn;      /* NULL: nobody listens */
    void         *ctx;
    struct lease *lease;                 /* claim */
    char          subject[JOB_ID_BYTES]; /* job id, or kind, for logs and replays */
    char          kind[KIND_BYTES];      /* of a member: it may be cancelled by this; else "" */
};

struct call *call_new(struct store *s, enum script script, store_fn *fn, void *ctx);
void         call_free(struct call *c);
void         call_bytes(struct call *c, const void *p, size_t len);
void         call_text(struct call *c, const char *text);
void         call_int(struct call *c, int64_t value);

/* The call that store_fail makes. class: as fail.lua knows it. */
struct call *call_fail(struct store *s, const struct lease *l, const char *class, const char *code, const char *detail,
                       int64_t wait_ms);

/* Adds the `born` argument: what a lost record is made of again, as JSON. l: NULL before a claim. */
void call_born(struct call *c, const struct msg *m, const struct lease *l);

#define ATTEMPTS_MAX 100 /* that a message may ask for */

/* Runs that this job may spend on errors. */
int64_t attempts_of(const struct store *s, const struct msg *m);

/* Takes c: sends it, keeps it while the store boots, or answers STORE_DOWN on
 * the loop's next round. */
void call_run(struct call *c);

/* Takes c: puts it on the connection whatever the phase. */
void call_send(struct call *c);

struct call_list {
    struct call *first, **last;
};
void         call_list_init(struct call_list *list);
void         call_list_add(struct call_list *list, struct call *c);
struct call *call_list_take(struct call_list *list);

/* Takes c and tells its listener that there was no answer. */
void call_down(struct call *c);

/* ---- reply.c ------------------------------------------------------------- */

/* Room for the parts of a store_reply. */
struct reply_parts {
    struct store_reply reply;
    struct record      record;
    struct store_set   set;
    struct record     *records; /* owned */
    struct store_item *items;   /* owned */
    int64_t           *fences;  /* owned */
    int64_t            started_ms, until_ms;
    int64_t            losses;   /* RUN: as in the lease */
    bool               is_visit; /* RUN: as in the lease */
};

/* False when the reply has not the shape this script promises. */
bool reply_read(const struct call *c, const redisReply *r, struct reply_parts *out);
void reply_free(struct reply_parts *parts);

/* The same for what is told of a job that has ended: epoch, record, perhaps the result. */
bool reply_read_notice(const char *id, const redisReply *r, struct reply_parts *out);

/* ---- notice.c ------------------------------------------------------------- */

struct notice {
    unsigned char     *bytes; /* owned; value and parts point into it */
    redisReply         value; /* not hiredis' own */
    struct reply_parts parts;
};

/* Reads the packed text; false: nothing that could be understood. To be freed either way. */
bool notice_read(const char *id, const char *bytes, size_t len, struct notice *out);
void notice_free(struct notice *n);

/* ---- ring.c --------------------------------------------------------------- */

struct ring {
    struct ring_block *first, *last; /* NULL when empty */
    size_t             bytes;        /* of all blocks */
    bool               has_dropped;  /* said so already, since it was last empty */
};
void ring_init(struct ring *ring);
void ring_free(struct ring *ring);

/* Remembers c if its answer confirmed a transition that must survive. */
void ring_keep(struct store *s, const struct call *c, const struct reply_parts *parts);

/* Forgets what the server has outlived by 5 s: alive_ms is its last sign of life (loop clock). */
void ring_trim(struct ring *ring, uint64_t alive_ms);

/* Sends everything again, in order, and counts it as young. Returns how many. */
int ring_replay(struct store *s);

/* ---- subscribe.c ----------------------------------------------------------- */

struct subscription;
struct subscription *subscription_new(struct store *s);
void                 subscription_start(struct subscription *sub, const char *ip);
void                 subscription_stop(struct subscription *sub);
void                 subscription_free(struct subscription *sub); /* accepts NULL */

/* ---- boot.c ------------------------------------------------------------------ */

/* A connection is there: log in, load, boot, replay. */
void boot_start(struct store *s);

/* A script met another epoch: boot again on this connection. */
void boot_again(struct store *s);

/* Of a replica that is up: asks whether it still follows its primary, and gives the connection up if not. */
void boot_check(struct store *s);

/* The last replayed call has its answer. */
void boot_replayed(struct store *s);

/* Sends AUTH and SELECT as the URL asks; check gets their replies. */
void boot_login(redisAsyncContext *ac, const struct redis_url *url, redisCallbackFn *check, void *ctx);

/* ---- store.c --------------------------------------------------------------- */

enum phase {
    PHASE_AWAY,   /* no connection, or logging in for the first time: calls answer DOWN */
    PHASE_BOOT,   /* was up, met a new epoch: calls wait */
    PHASE_REPLAY, /* the ring is under way: calls wait */
    PHASE_UP,
    PHASE_CLOSED,
};

struct reservation { /* of an outbox entry that this process has taken */
    char    id[JOB_ID_BYTES];
    int64_t until_ms;
};

struct store {
    uv_loop_t          *loop;
    struct store_config config;
    struct redis_url    url;
    struct store_events events;
    void               *ctx;

    enum phase       phase;
    struct link     *link;
    uv_getaddrinfo_t resolving;
    bool             is_resolving, is_connected, was_up;
    bool             follows_nobody; /* the server of a replica's url */
    char             ip[256];        /* or the path */
    int64_t          epoch;
    char             epoch_text[24];
    char             run_id[48];

    struct call_list sent;    /* on the connection, in order */
    struct call_list waiting; /* for the end of a boot */
    struct call_list refused; /* to be answered DOWN by the idle handle */
    int              replaying;

    struct ring          ring;
    struct subscription *subscription; /* NULL when nobody listens */
    struct reservation  *reservations;
    size_t               reservation_count;

    uv_idle_t  refuser;
    uv_timer_t again;   /* next connect */
    uv_timer_t silence; /* runs while something is outstanding */
    uv_timer_t trimmer; /* runs while the ring has entries */
    int        open_handles;
    uint64_t   heard_ms;     /* loop time of the last sign of life */
    uint64_t   owed_ms;      /* since then the server owes an answer */
    int        failures;     /* connects since it was last up */
    char       trouble[128]; /* last reason that was logged */
};

/* Drops the connection, says why, and connects again after a while. */
void store_lose(struct store *s, const char *why);

/* To be called before each command: the server will owe an answer. */
void store_expect(struct store *s);

/* Booted, nothing left to replay: sends what waited. */
void store_set_up(struct store *s);

/* Idle callback: answers what was called while there was no connection. */
void store_on_refuse(uv_idle_t *idle);

/* The ring has an entry: see to it that it is forgotten in time. */
void store_trim_later(struct store *s);

/* Backoff with jitter before connect number failures + 1. */
uint64_t store_backoff_ms(int failures);

/* ---- calls_gateway.c --------------------------------------------------------- */

#define RESERVED_KEPT_MS 60000 /* a reservation over for so long will not be published any more */

/* This process has taken these outbox entries; `done` has to name the reservation. */
void reservations_add(struct store *s, const struct store_item *items, size_t count, int64_t until_ms);

#endif
