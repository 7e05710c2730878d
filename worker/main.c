/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - millrace-worker: takes jobs from RabbitMQ, has them computed by its
 * executors, and settles them in Redis. It never computes itself, so leases
 * and heartbeats go on while all its CPUs are busy.
 */
#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/health.h"
#include "common/log.h"

#define TICK_MS 250      /* leases, limits, stalled steps: nothing here needs it finer */
#define HANDBACK_MS 5000 /* the store answers or gives up within 3 s */
#define LEAVE_MS 3500
#define CACHE_SWEEP_MS (60 * 1000) /* where blobs come from a gateway: copies that nobody used are dropped */
#define CACHE_KEEP_MS (60 * 60 * 1000)

double worker_dice(struct worker *w) { return erand48(w->dice); }

/* ---- the end ------------------------------------------------------------------- */

static void finish(struct worker *w)
{
    w->phase = PHASE_ENDED;
    uv_stop(w->loop);
}

static void on_left(void *ctx, const struct store_reply *reply)
{
    (void)reply;
    finish(ctx);
}

int worker_busy(const struct worker *w)
{
    int busy = 0;

    for (int i = 0; i < w->slot_count; i++)
        busy += w->slots[i].step != STEP_FREE;
    return busy;
}

void worker_check_end(struct worker *w)
{
    if (w->phase != PHASE_GRACE && w->phase != PHASE_HANDBACK)
        return;
    if (worker_busy(w) || w->rescues)
        return;
    w->phase = PHASE_LEAVING;
    w->phase_end_ms = mono_ms() + LEAVE_MS;
    store_leave(w->store, w->id, on_left, w);
}

static void stop_slots(struct worker *w, bool is_forced)
{
    for (int i = 0; i < w->slot_count; i++)
        slot_stop(&w->slots[i], is_forced);
    worker_check_end(w);
}

static void hand_back(struct worker *w)
{
    log_event(EVENT_WORKER_HANDS_BACK, LOG_TEXT("worker", w->id));
    w->phase = PHASE_HANDBACK;
    w->phase_end_ms = mono_ms() + HANDBACK_MS;
    stop_slots(w, true);
}

void worker_stop(struct worker *w)
{
    if (w->phase == PHASE_SERVING) {
        log_event(EVENT_WORKER_STOPS, LOG_TEXT("worker", w->id), LOG_INT("grace_s", w->settings->grace_s));
        w->phase = PHASE_GRACE;
        w->phase_end_ms = mono_ms() + w->settings->grace_s * 1000;
        consumers_stop(w);
        stop_slots(w, false);
    } else if (w->phase == PHASE_GRACE) {
        hand_back(w);
    }
}

/* ---- the kernel ------------------------------------------------------------------ */

/* Trials take their time, and nothing else happens meanwhile: no slot has a job of the main program before that was
 * ready, and the leases of others last longer. */
bool worker_see_kernel(struct worker *w, const char *name)
{
    if (w->has_seen_kernel)
        return false;
    w->has_seen_kernel = true;
    if (!kernel_is_doubtful(name)) {
        log_event(EVENT_KERNEL, LOG_TEXT("name", name), LOG_TEXT("reason", "known to suit this CPU"));
        return false;
    }
    kernel_choose(w->programs.path[PROGRAM_exec], name, kernel_class_of_cpu(), &w->kernel);
    log_event(w->kernel.is_warning ? EVENT_KERNEL_SLOW : EVENT_KERNEL, LOG_TEXT("name", name),
              LOG_TEXT("setting", w->kernel.setting), LOG_TEXT("reason", w->kernel.sentence));
    if (!w->kernel.setting[0])
        return false;
    w->child_configs[PROGRAM_exec].variable = w->kernel.setting;
    for (int i = 0; i < w->slot_count; i++)
        child_kill(&w->slots[i].children[PROGRAM_exec], KILL_RECYCLE);
    return true;
}

/* ---- what comes in --------------------------------------------------------------- */

static bool is_ours(const struct worker *w, pid_t pid)
{
    for (int i = 0; i < w->slot_count; i++)
        for (int program = 0; program < PROGRAM_COUNT; program++)
            if (w->slots[i].children[program].pid == pid)
                return true;
    return false;
}

/* As the first process of a container we inherit what executors that were killed leave behind. One of ours that ended
 * just now is met again with its own signal. */
static void reap_strangers(const struct worker *w)
{
    siginfo_t ended = {0};

    while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid && !is_ours(w, ended.si_pid)) {
        waitpid(ended.si_pid, NULL, 0);
        ended.si_pid = 0;
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct worker *w = handle->data;

    if (number != SIGCHLD) {
        worker_stop(w);
        return;
    }
    for (int i = 0; i < w->slot_count; i++)
        for (int program = 0; program < PROGRAM_COUNT; program++)
            child_reap(&w->slots[i].children[program], mono_ms());
    reap_strangers(w);
}

static void on_swept(void *ctx, enum err e, const char *const *names, size_t count)
{
    (void)ctx, (void)names, (void)count;
    if (e)
        log_event(EVENT_CACHE_NOT_SWEPT, LOG_TEXT("error", err_code(e)));
}

/* Of a shared directory a gateway keeps house. */
static void sweep_cache(struct worker *w, int64_t now_ms)
{
    if (!w->blobs || !w->settings->blob_url[0] || now_ms < w->sweep_ms)
        return;
    w->sweep_ms = now_ms + CACHE_SWEEP_MS;
    blob_sweep(w->blobs, CACHE_KEEP_MS, 0, on_swept, w);
}

