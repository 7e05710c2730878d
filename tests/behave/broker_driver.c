/* SPDX-License-Identifier: Apache-2.0 */
/* broker_driver.c - common/broker on a loop, driven by lines on standard input.
 *
 *   broker_driver URL KIND[,KIND..] quorum|classic CHANNELS HEARTBEAT_S
 *
 *   publish work|delay|dead KIND RUNG DEADLINE_MS BODY_BYTES   consume CHANNEL KIND
 *   flood KIND COUNT OUTSTANDING BODY_BYTES DEADLINE_MS        unconsume CHANNEL
 *   auto 0|1 (ack each delivery at once)                       ack CHANNEL
 *   depths    lag    stop                                      nack CHANNEL 0|1 (requeue)
 *   misack CHANNEL (acks twice: the broker closes the channel)
 *
 * Every event is a line of JSON on standard output. `lag` tells the longest
 * time since the last `lag` in which the loop stood still.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "common/broker/broker.h"
#include "common/clock.h"
#include "common/job.h"
#include "common/log.h"

#define CHANNELS_MAX 64
#define KINDS_MAX 8

static const char *const outcomes[] = {"confirmed", "returned", "nacked", "unknown", "down"};
static const char *const targets[] = {"work", "delay", "dead"};

struct flood {
    int     kind;
    long    count, sent, ended, bytes, deadline_ms;
    long    by_outcome[5];
    int64_t started_us, cpu_us;
    int64_t slowest_us;
};

struct driver {
    uv_loop_t            loop;
    uv_pipe_t            input;
    uv_timer_t           tick;
    struct broker       *broker;
    struct broker_config config;
    const char          *kinds[KINDS_MAX];
    struct delivery     *held[CHANNELS_MAX];
    bool                 is_auto;
    long                 published, deliveries;
    int64_t              last_tick_us, lag_us;
    struct flood         flood;
    char                 line[512];
    size_t               line_len;
    char                 chunk[4096];
};

struct sent {
    struct driver *driver;
    char           id[JOB_ID_BYTES];
    int64_t        at_us;
};

static int64_t cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000) + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

static int kind_of(const struct driver *d, const char *name)
{
    for (int i = 0; i < d->config.kind_count; i++)
        if (strcmp(d->kinds[i], name) == 0)
            return i;
    return 0;
}

/* ---- publishing ---- */

static struct msg *make_message(const char *kind, size_t bytes)
{
    struct msg *m = msg_new();

