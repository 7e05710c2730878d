/* SPDX-License-Identifier: Apache-2.0 */
/* broker.c - the public face: starting, stopping, and calls that become notes.
 *
 * What is called in one turn of the loop is handed to the thread together, at
 * the turn's end, with at most one wake-up.
 */
#include "broker_impl.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

#define STOP_MS 600       /* until a thread that does not come is given a push */
#define STOP_AGAIN_MS 300 /* and after it */

/* ---- from the loop to the thread ---- */

static void wake_thread(struct broker *b)
{
    uint64_t one = 1;

    (void)!write(b->wake_fd, &one, sizeof one); /* cannot fail: the counter never gets near its end */
}

static void hand_over(struct broker *b)
{
    bool sleeps;

    if (!b->outgoing.first)
        return;
    pthread_mutex_lock(&b->lock);
    notes_append(&b->commands, &b->outgoing);
    sleeps = b->thread_sleeps;
    b->thread_sleeps = false;
    pthread_mutex_unlock(&b->lock);
    if (sleeps)
        wake_thread(b);
}

static void on_turn(uv_idle_t *turn)
{
    struct broker *b = turn->data;

    uv_idle_stop(&b->turn);
    hand_over(b);
    notes_append(&b->inbox, &b->refused);
    loop_deliver(b);
}

static void say(struct broker *b, struct note *taken)
{
    if (b->is_stopped) { /* called back by broker_stop: there is nobody to tell */
        note_free(taken);
        return;
    }
    notes_push(&b->outgoing, taken);
    uv_idle_start(&b->turn, on_turn);
}

static void say_channel(struct broker *b, enum note_type type, int channel, int kind)
{
    struct note *n = note_new(type, channel);

    n->kind = kind;
    n->generation = b->generations[channel];
    say(b, n);
}

static void say_delivery(struct broker *b, enum note_type type, const struct delivery *d)
{
    struct note *n = note_new(type, d->channel);

    n->generation = d->generation;
    n->tag = d->tag;
    say(b, n);
}

/* ---- starting ---- */

static enum err read_url(struct broker *b, const char *url, struct fault *why)
{
    int status;

    b->url = xstrdup(url);
    status = amqp_parse_url(b->url, &b->account);
    if (status != AMQP_STATUS_OK)
        return fault_set(why, ERR_CONFIG, "MILLRACE_AMQP_URL must read amqp://user:password@host:port/vhost: %s",
                         amqp_error_string2(status));
    if (b->account.ssl)
        return fault_set(why, ERR_CONFIG, "MILLRACE_AMQP_URL must begin with amqp://: amqps is not supported");
    return ERR_OK;
}

static void init_handles(struct broker *b)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&b->async, (uv_handle_t *)&b->turn, (uv_handle_t *)&b->deadlines,
                              (uv_handle_t *)&b->watchdog};

    uv_async_init(b->loop, &b->async, loop_on_async);
    uv_idle_init(b->loop, &b->turn);
    uv_timer_init(b->loop, &b->deadlines);
    uv_timer_init(b->loop, &b->watchdog);
    uv_timer_start(&b->watchdog, loop_on_watchdog, 1000, 1000);
    b->handles = sizeof handles / sizeof *handles;
    for (int i = 0; i < b->handles; i++)
        handles[i]->data = b;
}

static void init_lock(struct broker *b)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&b->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void free_broker(struct broker *b)
{
    if (b->wake_fd >= 0)
        close(b->wake_fd);
    pthread_cond_destroy(&b->ended);
    pthread_mutex_destroy(&b->lock);
    free(b->consumer.chans);
    free(b->generations);
    free(b->url);
    free(b);
}

/* Signals are the loop's: the thread starts with all of them blocked. */
static int start_thread(struct broker *b)
{
    sigset_t all, before;
    int      status;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    status = pthread_create(&b->thread, NULL, thread_main, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status == 0)
        pthread_setname_np(b->thread, "broker");
    return status;
}

enum err broker_start(uv_loop_t *loop, const struct broker_config *config,
                      const struct broker_events *events, void *ctx, struct broker **out,
                      struct fault *why)
{
    struct broker *b = xcalloc(1, sizeof *b);
    enum err       e;

    b->config = *config;
    b->events = events;
    b->ctx = ctx;
    b->loop = loop;
    b->armed_ms = INT64_MAX;
    b->fds[CONN_PUBLISH] = b->fds[CONN_CONSUME] = -1;
    b->dice = (uint64_t)mono_us() << 20 ^ (uint64_t)getpid() ^ 1;
    b->generations = xcalloc((size_t)config->channels, sizeof *b->generations);
    b->consumer.chans = xcalloc((size_t)config->channels, sizeof *b->consumer.chans);
    for (int i = 0; i < config->channels; i++)
        b->consumer.chans[i].reopen_ms = INT64_MAX;
    for (int i = 0; i < CONN_COUNT; i++)
        conn_init(&b->conns[i], b, i);
    init_lock(b);
    b->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e = read_url(b, config->url, why);
    if (!e && b->wake_fd < 0)
        e = fault_set(why, ERR_IO, "eventfd: %s", strerror(errno));
    if (e) {
        free_broker(b);
        return e;
    }
    init_handles(b);
    if (start_thread(b) != 0) {
        log_event(LOG_ERROR, "broker-no-thread", "");
        abort(); /* as without memory: a daemon that cannot have its one thread cannot run */
    }
    *out = b;
    return ERR_OK;
}