static void on_tick(uv_timer_t *timer)
{
    struct worker *w = timer->data;
    int64_t        now_ms = mono_ms();

    for (int i = 0; i < w->slot_count; i++)
        slot_tick(&w->slots[i], now_ms);
    successor_tick(w);
    beat_tick(w, now_ms);
    watch_tick(w, now_ms);
    sweep_cache(w, now_ms);
    if (w->phase == PHASE_GRACE && now_ms >= w->phase_end_ms)
        hand_back(w);
    else if ((w->phase == PHASE_HANDBACK || w->phase == PHASE_LEAVING) && now_ms >= w->phase_end_ms)
        finish(w);
}

static void wake_all(struct worker *w)
{
    for (int i = 0; i < w->slot_count; i++)
        slot_wake(&w->slots[i]);
}

static void on_publisher(void *ctx, bool is_up)
{
    struct worker *w = ctx;

    if (!is_up)
        return;
    wake_all(w);
    successor_tick(w);
}

static void on_store(void *ctx, bool is_up)
{
    if (is_up)
        wake_all(ctx);
}

static void on_delivery(void *ctx, struct delivery *taken)
{
    struct worker *w = ctx;

    slot_deliver(w->channels[taken->channel].slot, taken);
}

static const struct broker_events broker_events = {
    .publisher = on_publisher,
    .consumer = consumers_on_up,
    .channel_ready = consumers_on_ready,
    .channel_lost = consumers_on_lost,
    .consuming = consumers_on_confirmed,
    .idle = consumers_on_idle,
    .delivery = on_delivery,
    .depths = consumers_on_depths,
};
static const struct store_events store_events = {.state = on_store};

/* ---- the start -------------------------------------------------------------------- */

static void start_signals_and_tick(struct worker *w)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT};

    signal(SIGPIPE, SIG_IGN);
    signal(SIGIO, SIG_IGN); /* a program of this user may make us the owner of a pipe */
    for (int i = 0; i < 3; i++) {
        uv_signal_init(w->loop, &w->signals[i]);
        w->signals[i].data = w;
        uv_signal_start(&w->signals[i], on_signal, numbers[i]);
    }
    uv_timer_init(w->loop, &w->tick_timer);
    w->tick_timer.data = w;
    uv_timer_start(&w->tick_timer, on_tick, TICK_MS, TICK_MS);
}

/* The executors start first: they need longest, and do it while we connect. */
static enum err start(struct worker *w, struct fault *why)
{
    enum err e;

    e = parts_choose_kinds(w, why);
    if (!e)
        e = parts_read_commands(w, why);
    if (e)
        return e;
    parts_name_worker(w);
    if (getrandom(w->dice, sizeof w->dice, 0) != (ssize_t)sizeof w->dice)
        return fault_set(why, ERR_IO, "no random numbers");
    beat_open(w);
    start_signals_and_tick(w);
    e = parts_open_slots(w, why);
    if (e)
        return e;
    e = parts_open_blobs(w, why);
    if (e)
        return e;
    e = parts_connect_store(w, &store_events, why);
    if (e)
        return e;
    e = parts_connect_broker(w, &broker_events, why);
    return e ? e : watch_open(w, why);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* The broker first: acks and nacks on their way are still sent. */
static void stop(struct worker *w)
{
    w->phase = PHASE_ENDED;
    watch_close(w);
    broker_stop(w->broker);
    store_close(w->store);
    parts_close_slots(w);
    blob_store_close(w->blobs);
    successor_free_all(w);
    beat_close(w);
    uv_walk(w->loop, close_handle, NULL);
    uv_run(w->loop, UV_RUN_DEFAULT);
    uv_loop_close(w->loop);
    parts_free(w);
}

int main(int argc, char **argv)
{
    static const char *const extra[] = {
        "--once", "run one job, then exit", "--health",
        "ask the worker that runs with these settings (MILLRACE_PROBE_PORT) whether it lives", NULL};
    uv_loop_t       loop;
    struct settings settings;
    struct worker   w = {.loop = &loop, .settings = &settings, .commands_copy = -1};
    struct fault    why = {0};
    unsigned        found = 0;
    int             status;

    status =
        config_arguments(argc, argv, PROGRAM_WORKER, "takes jobs from RabbitMQ and has them computed", extra, &found);
    if (status >= 0)
        return status;
    if (config_load(&settings, &why)) {
        log_open("millrace-worker", LOG_INFO);
        log_event(EVENT_CANNOT_START, LOG_TEXT("reason", why.detail));
        return 2;
    }
    if (found & 2)
        return health_ask(settings.listen, (int)settings.probe_port);
    log_open("millrace-worker", (enum log_level)settings.log_level);
    config_log(&settings, PROGRAM_WORKER);
    w.is_once = found & 1;
    uv_loop_init(&loop);
    if (start(&w, &why)) {
        log_event(EVENT_CANNOT_START, LOG_TEXT("reason", why.detail));
        status = 2;
    } else {
        log_event(EVENT_WORKER_STARTED, LOG_TEXT("worker", w.id), LOG_INT("slots", w.slot_count),
                  LOG_INT("threads", w.child_configs[PROGRAM_exec].threads), LOG_INT("kinds", w.kind_count),
                  LOG_TEXT("version", MILLRACE_VERSION));
        uv_run(&loop, UV_RUN_DEFAULT);
        status = 0;
    }
    stop(&w);
    log_event(EVENT_WORKER_ENDED, LOG_TEXT("worker", w.id));
    return status;
}
