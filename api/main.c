/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - millrace-api: takes jobs over HTTP, answers for them.
 *
 * Start: settings, keys, store and broker (both connect in the background),
 * then HTTP; /readyz tells when jobs can be accepted. End (SIGTERM, SIGINT): no
 * new connections, submits and long answers under way finish, long polls are
 * answered with what there is, then everything closes. A second signal ends at once.
 */
#include <arpa/inet.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "api/auth.h"
#include "api/gateway.h"
#include "api/pieces.h"
#include "api/spill.h"
#include "common/blob/blob.h"
#include "common/clock.h"
#include "common/health.h"
#include "common/log.h"
#include "kinds/command/list.h"

#define STOP_MAX_MS 10000 /* for submits and long answers under way; beyond it they are cut */
#define LARGE_BYTES                                                                                                    \
    (512 << 10)               /* pieces of bodies have more; buffers of blobs, which come and go all the time, less    \
                               */
#define SPARE_BYTES (8 << 20) /* kept at the end of a heap for what comes next */

struct ending {
    struct gateway *gw;
    uv_signal_t     term, interrupt;
    uv_timer_t      poll;
    int64_t         until_ms;
};

static void on_publisher(void *ctx, bool is_up)
{
    struct gateway *gw = ctx;

    log_event(is_up ? EVENT_BROKER_UP : EVENT_BROKER_DOWN);
    if (is_up && gw->relay)
        relay_kick(gw->relay);
}

static void on_depths(void *ctx, const int64_t *ready)
{
    struct gateway *gw = ctx;

    if (gw->depths)
        depths_arrived(gw->depths, ready);
}

static void on_ended(void *ctx, const char *id, const struct store_reply *reply)
{
    longpolls_ended(((struct gateway *)ctx)->longpolls, id, reply);
}

static void on_set(void *ctx, const char *id) { longpolls_ended(((struct gateway *)ctx)->longpolls, id, NULL); }
static void on_missed(void *ctx) { longpolls_ended(((struct gateway *)ctx)->longpolls, NULL, NULL); }

static void on_outbox(void *ctx)
{
    struct gateway *gw = ctx;

    if (gw->relay)
        relay_kick(gw->relay);
}

static const struct broker_events broker_events = {.publisher = on_publisher, .depths = on_depths};
static const struct store_events  store_events = {
     .ended = on_ended, .set = on_set, .missed = on_missed, .outbox = on_outbox};

/* ---- start ------------------------------------------------------------------------ */

/* An address that others can reach needs keys, or a word that says it is meant. */
static enum err check_exposure(const struct settings *s, struct fault *why)
{
    struct in_addr v4;
    bool           is_loopback =
        !strcmp(s->listen, "::1") || (inet_pton(AF_INET, s->listen, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127);

    if (is_loopback || *s->api_key_file)
        return ERR_OK;
    if (s->insecure) {
        log_event(
            EVENT_OPEN_TO_ANYONE, LOG_TEXT("address", s->listen),
            LOG_TEXT("reason", "MILLRACE_INSECURE=1: whoever reaches this address may submit, read and cancel jobs"));
        return ERR_OK;
    }
    return fault_set(why, ERR_CONFIG,
                     "MILLRACE_LISTEN is %s, which others can reach: set MILLRACE_API_KEY_FILE, or MILLRACE_INSECURE=1 "
                     "if anyone may submit jobs here",
                     s->listen);
}

#define METRICS_CONNECTIONS 16
#define STREAMS_MAX 1024
/* Sockets to the servers, logs, the loop's own, tiles of results, inputs that are being received. */
#define OWN_FILES (64 + METRICS_CONNECTIONS + PIECES_EXTRA_MAX + SPILL_WRITERS_MAX)

/* Clients may not take the descriptors that the way to our own servers needs: a socket each, and a file for each
 * long answer. */
static void make_room_for_files(struct gateway *gw)
{
    struct settings *s = &gw->settings;
    struct rlimit    limit;
    rlim_t           wanted = (rlim_t)s->connections_max + STREAMS_MAX + OWN_FILES, left;

    gw->streams_max = STREAMS_MAX;

    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= wanted)
        return;
    left = limit.rlim_cur > OWN_FILES + 12 ? limit.rlim_cur - OWN_FILES : 12;
    gw->streams_max = (int)(left / 4 < STREAMS_MAX ? left / 4 : STREAMS_MAX);
    if (s->connections_max > (int64_t)left - gw->streams_max)
        s->connections_max = (int64_t)left - gw->streams_max;
    log_event(EVENT_FEWER_CONNECTIONS, LOG_INT("wanted_files", (int64_t)wanted),
              LOG_INT("limit", (int64_t)limit.rlim_cur), LOG_INT("connections_max", s->connections_max),
              LOG_INT("streams_max", gw->streams_max));
}