/* ---- stopping ---- */

/* Whether the thread has ended within wait_ms. */
static bool await_end(struct broker *b, int64_t wait_ms)
{
    int64_t         until_us = mono_us() + wait_ms * 1000;
    struct timespec until = {.tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000};
    bool            is_ended;

    pthread_mutex_lock(&b->lock);
    while (!b->is_ended && pthread_cond_timedwait(&b->ended, &b->lock, &until) == 0)
        ;
    is_ended = b->is_ended;
    pthread_mutex_unlock(&b->lock);
    return is_ended;
}

/* Ends the thread. False: it hangs where nobody can reach it (the resolver). */
static bool end_thread(struct broker *b)
{
    bool is_ended;

    hand_over(b);
    pthread_mutex_lock(&b->lock);
    b->stop_wanted = true;
    pthread_mutex_unlock(&b->lock);
    wake_thread(b);
    is_ended = await_end(b, STOP_MS);
    if (!is_ended) {
        loop_shut_down(b);
        is_ended = await_end(b, STOP_AGAIN_MS);
    }
    if (is_ended)
        pthread_join(b->thread, NULL);
    else
        pthread_detach(b->thread);
    return is_ended;
}

/* Answers and frees what is in a list. Those the thread had not returned were never sent. */
static void drain(struct broker *b, struct notes *notes)
{
    struct note *n;

    while ((n = notes_pop(notes))) {
        if (n->type != NOTE_PUBLISH) {
            note_free(n);
            continue;
        }
        loop_end_request(b, (struct request *)n, ((struct request *)n)->outcome);
        request_free((struct request *)n);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct broker *b = handle->data;

    if (--b->handles == 0 && !b->is_abandoned)
        free_broker(b);
}

static void close_handles(struct broker *b)
{
    uv_close((uv_handle_t *)&b->async, on_closed);
    uv_close((uv_handle_t *)&b->turn, on_closed);
    uv_close((uv_handle_t *)&b->deadlines, on_closed);
    uv_close((uv_handle_t *)&b->watchdog, on_closed);
}

void broker_stop(struct broker *b)
{
    struct notes answers = {NULL, NULL};
    bool         is_ended;

    if (!b)
        return;
    is_ended = end_thread(b);
    b->is_stopped = true;
    b->publisher_is_up = b->consumer_is_up = false;
    pthread_mutex_lock(&b->lock);
    b->is_abandoned = !is_ended; /* then it keeps b, and all that it has */
    notes_append(&answers, &b->answers);
    pthread_mutex_unlock(&b->lock);
    drain(b, &b->inbox);
    drain(b, &answers);
    if (is_ended)
        drain(b, &b->commands);
    while (b->soonest)
        loop_end_request(b, b->soonest, BROKER_UNKNOWN);
    drain(b, &b->refused); /* also what was called back into a stopped broker */
    if (!is_ended)
        log_event(LOG_WARN, "broker-thread-left", "reason=\"it hangs in the resolver\"");
    close_handles(b);
}

/* ---- calls ---- */

void broker_publish(struct broker *b, struct msg *m, enum broker_target to, int rung,
                    int64_t deadline_ms, broker_publish_fn *done, void *ctx)
{
    struct request *r = xcalloc(1, sizeof *r);

    assert(done && rung >= 0);
    r->note.type = NOTE_PUBLISH;
    r->msg = msg_ref(m);
    r->to = to;
    r->rung = rung;
    r->outcome = BROKER_DOWN; /* until the thread knows better */
    r->done = done;
    r->ctx = ctx;
    r->deadline_ms = mono_ms() + deadline_ms;
    b->unanswered++;
    loop_add_deadline(b, r);
    notes_push(b->publisher_is_up ? &b->outgoing : &b->refused, &r->note);
    if (!b->is_stopped)
        uv_idle_start(&b->turn, on_turn);
}

void broker_consume(struct broker *b, int channel, int kind) { say_channel(b, NOTE_CONSUME, channel, kind); }

void broker_unconsume(struct broker *b, int channel) { say_channel(b, NOTE_UNCONSUME, channel, 0); }

void broker_ack(struct broker *b, const struct delivery *d) { say_delivery(b, NOTE_ACK, d); }

void broker_nack(struct broker *b, const struct delivery *d, bool requeue)
{
    say_delivery(b, requeue ? NOTE_REQUEUE : NOTE_NACK, d);
}

void broker_ask_depths(struct broker *b) { say(b, note_new(NOTE_ASK_DEPTHS, 0)); }

bool broker_publisher_is_up(const struct broker *b) { return b->publisher_is_up; }

bool broker_consumer_is_up(const struct broker *b) { return b->consumer_is_up; }

int64_t broker_confirms_outstanding(const struct broker *b) { return b->unanswered; }
