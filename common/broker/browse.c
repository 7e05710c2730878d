/* SPDX-License-Identifier: Apache-2.0 */
/* browse.c - looks: the dead queue read, held and settled; messages counted.
 *
 *   FREE -> LOCKING -> COUNTING -> READING -> CANCELLING -> RETURNING -> CLOSING -> FREE
 *             |  ^         |                      \ (found) -> HELD -> /      ^
 *            WAITING       \ (a count, or nothing there) ------------------/
 *
 * All of the first DEAD_READ_MAX messages are read whatever is wanted of them,
 * by one consumer with that prefetch, and returned in at most 32 portions of 32:
 * within larger ones, and among more of them, a quorum queue keeps no order. What
 * was returned is back a little later: the lock is kept until the broker counts it
 * again, or the next reader would miss it. Only of what is looked for is the body
 * kept. The queue's x-delivery-limit is far beyond the looks of a life.
 */
#include "common/broker/browse.h"
#include "common/broker/broker_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/retry.h"

#define LOCK_QUEUE "millrace.dead.lock"
#define CONSUMER_TAG "browse"
#define PORTION 32    /* messages that one nack returns */
#define LOOK_MS 10000 /* for one look, also until it begins */
#define LOCK_MS 50    /* between two tries for the lock */
#define BACK_MS 5     /* between two looks at whether what was returned is back */
#define QUIET_MS 2000 /* no further message: somebody else has taken it */

static struct conn *conn_of(struct broker *b) { return &b->conns[CONN_PUBLISH]; }

static void put(struct conn *c, amqp_method_number_t method, void *decoded)
{
    frames_method(c, BROWSE_CHANNEL, method, decoded);
}

_Static_assert(DEAD_READ_MAX <= 32 * PORTION, "they go back in their order");

/* ---- looks ---- */

static void free_letters(struct look *k)
{
    for (size_t i = 0; i < k->seen.count; i++)
        msg_free(k->letters[i].msg);
    free(k->letters);
    k->letters = NULL;
    k->seen.count = 0;
}

void look_end(struct look *taken)
{
    taken->seen.letters = taken->letters;
    taken->fn(taken->ctx, &taken->seen);
    free_letters(taken);
    free(taken->counts);
    free(taken);
}

static void answer(struct broker *b, struct look *taken, enum browse_outcome outcome)
{
    if (outcome != BROWSE_OK)
        free_letters(taken);
    taken->seen.outcome = outcome;
    loop_say(b, &taken->note);
}

/* Answers the look at work. */
static void answer_current(struct broker *b, enum browse_outcome outcome)
{
    struct look *k = b->browser.look;

    b->browser.look = NULL;
    if (k)
        answer(b, k, outcome);
}

static struct look *look_new(struct broker *b, enum look_type type, browse_fn *fn, void *ctx)
{
    struct look *k = xcalloc(1, sizeof *k);

    k->note.type = NOTE_BROWSED;
    k->type = type;
    k->fn = fn;
    k->ctx = ctx;
    loop_begin_turn(b); /* what follows counts from here */
    k->until_ms = b->now_ms + LOOK_MS;
    return k;
}

/* ---- letting go ---- */

static void unlock(struct broker *b)
{
    struct conn         *c = conn_of(b);
    amqp_queue_delete_t  unlock = {.queue = bytes_of(LOCK_QUEUE)};
    amqp_channel_close_t close = {.reply_code = AMQP_REPLY_SUCCESS, .reply_text = bytes_of("done")};

    if (b->browser.is_locked)
        put(c, AMQP_QUEUE_DELETE_METHOD, &unlock);
    b->browser.is_locked = false;
    put(c, AMQP_CHANNEL_CLOSE_METHOD, &close);
    b->browser.step = BROWSE_CLOSING;
    b->browser.wake_ms = b->now_ms + LOOK_MS;
}

/* Asks once more; the answer comes to on_back. */
static void ask_back(struct broker *b)
{
    amqp_queue_declare_t declare = {.queue = bytes_of(topology_dead_queue()), .passive = 1};

    put(conn_of(b), AMQP_QUEUE_DECLARE_METHOD, &declare);
    b->browser.wake_ms = b->browser.back_ms;
}

/* Somebody who takes messages by other means must not hold us up for long. */
static void on_back(struct broker *b, int64_t ready)
{
    if (ready >= b->browser.expected)
        unlock(b);
    else if (b->now_ms + BACK_MS < b->browser.back_ms)
        b->browser.wake_ms = b->now_ms + BACK_MS;
}