static void make_series(struct gateway *gw)
{
    char labels[64];

    gw->metrics = metrics_new();
    for (int i = 0; i < KIND_COUNT; i++) {
        snprintf(labels, sizeof labels, "kind=\"%s\"", kinds[i]->name);
        gw->accepted[i] = metrics_series(gw->metrics, METRIC_ACCEPTED, labels);
        gw->held[i] = metrics_series(gw->metrics, METRIC_HELD, labels);
    }
    if (*gw->settings.redis_read_url) {
        gw->replica_reads[false] = metrics_series(gw->metrics, METRIC_REPLICA_READS, "answer=\"asked-again\"");
        gw->replica_reads[true] = metrics_series(gw->metrics, METRIC_REPLICA_READS, "answer=\"given\"");
    }
    gw->confirm_seconds = metrics_series(gw->metrics, METRIC_CONFIRM_SECONDS, "");
}

static enum err start_store_and_broker(struct gateway *gw, struct fault *why)
{
    static const char        *names[KIND_COUNT];
    const struct settings    *s = &gw->settings;
    const struct store_config store = {.url = s->redis_url,
                                       .retention_ms = s->retention_s * 1000,
                                       .attempts_max = s->attempts_max,
                                       .losses_max = s->losses_max,
                                       .kept_max = s->kept_max};
    const struct store_config replica = {.url = s->redis_read_url, .is_replica = true};
    struct broker_config      broker = {.url = s->amqp_url,
                                        .name = "millrace-api",
                                        .kinds = names,
                                        .kind_count = KIND_COUNT,
                                        .is_quorum = s->queue_type == QUEUE_TYPE_QUORUM,
                                        .heartbeat_s = (int)s->heartbeat_s};
    enum err                  e;

    for (int i = 0; i < KIND_COUNT; i++)
        names[i] = kinds[i]->name;
    e = store_open(gw->loop, &store, &store_events, gw, &gw->store, why);
    if (!e && *s->redis_read_url)
        e = store_open(gw->loop, &replica, NULL, NULL, &gw->replica, why);
    if (!e)
        e = broker_start(gw->loop, &broker, &broker_events, gw, &gw->broker, why);
    return e;
}

static struct limits limits_of(const struct settings *s)
{
    return (struct limits){.inline_max = (size_t)s->inline_max,
                           .side_max = s->side_max,
                           .result_max = (uint64_t)s->result_max,
                           .upload_max = (uint64_t)s->upload_max,
                           .has_blobs = *s->blob_dir != 0};
}

/* A mistake in the list is found now, not by a client. Whether the programs are there is the workers' matter. */
static enum err read_commands(struct gateway *gw, struct fault *why)
{
    enum err e = ERR_OK;

    if (*gw->settings.commands_file) {
        prctl(PR_SET_DUMPABLE, 0); /* programs that a worker of this host runs as our user may not read our passwords */
        e = commands_read(gw->settings.commands_file, &gw->commands, why);
    }
    gw->limits.commands = gw->commands;
    return e;
}

static enum err start_blobs(struct gateway *gw, struct fault *why)
{
    const struct blob_config config = {.dir = gw->settings.blob_dir, .quota_bytes = gw->settings.blob_quota};

    return gw->limits.has_blobs ? blob_store_open(gw->loop, &config, &gw->blobs, why) : ERR_OK;
}

static enum err start_http(struct gateway *gw, struct fault *why)
{
    const struct settings *s = &gw->settings;
    struct http_config     main = {.listen = s->listen,
                                   .port = (int)s->port,
                                   .connections_max = (int)s->connections_max,
                                   .streams_max = gw->streams_max,
                                   .idle_s = (int)s->idle_s,
                                   .routes = gateway_routes,
                                   .gateway = gw,
                                   .metrics = gw->metrics,
                                   .auth = gw->auth};
    struct http_config     metrics = main;
    enum err               e = http_start(gw->loop, &main, &gw->http, why);

    if (e || !s->metrics_port)
        return e;
    metrics.port = (int)s->metrics_port;
    metrics.connections_max = METRICS_CONNECTIONS; /* it asks for no key */
    metrics.routes = metrics_routes;
    metrics.metrics = NULL;
    metrics.auth = NULL;
    return http_start(gw->loop, &metrics, &gw->metrics_http, why);
}

static enum err gateway_start(struct gateway *gw, struct fault *why)
{
    enum err e = config_load(&gw->settings, why);

    if (!e) {
        log_open("millrace-api", (enum log_level)gw->settings.log_level);
        config_log(&gw->settings, PROGRAM_API);
        e = check_exposure(&gw->settings, why);
    }
    if (!e && *gw->settings.api_key_file)
        e = auth_load(gw->settings.api_key_file, &gw->auth, why);
    if (!e) {
        gw->limits = limits_of(&gw->settings);
        e = read_commands(gw, why);
    }
    if (e)
        return e;
    make_room_for_files(gw);
    make_series(gw);
    gw->longpolls = longpolls_new(gw);
    gw->depths = depths_new(gw);
    gw->audits = audits_new(gw);
    e = start_blobs(gw, why);
    if (!e)
        e = start_store_and_broker(gw, why);
    if (e)
        return e;
    gw->relay = relay_new(gw);
    gw->sweep = gw->blobs ? sweep_new(gw) : NULL;
    return start_http(gw, why);
}

