/* SPDX-License-Identifier: Apache-2.0 */
/* floor_broker.c - what RabbitMQ gives to a C client that does nothing else.
 *
 *   publish  for --ms: persistent and mandatory, --window confirms outstanding
 *   flow     --jobs messages the same way, while --consumers consumers (a thread, a
 *            connection and prefetch 1 each, like a worker's slots) take and ack them
 *   idle     --jobs messages, one at a time, each waiting for its confirm
 *   purge    empties the queues named behind the options
 *
 * The queue is declared as the product declares its own. "start" is printed
 * when all is connected, one JSON line when the last confirm or delivery is
 * there: between the two a caller can read the CPU time of the broker.
 */
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "loadtest/amqp_link.h"
#include "loadtest/tool.h"

#define QUEUE "floor.work"
#define DEAD_QUEUE "floor.dead"
#define CONSUMERS_MAX 64
#define WINDOW_MAX 4096

struct options {
    const char *mode, *url;
    bool        is_quorum;
    long        bytes, ms, jobs, window, consumers;
};

/* ---- publishing ---------------------------------------------------------- */

struct publisher {
    amqp_connection_state_t link;
    amqp_bytes_t            body;
    long                    window;
    uint64_t                sent, oldest; /* tags: last published, oldest without confirm */
    long                    outstanding;
    int64_t                 sent_us[WINDOW_MAX]; /* by tag modulo; 0: confirmed */
    struct samples          latency;
};

static void publish(struct publisher *p)
{
    uint64_t tag = ++p->sent;

    /* The slot is free: tags between oldest and sent never span more than the ring. */
    if (tag - p->oldest >= WINDOW_MAX)
        tool_die("confirms are too far out of order");
    p->sent_us[tag % WINDOW_MAX] = tool_mono_us();
    p->outstanding++;
    link_publish(p->link, QUEUE, p->body);
}

static void settle(struct publisher *p, uint64_t tag, int64_t now_us)
{
    int64_t *sent_us = &p->sent_us[tag % WINDOW_MAX];

    if (!*sent_us)
        return;
    samples_add(&p->latency, now_us - *sent_us);
    *sent_us = 0;
    p->outstanding--;
}

/* Takes in one frame; only confirms are expected. */
static void take_confirm(struct publisher *p)
{
    amqp_frame_t      frame;
    amqp_basic_ack_t *ack;
    int64_t           now_us;

    if (!link_read(p->link, &frame))
        tool_die("the publishing connection ended");
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
        tool_die("the broker refused a message");
    now_us = tool_mono_us();
    ack = frame.payload.method.decoded;
    for (uint64_t tag = ack->multiple ? p->oldest : ack->delivery_tag; tag <= ack->delivery_tag; tag++)
        settle(p, tag, now_us);
    while (p->oldest <= p->sent && !p->sent_us[p->oldest % WINDOW_MAX])
        p->oldest++;
}

/* Waits for one confirm, then takes those that came with it. */
static void take_confirms(struct publisher *p)
{
    do
        take_confirm(p);
    while (amqp_data_in_buffer(p->link) && p->outstanding);
}

/* Keeps the window full until jobs are published (0: no limit) or the time is over, then waits for the rest. */
static void publish_all(struct publisher *p, uint64_t jobs, int64_t until_us)
{
    while ((!jobs || p->sent < jobs) && (!until_us || tool_mono_us() < until_us)) {
        while (p->outstanding < p->window && (!jobs || p->sent < jobs))
            publish(p);
        take_confirms(p);
    }
    while (p->outstanding)
        take_confirms(p);
}

static void publisher_init(struct publisher *p, const struct options *o)
{
    *p = (struct publisher){.link = link_open(o->url), .window = o->window, .oldest = 1};
    p->body = amqp_bytes_malloc((size_t)o->bytes);
    memset(p->body.bytes, 'x', p->body.len);
    link_declare(p->link, QUEUE, DEAD_QUEUE, o->is_quorum);
    link_purge(p->link, QUEUE);
    link_confirms(p->link);
}

static void publisher_fini(struct publisher *p)
{
    samples_free(&p->latency);
    amqp_bytes_free(p->body);
    amqp_destroy_connection(p->link);
}

/* The queue and what is left in it: on a connection of its own, since a channel
 * that is waited on for confirms knows no other answers. */
static void remove_queues(const char *url)
{
    amqp_connection_state_t link = link_open(url);

    link_delete(link, QUEUE);
    link_delete(link, DEAD_QUEUE);
    amqp_connection_close(link, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(link);
}

/* ---- consuming ----------------------------------------------------------- */

struct flow {
    uint64_t         jobs;
    _Atomic uint64_t taken;
    _Atomic int64_t  last_us; /* when the last one was delivered; 0 before */
};

struct consumer {
    pthread_t               thread;
    amqp_connection_state_t link;
    struct flow            *flow;
};

/* Reads one delivery to the end of its body; false when the connection ended. */
static bool read_delivery(amqp_connection_state_t link, uint64_t *tag)
{
    amqp_frame_t frame;
    uint64_t     missing;

    if (!link_read(link, &frame))
        return false;
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_DELIVER_METHOD)
        tool_die("a consumer got something else than a delivery");
    *tag = ((amqp_basic_deliver_t *)frame.payload.method.decoded)->delivery_tag;
    if (!link_read(link, &frame))
        return false;
    for (missing = frame.payload.properties.body_size; missing; missing -= frame.payload.body_fragment.len)
        if (!link_read(link, &frame))
            return false;
    return true;
}