/* In portions; the last has also what was sent to us and not read. Tags are counted from 1 on a new channel. */
static void return_letters(const struct browser *w, struct conn *c)
{
    amqp_basic_nack_t nack = {.multiple = 1, .requeue = 1};

    for (uint64_t tag = PORTION; tag < w->arrived; tag += PORTION) {
        nack.delivery_tag = tag == w->taken_tag ? tag - 1 : tag; /* one that was acked is not known any more */
        put(c, AMQP_BASIC_NACK_METHOD, &nack);
    }
    nack.delivery_tag = 0; /* all */
    put(c, AMQP_BASIC_NACK_METHOD, &nack);
}

/* All that was delivered and is not settled goes back, in its order; then the lock, then the channel. */
static void close_channel(struct broker *b)
{
    struct browser *w = &b->browser;

    letter_drop(w);
    if (!w->arrived) {
        unlock(b);
        return;
    }
    return_letters(w, conn_of(b));
    w->arrived = 0;
    w->step = BROWSE_RETURNING;
    w->back_ms = b->now_ms + QUIET_MS;
    ask_back(b);
}

static void cancel_consumer(struct broker *b)
{
    amqp_basic_cancel_t cancel = {.consumer_tag = bytes_of(CONSUMER_TAG)};

    put(conn_of(b), AMQP_BASIC_CANCEL_METHOD, &cancel);
    b->browser.step = BROWSE_CANCELLING;
    b->browser.wake_ms = b->now_ms + LOOK_MS;
}

void browse_letter_read(struct broker *b)
{
    struct browser *w = &b->browser;

    w->wake_ms = b->now_ms + QUIET_MS;
    if (++w->arrived == w->wanted && w->step == BROWSE_READING)
        cancel_consumer(b);
}

/* No more deliveries come. Where some are missing nobody knows what they would have been. */
static void end_reading(struct broker *b)
{
    struct browser *w = &b->browser;

    if (w->look->type == LOOK_FIND && w->look->seen.count) {
        w->look->seen.hold = ++w->hold;
        w->step = BROWSE_HELD;
        w->wake_ms = INT64_MAX; /* whoever it was found for settles it, or the connection ends */
        answer_current(b, BROWSE_OK);
    } else {
        if (w->arrived < w->wanted)
            answer_current(b, BROWSE_DOWN);
        close_channel(b);
    }
}

/* ---- counting ---- */

static int declares_of(const struct broker *b, const struct look *k)
{
    return k->type == LOOK_COUNT ? RUNG_COUNT + b->config.kind_count : 1;
}

static void queue_of(const struct broker *b, const struct look *k, int i, char name[QUEUE_NAME_BYTES])
{
    if (k->type != LOOK_COUNT)
        snprintf(name, QUEUE_NAME_BYTES, "%s", topology_dead_queue());
    else if (i < RUNG_COUNT)
        topology_delay(i, name);
    else
        topology_work_queue(b->config.kinds[i - RUNG_COUNT], name);
}

static void start_counting(struct broker *b)
{
    struct browser *w = &b->browser;

    w->step = BROWSE_COUNTING;
    w->wake_ms = b->now_ms + LOOK_MS;
    for (int i = w->answered; i < declares_of(b, w->look); i++) {
        char                 name[QUEUE_NAME_BYTES];
        amqp_queue_declare_t declare = {.passive = 1};

        queue_of(b, w->look, i, name);
        declare.queue = bytes_of(name);
        put(conn_of(b), AMQP_QUEUE_DECLARE_METHOD, &declare);
    }
}

static void start_reading(struct broker *b)
{
    struct browser      *w = &b->browser;
    amqp_basic_qos_t     qos = {.prefetch_count = (uint16_t)w->wanted};
    amqp_basic_consume_t consume = {.queue = bytes_of(topology_dead_queue()), .consumer_tag = bytes_of(CONSUMER_TAG)};

    put(conn_of(b), AMQP_BASIC_QOS_METHOD, &qos);
    put(conn_of(b), AMQP_BASIC_CONSUME_METHOD, &consume);
    w->look->letters = xcalloc(w->wanted, sizeof *w->look->letters);
    w->step = BROWSE_READING;
    w->wake_ms = b->now_ms + QUIET_MS;
}

/* The next queue has so many; all are told: goes on. */
static void on_counted(struct broker *b, int64_t ready, int64_t consumers)
{
    struct browser *w = &b->browser;
    struct look    *k = w->look;
    int             i = w->answered++, kind = i - RUNG_COUNT;

    if (k->type != LOOK_COUNT) {
        k->seen.total = w->expected = ready;
        w->wanted = ready < DEAD_READ_MAX ? (size_t)ready : DEAD_READ_MAX;
    } else if (kind < 0) {
        k->seen.delayed += ready;
    } else {
        k->counts[kind] = ready;
        k->counts[b->config.kind_count + kind] = consumers;
    }
    if (w->answered < declares_of(b, k))
        return;
    if (k->type != LOOK_COUNT && w->wanted)
        start_reading(b);
    else
        close_channel(b);
}