/* ---- end ---------------------------------------------------------------------------- */

static void gateway_stop(struct gateway *gw)
{
    http_refuse(gw->http);
    if (gw->metrics_http)
        http_refuse(gw->metrics_http);
    relay_stop(gw->relay);
    broker_stop(gw->broker); /* publishes under way are answered: a client hears that the outcome is unknown */
    longpolls_finish(gw->longpolls);
    depths_free(gw->depths);
    sweep_stop(gw->sweep);
    spills_stop(gw);
    store_close(gw->replica); /* what it did not answer is asked of the store */
    store_close(gw->store);   /* what it did not answer is answered as down */
    audits_stop(gw->audits);
    blob_store_stop(gw->blobs); /* likewise; every request has its answer now */
    http_stop(gw->http);
    http_stop(gw->metrics_http);
    blob_store_close(gw->blobs); /* nobody reads from it any more */
}

static void on_stop_poll(uv_timer_t *poll)
{
    struct ending *end = poll->data;

    if ((end->gw->submits || http_streams(end->gw->http)) && mono_ms() < end->until_ms)
        return;
    uv_timer_stop(poll);
    uv_stop(end->gw->loop);
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct ending *end = signal->data;

    if (end->gw->is_stopping)
        _Exit(128 + number);
    log_event(EVENT_GATEWAY_STOPS, LOG_INT("signal", number), LOG_INT("submits", end->gw->submits),
              LOG_INT("streams", http_streams(end->gw->http)));
    end->gw->is_stopping = true;
    end->until_ms = mono_ms() + STOP_MAX_MS;
    http_quiesce(end->gw->http);
    longpolls_finish(end->gw->longpolls);
    uv_timer_start(&end->poll, on_stop_poll, 50, 20);
}

static void ending_start(struct ending *end, struct gateway *gw)
{
    end->gw = gw;
    uv_timer_init(gw->loop, &end->poll);
    uv_signal_init(gw->loop, &end->term);
    uv_signal_init(gw->loop, &end->interrupt);
    end->poll.data = end->term.data = end->interrupt.data = end;
    uv_signal_start(&end->term, on_signal, SIGTERM);
    uv_signal_start(&end->interrupt, on_signal, SIGINT);
}

static void ending_close(struct ending *end)
{
    uv_close((uv_handle_t *)&end->poll, NULL);
    uv_close((uv_handle_t *)&end->term, NULL);
    uv_close((uv_handle_t *)&end->interrupt, NULL);
}

static int ask_health(void)
{
    struct settings settings;
    struct fault    why;

    if (!config_load(&settings, &why))
        return health_ask(settings.listen, (int)settings.port);
    fprintf(stderr, "millrace-api: %s\n", why.detail);
    return 2;
}

/* What is large goes back to the system as soon as it is freed. Left alone, the C library takes the first large piece
 * that is freed for a sign that such come and go, and from then on cuts them out of the heaps of each thread: a gateway
 * that was once busy with large documents would stay hundreds of MB large. */
static void give_memory_back(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    mallopt(M_TRIM_THRESHOLD, SPARE_BYTES);
}

int main(int argc, char **argv)
{
    static const char        purpose[] = "the HTTP gateway of Millrace: accepts jobs, answers for them";
    static const char *const extra[] = {"--health", "ask the gateway that runs with these settings whether it lives",
                                        NULL};
    static struct gateway    gw; /* so that what a start that failed has made is no leak */
    struct ending            end;
    struct fault             why;
    unsigned                 found = 0;
    int                      status = config_arguments(argc, argv, PROGRAM_API, purpose, extra, &found);

    if (status >= 0)
        return status;
    if (found)
        return ask_health();
    signal(SIGPIPE, SIG_IGN);
    give_memory_back();
    log_open("millrace-api", LOG_INFO);
    gw.loop = uv_default_loop();
    status = gateway_start(&gw, &why);
    if (status) {
        log_event(EVENT_CANNOT_START, LOG_TEXT("reason", why.detail));
        return 2;
    }
    ending_start(&end, &gw);
    log_event(EVENT_GATEWAY_STARTED, LOG_TEXT("address", gw.settings.listen), LOG_INT("port", http_port(gw.http)),
              LOG_TEXT("version", MILLRACE_VERSION));
    uv_run(gw.loop, UV_RUN_DEFAULT);
    gateway_stop(&gw);
    ending_close(&end);
    uv_run(gw.loop, UV_RUN_DEFAULT); /* the closing handles */
    uv_loop_close(gw.loop);
    longpolls_free(gw.longpolls);
    metrics_free(gw.metrics);
    auth_free(gw.auth);
    commands_free(gw.commands);
    log_event(EVENT_GATEWAY_ENDED);
    return 0;
}
