/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - the broker's thread: sleep in poll, then one turn of everything.
 *
 * A turn takes all commands at once, reads both sockets, lets every clock that
 * is due ring, sends with one call per socket and gives all its answers to the
 * loop at once. Nothing in it waits, save the resolver.
 */
#include "broker_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"

#define GOODBYE_MS 400 /* for connection.close and its answer, at the end */

void thread_say(struct broker *b, struct note *taken) { notes_push(&b->said, taken); }

void thread_say_flag(struct broker *b, enum note_type type, bool flag)
{
    struct note *n = note_new(type, 0);

    n->flag = flag;
    thread_say(b, n);
}

double thread_dice(struct broker *b)
{
    b->dice ^= b->dice << 13; /* xorshift64: spreads reconnects, no more is asked of it */
    b->dice ^= b->dice >> 7;
    b->dice ^= b->dice << 17;
    return (double)(b->dice >> 11) / 9007199254740992.0;
}

/* Hands what was said to the loop; one wake-up as long as it has not listened. */
static void speak(struct broker *b)
{
    if (!b->said.first)
        return;
    pthread_mutex_lock(&b->lock);
    if (!b->answers.first && !b->is_abandoned)
        uv_async_send(&b->async); /* under the lock: afterwards the handle may be closing */
    notes_append(&b->answers, &b->said);
    pthread_mutex_unlock(&b->lock);
}

static void ask_depths(struct broker *b)
{
    struct conn *c = &b->conns[b->config.channels ? CONN_CONSUME : CONN_PUBLISH];

    if (c->is_up && !c->is_blocked)
        control_want_depths(c);
}

static void obey(struct broker *b, struct notes *commands)
{
    struct note *n;

    while ((n = notes_pop(commands))) {
        if (n->type == NOTE_PUBLISH) {
            publish_take(b, (struct request *)n);
            continue;
        }
        if (n->type == NOTE_ASK_DEPTHS)
            ask_depths(b);
        else
            consume_on_command(b, n);
        note_free(n);
    }
}

/* ---- sleeping ---- */

static int64_t next_wake_ms(const struct broker *b)
{
    int64_t wake = consume_wake_ms(b);

    for (int i = 0; i < CONN_COUNT; i++)
        if (conn_wake_ms(&b->conns[i]) < wake)
            wake = conn_wake_ms(&b->conns[i]);
    return wake;
}

/* Whether commands wait; otherwise the next one writes to wake_fd. */
static bool may_not_sleep(struct broker *b)
{
    bool is_busy;

    pthread_mutex_lock(&b->lock);
    is_busy = b->commands.first || (b->stop_wanted && !b->stop_seen);
    b->thread_sleeps = !is_busy;
    pthread_mutex_unlock(&b->lock);
    return is_busy;
}

static void wait_for_work(struct broker *b, int64_t until_ms, short revents[CONN_COUNT])
{
    struct pollfd fds[1 + CONN_COUNT] = {{.fd = b->wake_fd, .events = POLLIN}};
    int64_t       wait = until_ms - mono_ms();
    uint64_t      count;

    for (int i = 0; i < CONN_COUNT; i++)
        fds[1 + i] = (struct pollfd){.fd = b->conns[i].fd, .events = b->conns[i].events}; /* fd -1: left out */
    if (wait < 0 || may_not_sleep(b))
        wait = 0;
    atomic_store(&b->busy_since_ms, 0);
    if (poll(fds, 1 + CONN_COUNT, wait > 60000 ? 60000 : (int)wait) < 0)
        for (int i = 0; i <= CONN_COUNT; i++)
            fds[i].revents = 0; /* EINTR: as if nothing had happened */
    b->now_ms = mono_ms();
    atomic_store(&b->busy_since_ms, b->now_ms);
    if (fds[0].revents)
        (void)!read(b->wake_fd, &count, sizeof count); /* resets it; nobody else reads, so it cannot fail */
    for (int i = 0; i < CONN_COUNT; i++)
        revents[i] = fds[1 + i].revents;
}

/* Returns whether the loop wants the end. */
static bool take_commands(struct broker *b, struct notes *commands)
{
    pthread_mutex_lock(&b->lock);
    b->thread_sleeps = false;
    notes_append(commands, &b->commands);
    b->stop_seen = b->stop_wanted;
    pthread_mutex_unlock(&b->lock);
    return b->stop_seen;
}

/* ---- one turn ---- */

static bool turn(struct broker *b, int64_t until_ms)
{
    struct notes commands = {NULL, NULL};
    short        revents[CONN_COUNT];
    bool         is_end;

    wait_for_work(b, until_ms, revents);
    is_end = take_commands(b, &commands);
    for (int i = 0; i < CONN_COUNT; i++)
        if (revents[i] && b->conns[i].fd >= 0)
            conn_on_poll(&b->conns[i], revents[i]);
    obey(b, &commands);
    for (int i = 0; i < CONN_COUNT; i++)
        conn_on_time(&b->conns[i]);
    consume_on_time(&b->conns[CONN_CONSUME]);
    publish_pump(b);
    for (int i = 0; i < CONN_COUNT; i++)
        if (frames_unwritten(&b->conns[i]))
            frames_flush(&b->conns[i]);
    speak(b);
    return is_end;
}

/* Says goodbye, so that acks and publishes before it have surely arrived. */
static void leave(struct broker *b)
{
    int64_t until_ms = b->now_ms + GOODBYE_MS;
    bool    is_going = true;

    for (int i = 0; i < CONN_COUNT; i++)
        conn_close(&b->conns[i]);
    while (is_going && b->now_ms < until_ms) {
        is_going = false;
        for (int i = 0; i < CONN_COUNT; i++) {
            if (b->conns[i].state == CONN_CLOSING && frames_unwritten(&b->conns[i]))
                frames_flush(&b->conns[i]);
            is_going |= b->conns[i].state == CONN_CLOSING;
        }
        if (is_going)
            turn(b, until_ms);
    }
    for (int i = 0; i < CONN_COUNT; i++)
        if (b->conns[i].state == CONN_CLOSING)
            conn_fail(&b->conns[i], "no answer to the goodbye");
    speak(b);
}

void *thread_main(void *broker)
{
    struct broker *b = broker;

    b->now_ms = mono_ms();
    while (!turn(b, next_wake_ms(b)))
        ;
    leave(b);
    for (int i = 0; i < CONN_COUNT; i++)
        conn_fini(&b->conns[i]);
    atomic_store(&b->busy_since_ms, 0);
    pthread_mutex_lock(&b->lock);
    b->is_ended = true;
    pthread_cond_signal(&b->ended);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}