/* ---- what the broker says ---- */

static void start_locking(struct broker *b)
{
    struct conn         *c = conn_of(b);
    amqp_channel_open_t  open = {.out_of_band = amqp_empty_bytes};
    amqp_queue_declare_t lock = {.queue = bytes_of(LOCK_QUEUE), .exclusive = 1};

    put(c, AMQP_CHANNEL_OPEN_METHOD, &open);
    b->browser.step = BROWSE_LOCKING;
    b->browser.wake_ms = b->browser.look->until_ms;
    b->browser.is_locked = b->browser.look->type != LOOK_COUNT; /* as good as: it is ours or refused */
    if (b->browser.is_locked)
        put(c, AMQP_QUEUE_DECLARE_METHOD, &lock);
    else
        start_counting(b);
}

static void on_close_ok(struct broker *b)
{
    struct look *k = b->browser.look;

    b->browser.step = BROWSE_FREE;
    if (k && k->type == LOOK_FIND)
        answer_current(b, BROWSE_NOT_FOUND);
    else
        answer_current(b, BROWSE_OK);
}

/* The channel was closed by the broker, and with it went what we held but the lock. */
static void on_closed(struct conn *c, const amqp_channel_close_t *close)
{
    struct broker          *b = c->b;
    struct browser         *w = &b->browser;
    amqp_channel_open_t     open = {.out_of_band = amqp_empty_bytes};
    amqp_channel_close_ok_t ok = {0};

    put(c, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    letter_drop(w);
    w->arrived = 0;
    if (w->step == BROWSE_CLOSING) { /* it was faster */
        on_close_ok(b);
        return;
    }
    if (w->step == BROWSE_LOCKING && close->reply_code == AMQP_RESOURCE_LOCKED) {
        w->is_locked = false;
        w->step = BROWSE_WAITING;
        w->wake_ms = b->now_ms + LOCK_MS + (int64_t)(LOCK_MS * loop_dice(b));
        return;
    }
    put(c, AMQP_CHANNEL_OPEN_METHOD, &open);
    if (w->step == BROWSE_RETURNING) { /* the queue was deleted behind the look */
        unlock(b);
        return;
    }
    if (w->step == BROWSE_COUNTING && close->reply_code == AMQP_NOT_FOUND) { /* the sweep of it goes on behind it */
        control_want_topology(c);
        on_counted(b, 0, 0);
        if (w->step == BROWSE_COUNTING)
            start_counting(b);
        return;
    }
    log_event(EVENT_BROKER_LOOK_FAILED, LOG_INT("code", close->reply_code),
              LOG_BYTES("reason", close->reply_text.bytes, close->reply_text.len));
    answer_current(b, BROWSE_DOWN);
    close_channel(b);
}

static void on_method(struct conn *c, const struct frame *f)
{
    struct broker  *b = c->b;
    struct browser *w = &b->browser;

    if (f->method == AMQP_CHANNEL_CLOSE_METHOD) {
        on_closed(c, f->decoded);
    } else if (f->method == AMQP_CHANNEL_CLOSE_OK_METHOD && w->step == BROWSE_CLOSING) {
        on_close_ok(b);
    } else if (f->method == AMQP_QUEUE_DECLARE_OK_METHOD && w->step == BROWSE_LOCKING) {
        start_counting(b);
    } else if (f->method == AMQP_QUEUE_DECLARE_OK_METHOD && w->step == BROWSE_COUNTING) {
        const amqp_queue_declare_ok_t *ok = f->decoded;

        on_counted(b, ok->message_count, ok->consumer_count);
    } else if (f->method == AMQP_QUEUE_DECLARE_OK_METHOD && w->step == BROWSE_RETURNING) {
        on_back(b, ((const amqp_queue_declare_ok_t *)f->decoded)->message_count);
    } else if (f->method == AMQP_BASIC_DELIVER_METHOD && (w->step == BROWSE_READING || w->step == BROWSE_CANCELLING)) {
        letter_begin(b, f->decoded);
    } else if ((f->method == AMQP_BASIC_CANCEL_OK_METHOD && w->step == BROWSE_CANCELLING) ||
               (f->method == AMQP_BASIC_CANCEL_METHOD && w->step == BROWSE_READING)) {
        end_reading(b); /* the latter: the queue was deleted */
    }
}

void browse_on_frame(struct conn *c, const struct frame *f)
{
    struct browser *w = &c->b->browser;

    if (f->type == AMQP_FRAME_METHOD)
        on_method(c, f);
    else if (!w->letter)
        return; /* of a look that was given up */
    else if (f->type == AMQP_FRAME_HEADER && !w->has_header)
        letter_on_header(c, f);
    else if (f->type == AMQP_FRAME_BODY && w->has_header)
        letter_on_body(c, f);
    else
        conn_fail(c, "the peer sent frames out of order");
}

/* ---- one look after the other ---- */

void browse_pump(struct broker *b)
{
    struct browser *w = &b->browser;
    struct conn    *c = conn_of(b);

    if (w->step != BROWSE_FREE || !w->waiting.first)
        return;
    if (!c->is_up || c->is_blocked) {
        while (w->waiting.first)
            answer(b, (struct look *)notes_pop(&w->waiting), BROWSE_DOWN);
        return;
    }
    w->look = (struct look *)notes_pop(&w->waiting);
    w->arrived = w->wanted = 0;
    w->taken_tag = 0;
    w->answered = 0;
    start_locking(b);
}

/* Gives the look at work up; what the broker still says to it is not heard. */
static void give_up(struct broker *b, enum browse_outcome outcome)
{
    bool is_open = b->browser.step != BROWSE_WAITING && b->browser.step != BROWSE_CLOSING;

    answer_current(b, outcome);
    b->browser.wake_ms = INT64_MAX;
    if (is_open)
        close_channel(b); /* which has times of its own: the lock must not outlive them */
    else if (b->browser.step == BROWSE_WAITING)
        b->browser.step = BROWSE_FREE;
}

void browse_on_time(struct broker *b)
{
    struct browser *w = &b->browser;

    while (w->waiting.first && ((struct look *)w->waiting.first)->until_ms <= b->now_ms)
        answer(b, (struct look *)notes_pop(&w->waiting), w->step == BROWSE_HELD ? BROWSE_BUSY : BROWSE_DOWN);
    if (w->step == BROWSE_FREE || w->wake_ms > b->now_ms)
        return;
    if (w->step == BROWSE_WAITING && w->look->until_ms > b->now_ms)
        start_locking(b);
    else if (w->step == BROWSE_READING)
        cancel_consumer(b);
    else if (w->step == BROWSE_RETURNING && w->back_ms > b->now_ms)
        ask_back(b);
    else if (w->step == BROWSE_RETURNING)
        unlock(b);
    else
        give_up(b, w->step == BROWSE_WAITING ? BROWSE_BUSY : BROWSE_DOWN);
}

int64_t browse_wake_ms(const struct broker *b)
{
    const struct browser *w = &b->browser;
    int64_t               wake = w->step == BROWSE_FREE ? INT64_MAX : w->wake_ms;
    const struct look    *next = (const struct look *)w->waiting.first;

    return next && next->until_ms < wake ? next->until_ms : wake;
}

void browse_stop(struct broker *b)
{
    struct browser *w = &b->browser;

    letter_drop(w);
    w->step = BROWSE_FREE;
    w->is_locked = false;
    answer_current(b, BROWSE_DOWN);
    while (w->waiting.first)
        answer(b, (struct look *)notes_pop(&w->waiting), BROWSE_DOWN);
}

/* ---- calls ---- */

static void begin(struct broker *b, struct look *taken)
{
    if (b->is_stopped)
        answer(b, taken, BROWSE_DOWN);
    else
        notes_push(&b->browser.waiting, &taken->note);
    loop_want_turn(b);
}

void broker_dead_list(struct broker *b, size_t limit, browse_fn *fn, void *ctx)
{
    struct look *k = look_new(b, LOOK_LIST, fn, ctx);

    k->limit = limit;
    begin(b, k);
}

void broker_dead_find(struct broker *b, const char *id, browse_fn *fn, void *ctx)
{
    struct look *k = look_new(b, LOOK_FIND, fn, ctx);

    snprintf(k->id, sizeof k->id, "%s", id);
    begin(b, k);
}

bool broker_dead_settle(struct broker *b, uint64_t hold, bool is_done, browse_fn *fn, void *ctx)
{
    struct browser  *w = &b->browser;
    amqp_basic_ack_t ack = {.delivery_tag = w->found_tag};

    if (w->step != BROWSE_HELD || w->hold != hold)
        return false;
    w->look = look_new(b, LOOK_SETTLE, fn, ctx);
    loop_want_turn(b);
    if (is_done) {
        put(conn_of(b), AMQP_BASIC_ACK_METHOD, &ack);
        w->taken_tag = w->found_tag;
        w->expected--;
    }
    close_channel(b);
    return true;
}

void broker_count(struct broker *b, browse_fn *fn, void *ctx)
{
    struct look *k = look_new(b, LOOK_COUNT, fn, ctx);

    k->counts = xcalloc((size_t)b->config.kind_count * 2, sizeof *k->counts);
    k->seen.ready = k->counts;
    k->seen.consumers = k->counts + b->config.kind_count;
    begin(b, k);
}
