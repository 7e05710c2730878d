/* SPDX-License-Identifier: Apache-2.0 */
/* child.c - starts, feeds, kills and reaps the executor of a slot.
 *
 * The executor gets nothing it could betray: of our descriptors only its end
 * of the socket pair (and by it the shared memory), of our environment only a
 * few harmless names, none of our settings. posix_spawn runs on vfork, closes
 * all other descriptors, and tells "could not start" from "ran and failed".
 */
#include "worker/child.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"

#define READY_DEADLINE_MS 10000
#define MAPPINGS_PER_BLOB 2               /* both operands may lie in the same one */
#define LOOK_JOBS 1000                    /* the size of a READY executor is looked at after so many jobs */
#define LOOK_MS 10000                     /* or so long */
#define GROWTH_BYTES (256 * 1024 * 1024L) /* more than this above the first look: it leaks */

/* Names that pass into the executor's environment. */
static const char *const passed_names[] = {
    "PATH",         "LANG",          "LC_ALL",       "TZ",          "TMPDIR", "LD_LIBRARY_PATH",
    "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"};
#define PASSED_COUNT (sizeof passed_names / sizeof *passed_names)

/* Threads of the matrix library that have nothing to do: or they would turn in a loop for 2^26 cycles, on the CPU that
 * another thread of the executor has work for. */
#define SLEEP_AT_ONCE "OPENBLAS_THREAD_TIMEOUT=4"

enum err child_open(struct child *c, const struct child_config *config, const struct child_events *events, void *ctx,
                    struct fault *why)
{
    size_t bytes = frame_map_bytes(config->inline_max);