static void *consume(void *ctx)
{
    struct consumer *c = ctx;
    uint64_t         tag;

    while (read_delivery(c->link, &tag)) {
        if (atomic_fetch_add(&c->flow->taken, 1) + 1 == c->flow->jobs)
            atomic_store(&c->flow->last_us, tool_mono_us());
        if (amqp_basic_ack(c->link, LINK_CHANNEL, tag, 0) != AMQP_STATUS_OK)
            break;
    }
    if (atomic_load(&c->flow->taken) < c->flow->jobs)
        tool_die("a consuming connection ended");
    return NULL;
}

static void consumers_start(struct consumer *all, long count, const char *url, struct flow *flow)
{
    for (long i = 0; i < count; i++) {
        all[i] = (struct consumer){.link = link_open(url), .flow = flow};
        link_consume(all[i].link, QUEUE);
        if (pthread_create(&all[i].thread, NULL, consume, &all[i]) != 0)
            tool_die("cannot start a thread");
    }
}

static void consumers_stop(struct consumer *all, long count)
{
    for (long i = 0; i < count; i++)
        shutdown(amqp_get_sockfd(all[i].link), SHUT_RD); /* an ack on its way out still goes */
    for (long i = 0; i < count; i++) {
        pthread_join(all[i].thread, NULL);
        amqp_destroy_connection(all[i].link);
    }
}

/* ---- the modes ------------------------------------------------------------ */

static void say_start(void)
{
    puts("start");
    fflush(stdout);
}

static void say_result(struct publisher *p, double seconds, double cpu_seconds)
{
    printf("{\"jobs\":%llu,\"seconds\":%.6f,\"per_second\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"client_cpu_seconds\":%.6f}\n",
           (unsigned long long)p->sent, seconds, (double)p->sent / seconds, samples_ms(&p->latency, 0.5),
           samples_ms(&p->latency, 0.99), cpu_seconds);
    fflush(stdout);
}

/* jobs: 0 for as many as the time allows. */
static void run_publish(const struct options *o, long window, long jobs)
{
    struct publisher p;
    int64_t          start_us;
    double           cpu;

    publisher_init(&p, o);
    p.window = window;
    say_start();
    cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    publish_all(&p, (uint64_t)jobs, jobs ? 0 : start_us + o->ms * 1000);
    say_result(&p, (double)(tool_mono_us() - start_us) / 1e6, tool_cpu_seconds() - cpu);
    publisher_fini(&p);
}

static void run_flow(const struct options *o)
{
    struct publisher p;
    struct flow      flow = {.jobs = (uint64_t)o->jobs};
    struct consumer  consumers[CONSUMERS_MAX];
    int64_t          start_us, last_us;
    double           cpu;

    publisher_init(&p, o);
    consumers_start(consumers, o->consumers, o->url, &flow);
    say_start();
    cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    publish_all(&p, flow.jobs, 0);
    while (!(last_us = atomic_load(&flow.last_us)))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    say_result(&p, (double)(last_us - start_us) / 1e6, tool_cpu_seconds() - cpu);
    consumers_stop(consumers, o->consumers);
    publisher_fini(&p);
}

static void run_purge(const struct options *o, char **queues)
{
    amqp_connection_state_t link = link_open(o->url);

    for (; *queues; queues++)
        link_purge(link, *queues);
    amqp_connection_close(link, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(link);
}

/* ---- options --------------------------------------------------------------- */

static bool read_type(const char *text)
{
    bool is_quorum = strcmp(text, "quorum") == 0;

    if (!is_quorum && strcmp(text, "classic") != 0)
        tool_die("--type is quorum or classic, not '%s'", text);
    return is_quorum;
}

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option names[] = {
        {"mode", 1, NULL, 'm'},   {"url", 1, NULL, 'u'},       {"type", 1, NULL, 't'},
        {"bytes", 1, NULL, 'b'},  {"ms", 1, NULL, 's'},        {"jobs", 1, NULL, 'j'},
        {"window", 1, NULL, 'w'}, {"consumers", 1, NULL, 'c'}, {NULL, 0, NULL, 0},
    };
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (name) {
        case 'm':
            o->mode = optarg;
            break;
        case 'u':
            o->url = optarg;
            break;
        case 't':
            o->is_quorum = read_type(optarg);
            break;
        case 'b':
            o->bytes = tool_number("--bytes", optarg, 1, 1 << 24);
            break;
        case 's':
            o->ms = tool_number("--ms", optarg, 1, 600000);
            break;
        case 'j':
            o->jobs = tool_number("--jobs", optarg, 1, 100000000);
            break;
        case 'w':
            o->window = tool_number("--window", optarg, 1, WINDOW_MAX / 2);
            break;
        case 'c':
            o->consumers = tool_number("--consumers", optarg, 1, CONSUMERS_MAX);
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    struct options o = {.mode = "publish",
                        .url = "amqp://guest:guest@127.0.0.1:5672/%2F",
                        .is_quorum = true,
                        .bytes = 256,
                        .ms = 3000,
                        .jobs = 10000,
                        .window = 64,
                        .consumers = 2};

    read_options(&o, argc, argv);
    if (strcmp(o.mode, "purge") == 0) {
        run_purge(&o, argv + optind);
        return 0;
    }
    if (strcmp(o.mode, "publish") == 0)
        run_publish(&o, o.window, 0);
    else if (strcmp(o.mode, "flow") == 0)
        run_flow(&o);
    else if (strcmp(o.mode, "idle") == 0)
        run_publish(&o, 1, o.jobs);
    else
        tool_die("--mode is publish, flow, idle or purge, not '%s'", o.mode);
    remove_queues(o.url);
    return 0;
}