    job_id_new(m->id);
    job_copy_new(m->copy);
    snprintf(m->kind, sizeof m->kind, "%s", kind);
    snprintf(m->content_type, sizeof m->content_type, "application/octet-stream");
    snprintf(m->idempotency, sizeof m->idempotency, "key-1");
    snprintf(m->traceparent, sizeof m->traceparent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    m->epoch = INT64_C(1700000000000000);
    m->attempt = 2;
    m->created_ms = INT64_C(1763679000123);
    if (bytes) {
        m->body = xmalloc(bytes);
        m->body_len = bytes;
        memset(m->body, 'x', bytes);
    }
    return m;
}

static void on_published(void *ctx, enum broker_outcome outcome)
{
    struct sent *s = ctx;

    printf("{\"event\":\"published\",\"id\":\"%s\",\"outcome\":\"%s\",\"ms\":%.3f}\n", s->id, outcomes[outcome],
           (double)(mono_us() - s->at_us) / 1000);
    free(s);
}

static void publish(struct driver *d, const char *target, const char *kind, int rung, int deadline_ms, size_t bytes)
{
    struct sent       *s = xcalloc(1, sizeof *s);
    struct msg        *m = make_message(kind, bytes);
    enum broker_target to = BROKER_TO_WORK;

    for (int i = 0; i < 3; i++)
        if (strcmp(targets[i], target) == 0)
            to = (enum broker_target)i;
    s->driver = d;
    s->at_us = mono_us();
    memcpy(s->id, m->id, sizeof s->id);
    broker_publish(d->broker, m, to, rung, deadline_ms, on_published, s);
    msg_free(m);
}

static void on_flooded(void *ctx, enum broker_outcome outcome);

static void flood_next(struct driver *d)
{
    struct sent *s = xcalloc(1, sizeof *s);
    struct msg  *m = make_message(d->kinds[d->flood.kind], (size_t)d->flood.bytes);

    s->driver = d;
    s->at_us = mono_us();
    d->flood.sent++;
    broker_publish(d->broker, m, BROKER_TO_WORK, 0, d->flood.deadline_ms, on_flooded, s);
    msg_free(m);
}

static void on_flooded(void *ctx, enum broker_outcome outcome)
{
    struct sent   *s = ctx;
    struct driver *d = s->driver;
    struct flood  *f = &d->flood;
    int64_t        took_us = mono_us() - s->at_us;

    free(s);
    f->by_outcome[outcome]++;
    if (took_us > f->slowest_us)
        f->slowest_us = took_us;
    if (f->sent < f->count)
        flood_next(d);
    if (++f->ended < f->count)
        return;
    printf("{\"event\":\"flooded\",\"seconds\":%.4f,\"cpu_us\":%.2f,\"slowest_ms\":%.1f",
           (double)(mono_us() - f->started_us) / 1e6, (double)(cpu_us() - f->cpu_us) / (double)f->count,
           (double)f->slowest_us / 1000);
    for (int i = 0; i < 5; i++)
        printf(",\"%s\":%ld", outcomes[i], f->by_outcome[i]);
    printf("}\n");
}

static void flood(struct driver *d, const char *kind, long count, long outstanding, long bytes, long deadline_ms)
{
    d->flood = (struct flood){.kind = kind_of(d, kind),
                              .count = count,
                              .bytes = bytes,
                              .deadline_ms = deadline_ms,
                              .started_us = mono_us(),
                              .cpu_us = cpu_us()};
    for (long i = 0; i < outstanding && i < count; i++)
        flood_next(d);
}

/* ---- events ---- */

static void on_publisher(void *ctx, bool is_up)
{
    (void)ctx;
    printf("{\"event\":\"publisher\",\"up\":%s}\n", is_up ? "true" : "false");
}

static void on_consumer(void *ctx, bool is_up)
{
    (void)ctx;
    printf("{\"event\":\"consumer\",\"up\":%s}\n", is_up ? "true" : "false");
}

static void on_ready(void *ctx, int channel)
{
    (void)ctx;
    printf("{\"event\":\"ready\",\"channel\":%d}\n", channel);
}

static void on_lost(void *ctx, int channel)
{
    (void)ctx;
    printf("{\"event\":\"lost\",\"channel\":%d}\n", channel);
}

static void on_consuming(void *ctx, int channel, int kind)
{
    struct driver *d = ctx;

    printf("{\"event\":\"consuming\",\"channel\":%d,\"kind\":\"%s\"}\n", channel, d->kinds[kind]);
}

static void on_idle(void *ctx, int channel, bool by_broker)
{
    (void)ctx;
    printf("{\"event\":\"idle\",\"channel\":%d,\"by_broker\":%s}\n", channel, by_broker ? "true" : "false");
}

static void print_delivery(const struct driver *d, const struct delivery *v)
{
    const struct msg *m = v->msg;
    struct buf        out = {0};

    buf_printf(&out, "{\"event\":\"delivery\",\"channel\":%d,\"kind\":\"%s\",\"tag\":%llu,\"bad\":\"%s\",\"detail\":",
               v->channel, d->kinds[v->kind], (unsigned long long)v->tag, err_code(v->bad.err));
    buf_json(&out, v->bad.detail);
    buf_printf(&out,
               ",\"id\":\"%s\",\"type\":\"%s\",\"copy\":\"%s\",\"epoch\":%lld,\"attempt\":%lld,\"created\":%lld,"
               "\"deadline\":%lld,\"body_bytes\":%zu,\"body_sum\":",
               m->id, m->kind, m->copy, (long long)m->epoch, (long long)m->attempt, (long long)m->created_ms,
               (long long)m->deadline_ms, m->body_len);
    unsigned long sum = 0;
    for (size_t i = 0; i < m->body_len; i++)
        sum = sum * 31 + ((const unsigned char *)m->body)[i];
    buf_printf(&out, "%lu", sum & 0xffffffff);
    buf_text(&out, ",\"params\":");
    buf_json(&out, m->params);
    buf_text(&out, ",\"content_type\":");
    buf_json(&out, m->content_type);
    buf_text(&out, ",\"idempotency\":");
    buf_json(&out, m->idempotency);
    printf("%.*s}\n", (int)out.len, out.data);
    buf_free(&out);
}

static void on_delivery(void *ctx, struct delivery *taken)
{
    struct driver *d = ctx;

    d->deliveries++;
    if (d->is_auto) {
        broker_ack(d->broker, taken);
        delivery_free(taken);
        return;
    }
    print_delivery(d, taken);
    delivery_free(d->held[taken->channel]);
    d->held[taken->channel] = taken;
}

static void on_depths(void *ctx, const int64_t *ready)
{
    struct driver *d = ctx;

    printf("{\"event\":\"depths\"");
    for (int i = 0; i < d->config.kind_count; i++)
        printf(",\"%s\":%lld", d->kinds[i], (long long)ready[i]);
    printf("}\n");
}

static const struct broker_events events = {
    .publisher = on_publisher,
    .consumer = on_consumer,
    .channel_ready = on_ready,
    .channel_lost = on_lost,
    .consuming = on_consuming,
    .idle = on_idle,
    .delivery = on_delivery,
    .depths = on_depths,
};

/* ---- commands ---- */

static void settle(struct driver *d, int channel, bool is_ack, bool requeue)
{
    struct delivery *held = d->held[channel];

    if (!held)
        return;
    if (is_ack)
        broker_ack(d->broker, held);
    else
        broker_nack(d->broker, held, requeue);
    delivery_free(held);
    d->held[channel] = NULL;
}

static void stop(struct driver *d)
{
    int64_t began = mono_us();

    if (!d->broker)
        return;
    broker_stop(d->broker);
    d->broker = NULL;
    printf("{\"event\":\"stopped\",\"ms\":%.1f,\"deliveries\":%ld}\n", (double)(mono_us() - began) / 1000,
           d->deliveries);
    uv_close((uv_handle_t *)&d->input, NULL);
    uv_close((uv_handle_t *)&d->tick, NULL);
}

static void obey(struct driver *d, const char *line)
{
    char verb[16] = "", a[32] = "", b[32] = "";
    long n[4] = {0};

    if (sscanf(line, "publish %31s %31s %ld %ld %ld", a, b, &n[0], &n[1], &n[2]) == 5)
        publish(d, a, b, (int)n[0], (int)n[1], (size_t)n[2]);
    else if (sscanf(line, "flood %31s %ld %ld %ld %ld", a, &n[0], &n[1], &n[2], &n[3]) == 5)
        flood(d, a, n[0], n[1], n[2], n[3]);
    else if (sscanf(line, "consume %ld %31s", &n[0], a) == 2)
        broker_consume(d->broker, (int)n[0], kind_of(d, a));
    else if (sscanf(line, "%15s %ld %ld", verb, &n[0], &n[1]) < 1)
        return;
    if (strcmp(verb, "unconsume") == 0)
        broker_unconsume(d->broker, (int)n[0]);
    else if (strcmp(verb, "ack") == 0)
        settle(d, (int)n[0], true, false);
    else if (strcmp(verb, "misack") == 0 && d->held[n[0]]) {
        broker_ack(d->broker, d->held[n[0]]);
        settle(d, (int)n[0], true, false);
    } else if (strcmp(verb, "nack") == 0)
        settle(d, (int)n[0], false, n[1]);
    else if (strcmp(verb, "auto") == 0)
        d->is_auto = n[0];
    else if (strcmp(verb, "depths") == 0)
        broker_ask_depths(d->broker);
    else if (strcmp(verb, "stop") == 0)
        stop(d);
    else if (strcmp(verb, "lag") == 0) {
        printf("{\"event\":\"lag\",\"ms\":%.1f,\"deliveries\":%ld,\"outstanding\":%lld}\n", (double)d->lag_us / 1000,
               d->deliveries, (long long)broker_confirms_outstanding(d->broker));
        d->lag_us = 0;
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    struct driver *d = handle->data;

    (void)suggested;
    *out = uv_buf_init(d->chunk, sizeof d->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *chunk)
{
    struct driver *d = stream->data;

    if (len < 0) {
        stop(d);
        return;
    }
    for (ssize_t i = 0; i < len && d->broker; i++) {
        if (chunk->base[i] != '\n') {
            if (d->line_len < sizeof d->line - 1)
                d->line[d->line_len++] = chunk->base[i];
            continue;
        }
        d->line[d->line_len] = 0;
        d->line_len = 0;
        obey(d, d->line);
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct driver *d = tick->data;
    int64_t        now = mono_us();

    if (d->last_tick_us && now - d->last_tick_us - 10000 > d->lag_us)
        d->lag_us = now - d->last_tick_us - 10000;
    d->last_tick_us = now;
}

static bool configure(struct driver *d, char **argv)
{
    char *save = NULL;

    d->config = (struct broker_config){.url = argv[1],
                                       .name = "driver",
                                       .kinds = d->kinds,
                                       .is_quorum = strcmp(argv[3], "quorum") == 0,
                                       .channels = atoi(argv[4]),
                                       .heartbeat_s = atoi(argv[5])};
    for (char *name = strtok_r(argv[2], ",", &save); name && d->config.kind_count < KINDS_MAX;
         name = strtok_r(NULL, ",", &save))
        d->kinds[d->config.kind_count++] = name;
    return d->config.channels <= CHANNELS_MAX && d->config.kind_count > 0;
}

int main(int argc, char **argv)
{
    static struct driver d;
    struct fault         why;

    if (argc != 6 || !configure(&d, argv))
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    log_open("driver", LOG_DEBUG);
    uv_loop_init(&d.loop);
    if (broker_start(&d.loop, &d.config, &events, &d, &d.broker, &why)) {
        printf("{\"event\":\"refused\",\"code\":\"%s\",\"detail\":\"%s\"}\n", err_code(why.err), why.detail);
        return 1;
    }
    uv_pipe_init(&d.loop, &d.input, 0);
    uv_pipe_open(&d.input, 0);
    uv_timer_init(&d.loop, &d.tick);
    d.input.data = d.tick.data = &d;
    uv_read_start((uv_stream_t *)&d.input, on_alloc, on_read);
    uv_timer_start(&d.tick, on_tick, 10, 10);
    uv_run(&d.loop, UV_RUN_DEFAULT);
    uv_loop_close(&d.loop);
    for (int i = 0; i < CHANNELS_MAX; i++)
        delivery_free(d.held[i]);
    return 0;
}