    *c = (struct child){.config = config, .events = events, .ctx = ctx, .fd = -1, .memfd = -1};
    c->memfd = memfd_create("millrace-job", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Sealed in size: an executor that shrank it could kill us by SIGBUS. */
    if (c->memfd < 0 || ftruncate(c->memfd, (off_t)bytes) != 0 ||
        fcntl(c->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
        return fault_set(why, ERR_IO, "shared memory of %zu bytes: %s", bytes, strerror(errno));
    c->shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->memfd, 0);
    if (c->shared == MAP_FAILED) {
        c->shared = NULL;
        return fault_set(why, ERR_IO, "mapping %zu bytes: %s", bytes, strerror(errno));
    }
    return ERR_OK;
}

static void free_poll(uv_handle_t *poll) { free(poll); }

/* Ends our side of the socket; the loop frees the handle later. */
static void disconnect(struct child *c)
{
    if (c->poll)
        uv_close((uv_handle_t *)c->poll, free_poll);
    c->poll = NULL;
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void child_close(struct child *c)
{
    if (c->pid > 0) {
        kill(c->pid, SIGKILL);
        while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    c->pid = 0;
    disconnect(c);
    if (c->shared)
        munmap(c->shared, frame_map_bytes(c->config->inline_max));
    if (c->memfd >= 0)
        close(c->memfd);
    c->shared = NULL;
    c->memfd = -1;
}

/* ---- what it says ------------------------------------------------------- */

/* Resident bytes of the process, 0 when they cannot be read. */
static int64_t rss_bytes(pid_t pid)
{
    char    path[64];
    int64_t pages = 0;

    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *f = fopen(path, "re");
    if (f && fscanf(f, "%*d %" SCNd64, &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

union frame {
    uint32_t           type;
    struct frame_ready ready;
    struct frame_done  done;
};

static void take_ready(struct child *c, struct frame_ready *ready)
{
    struct rlimit space;

    ready->kernel[sizeof ready->kernel - 1] = '\0';
    c->state = CHILD_READY;
    c->rss_first = rss_bytes(c->pid);
    c->space = prlimit(c->pid, RLIMIT_AS, NULL, &space) == 0 ? space.rlim_cur : RLIM_INFINITY;
    c->looked_ms = c->needed_ms = mono_ms();
    log_event(EVENT_EXECUTOR_READY, LOG_INT("executor_pid", c->pid), LOG_INT("start_ms", mono_ms() - c->start_ms));
    c->events->ready(c->ctx, c, ready->kernel);
}

static bool set_limit(struct child *c, __rlimit_resource_t resource, uint64_t value)
{
    struct rlimit now;

    if (prlimit(c->pid, resource, NULL, &now) != 0)
        return false;
    now.rlim_cur = value < now.rlim_max ? value : now.rlim_max;
    return prlimit(c->pid, resource, &now, NULL) == 0;
}

/* What has been answered stays as it is: whoever keeps the descriptor of a result writes to it no more. */
static void end_writing(struct child *c)
{
    if (c->is_lent)
        (void)set_limit(c, RLIMIT_FSIZE, 0); /* fails only where nobody is left to write */
}

static void take_frame(struct child *c, union frame *frame, size_t len)
{
    if (c->state == CHILD_STARTING && len == sizeof frame->ready && frame->type == FRAME_READY) {
        take_ready(c, &frame->ready);
    } else if (c->state == CHILD_BUSY && len == sizeof frame->done && frame->type == FRAME_DONE) {
        c->state = CHILD_READY;
        c->failures = 0;
        c->jobs++;
        end_writing(c);
        c->events->done(c->ctx, c, &frame->done);
    } else {
        child_kill(c, KILL_GARBLED);
    }
}

/* Reads one frame if there is one. Returns false when the other end is gone. */
static bool read_frame(struct child *c)
{
    union frame frame;
    ssize_t     len = recv(c->fd, &frame, sizeof frame, MSG_DONTWAIT | MSG_TRUNC);

    if (len > 0)
        take_frame(c, &frame, (size_t)len);
    return len > 0 || (len < 0 && (errno == EAGAIN || errno == EINTR));
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct child *c = poll->data;

    (void)status;
    (void)events;
    if (!read_frame(c)) {
        uv_poll_stop(c->poll);
        kill(c->pid, SIGKILL); /* no effect on what is ending already: its status is fixed by then */
    }
}

/* ---- what it is told ---------------------------------------------------- */

/* One frame with its descriptors, at most FRAME_FDS. Room in the socket is certain: one frame at a time. */
static bool send_frame(struct child *c, const void *frame, size_t len, const int *fds, int fd_count)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char           room[CMSG_SPACE(FRAME_FDS * sizeof(int))];
    } control = {0};
    size_t        fd_bytes = (size_t)fd_count * sizeof(int);
    struct iovec  part = {(void *)frame, len};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd_count > 0) {
        m.msg_control = control.room;
        m.msg_controllen = CMSG_SPACE(fd_bytes);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(fd_bytes);
        memcpy(CMSG_DATA(&control.header), fds, fd_bytes);
    }
    return sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len;
}

/* The first frame, the shared memory and the list lie in the socket before the process exists. */
static bool send_hello(struct child *c)
{
    struct frame_hello hello = {.type = FRAME_HELLO,
                                .threads = (uint32_t)c->config->threads,
                                .inline_max = c->config->inline_max,
                                .memory_max = c->config->memory_max};
    int                fds[HELLO_FDS_MAX] = {c->memfd, c->config->list};

    return send_frame(c, &hello, sizeof hello, fds, c->config->list < 0 ? 1 : 2);
}

/* ---- start ---------------------------------------------------------------- */

/* posix_spawn with the executor's descriptors, signals and environment; 0 or an errno. */
static int spawn(struct child *c, int theirs)
{
    char                       threads[48];
    char                      *argv[] = {(char *)c->config->path, NULL};
    char                      *environment[PASSED_COUNT + 4];
    char                      *owned[PASSED_COUNT];
    int                        count = 0, error;
    sigset_t                   none, all;
    posix_spawnattr_t          attributes;
    posix_spawn_file_actions_t files;

    for (size_t i = 0; i < PASSED_COUNT; i++) {
        const char *value = getenv(passed_names[i]);
        if (value && asprintf(&owned[count], "%s=%s", passed_names[i], value) >= 0) {
            environment[count] = owned[count];
            count++;
        }
    }
    snprintf(threads, sizeof threads, "OPENBLAS_NUM_THREADS=%d", c->config->threads);
    environment[count] = threads;
    environment[count + 1] = (char *)SLEEP_AT_ONCE;
    environment[count + 2] = c->config->variable[0] ? (char *)c->config->variable : NULL;
    environment[count + 3] = NULL;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, theirs, EXECUTOR_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, EXECUTOR_FD + 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    /* A session of its own: a Ctrl-C at the terminal is for the worker, which lets jobs finish. */
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    error = posix_spawn(&c->pid, c->config->path, &files, &attributes, argv, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    while (count > 0)
        free(owned[--count]);
    return error;
}

/* After an end, or a start that failed: when to start again, if it is not to sleep. */
static int64_t plan_restart(struct child *c, bool is_abnormal, int64_t now_ms)
{
    int64_t wait_ms;

    c->failures = is_abnormal ? c->failures + 1 : 0;
    wait_ms = outcome_restart_ms(c->failures);
    c->state = c->killed == KILL_REST ? CHILD_ASLEEP : CHILD_ABSENT;
    c->start_ms = now_ms + wait_ms;
    return wait_ms;
}

static void fail_start(struct child *c, const char *step, int error, int64_t now_ms)
{
    int64_t restart_ms;

    c->pid = 0;
    disconnect(c);
    restart_ms = plan_restart(c, true, now_ms);
    log_event(EVENT_EXECUTOR_CANNOT_START, LOG_TEXT("path", c->config->path), LOG_TEXT("step", step),
              LOG_TEXT("reason", strerror(error)), LOG_INT("again_ms", restart_ms));
}

bool child_start(struct child *c, int64_t now_ms)
{
    int pair[2], error;

    if (c->state > CHILD_ABSENT || now_ms < c->start_ms)
        return true;
    c->killed = KILL_NOT;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        fail_start(c, "socketpair", errno, now_ms);
        return false;
    }
    c->fd = pair[0];
    c->jobs = c->looked_jobs = 0;
    error = send_hello(c) ? spawn(c, pair[1]) : errno;
    close(pair[1]);
    if (error) {
        fail_start(c, "exec", error, now_ms);
        return false;
    }
    c->state = CHILD_STARTING;
    c->start_ms = now_ms;
    c->poll = xmalloc(sizeof *c->poll);
    uv_poll_init(c->config->loop, c->poll, c->fd);
    c->poll->data = c;
    uv_poll_start(c->poll, UV_READABLE, on_readable);
    return true;
}

bool child_is_held_back(const struct child *c, int64_t now_ms)
{
    return c->state == CHILD_ABSENT && now_ms < c->start_ms;
}

bool child_is_failing(const struct child *c)
{
    return c->failures > 0 && c->state != CHILD_READY && c->state != CHILD_BUSY;
}

bool child_is_at_hand(const struct child *c) { return c->state == CHILD_READY || c->state == CHILD_ASLEEP; }

/* ---- jobs ----------------------------------------------------------------- */

/* What the jail leaves an executor does for inline jobs. One with blobs maps its operands, which costs addresses,
 * and writes a file; the limits are lent to it for the job, from out here, for it cannot change them itself. */
static bool lend_limits(struct child *c, const struct child_job *job)
{
    bool     is_lent = job->blob_count > 0 || job->output_fd >= 0;
    uint64_t mapped = 0;

    if (!is_lent && !c->is_lent)
        return true;
    c->is_lent = is_lent;
    for (int i = 0; i < job->blob_count; i++)
        mapped += MAPPINGS_PER_BLOB * frame_room(job->blob_bytes[i]);
    return set_limit(c, RLIMIT_FSIZE, job->output_fd >= 0 ? job->output_max : 0) &&
           (c->space == RLIM_INFINITY || set_limit(c, RLIMIT_AS, c->space + mapped));
}

void child_run(struct child *c, const struct child_job *job)
{
    struct frame_shared *shared = c->shared;
    int                  fds[FRAME_FDS], fd_count = 0;
    struct frame_job     frame = {.type = FRAME_JOB,
                                  .kind = (uint32_t)job->kind,
                                  .input_len = job->input_len,
                                  .blob_count = (uint32_t)job->blob_count,
                                  .has_output = job->output_fd >= 0,
                                  .output_max = job->output_max,
                                  .args = *job->args};

    for (; fd_count < job->blob_count; fd_count++) {
        frame.blob_bytes[fd_count] = job->blob_bytes[fd_count];
        fds[fd_count] = job->blob_fds[fd_count];
    }
    if (job->output_fd >= 0)
        fds[fd_count++] = job->output_fd;
    strcpy(frame.refs, job->refs);
    atomic_store_explicit(&shared->progress, 0, memory_order_relaxed);
    if (job->input_len > 0)
        memcpy((char *)c->shared + frame_input_at(), job->input, job->input_len);
    c->state = CHILD_BUSY;
    c->needed_ms = mono_ms();
    c->limit_s = job->limit_s;
    /* An executor that is gone is noticed by its end. */
    if (!lend_limits(c, job) || !send_frame(c, &frame, sizeof frame, fds, fd_count))
        kill(c->pid, SIGKILL);
}

const void *child_output(const struct child *c)
{
    return (const char *)c->shared + frame_output_at(c->config->inline_max);
}

uint64_t child_output_max(const struct child *c) { return frame_output_max(c->config->inline_max); }

double child_progress(const struct child *c)
{
    const struct frame_shared *shared = c->shared;
    double                     progress = atomic_load_explicit(&shared->progress, memory_order_relaxed);

    return progress >= 0 ? fmin(progress, 1) : 0; /* also for what is no number */
}

/* ---- end ------------------------------------------------------------------ */

void child_kill(struct child *c, enum kill_reason reason)
{
    if (c->pid == 0 || c->state == CHILD_DYING)
        return;
    c->state = CHILD_DYING;
    c->killed = reason;
    disconnect(c);
    kill(c->pid, SIGKILL);
}

void child_recycle(struct child *c, int64_t now_ms)
{
    int64_t rss;

    if (c->state != CHILD_READY)
        return;
    if (c->jobs < c->config->recycle_jobs) {
        if (c->jobs - c->looked_jobs < LOOK_JOBS && now_ms - c->looked_ms < LOOK_MS)
            return;
        c->looked_jobs = c->jobs;
        c->looked_ms = now_ms;
        rss = rss_bytes(c->pid);
        if (rss - c->rss_first < GROWTH_BYTES)
            return;
        log_event(EVENT_EXECUTOR_GREW, LOG_INT("executor_pid", c->pid), LOG_INT("rss_bytes", rss),
                  LOG_INT("first_bytes", c->rss_first));
    }
    log_event(EVENT_EXECUTOR_REPLACED, LOG_INT("executor_pid", c->pid), LOG_INT("jobs", c->jobs));
    child_kill(c, KILL_RECYCLE);
}

void child_rest(struct child *c, int64_t now_ms)
{
    if (c->state != CHILD_READY || now_ms - c->needed_ms < c->config->rest_ms)
        return;
    log_event(EVENT_EXECUTOR_RESTS, LOG_INT("executor_pid", c->pid), LOG_TEXT("path", c->config->path),
              LOG_INT("jobs", c->jobs));
    child_kill(c, KILL_REST);
}

void child_reap(struct child *c, int64_t now_ms)
{
    int          status;
    struct fault why;
    bool         was_starting = c->state == CHILD_STARTING;
    bool         is_abnormal;
    int64_t      restart_ms;

    if (c->pid == 0 || waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    if (c->state == CHILD_BUSY)
        read_frame(c); /* it may have answered just before its end */
    outcome_of_end(status, c->killed, c->limit_s, &why);
    is_abnormal = outcome_is_abnormal(c->killed);
    disconnect(c);
    restart_ms = plan_restart(c, is_abnormal, now_ms);
    if (is_abnormal)
        log_event(was_starting ? EVENT_EXECUTOR_BROKEN : EVENT_EXECUTOR_DIED, LOG_INT("executor_pid", c->pid),
                  LOG_TEXT("path", c->config->path), LOG_INT("again_ms", restart_ms), LOG_TEXT("reason", why.detail));
    c->pid = 0;
    c->events->ended(c->ctx, c, &why, restart_ms);
}

void child_tick(struct child *c, int64_t now_ms)
{
    struct fault why;

    if (c->state == CHILD_STARTING && now_ms - c->start_ms > READY_DEADLINE_MS)
        child_kill(c, KILL_SILENT);
    if (c->state == CHILD_ABSENT && !child_start(c, now_ms)) {
        fault_set(&why, ERR_EXECUTOR, "the executor cannot be started");
        c->events->ended(c->ctx, c, &why, 1);
    }
}
