/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c - see the header. */
#include "worker/executor/serve.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/executor/jail.h"

_Noreturn void serve_die(const char *program, const char *what, const char *detail)
{
    log_open(program, LOG_INFO);
    log_event(EVENT_EXECUTOR_ENDS, LOG_TEXT("step", what), LOG_TEXT("reason", detail));
    exit(EXIT_BROKEN);
}

void serve_arguments(int argc, char **argv, const char *program, const char *help)
{
    int       type = 0;
    socklen_t len = sizeof(type);

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s " MILLRACE_VERSION "\n", program);
        exit(EXIT_SUCCESS);
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("%s " MILLRACE_VERSION ": computes jobs for millrace-worker, which starts it.\n%s", program, help);
        exit(EXIT_SUCCESS);
    }
    if (argc > 1 || getsockopt(EXECUTOR_FD, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_SEQPACKET) {
        fprintf(stderr, "%s is started by millrace-worker, not by hand; see --help\n", program);
        exit(EXIT_USAGE);
    }
}

/* ---- frames ------------------------------------------------------------- */

/* The descriptors that came with a message; returns how many, or -1 when there is anything else beside it. */
static int take_descriptors(struct msghdr *msg, int fds[FRAME_FDS])
{
    struct cmsghdr *c = CMSG_FIRSTHDR(msg);
    size_t          bytes;

    if (!c)
        return 0;
    bytes = c->cmsg_len - CMSG_LEN(0);
    if ((msg->msg_flags & MSG_CTRUNC) || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        bytes > FRAME_FDS * sizeof(int))
        return -1;
    memcpy(fds, CMSG_DATA(c), bytes);
    return (int)(bytes / sizeof(int));
}

/* One frame of exactly len bytes, and the descriptors that come with it; returns how many. Ends the process when the
 * worker is gone or sends anything else. */
static int receive(const struct server *x, void *frame, size_t len, int fds[FRAME_FDS])
{
    union {
        struct cmsghdr head;
        char           room[CMSG_SPACE(FRAME_FDS * sizeof(int))];
    } control;
    struct iovec  iov = {.iov_base = frame, .iov_len = len};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    ssize_t got;
    int     count;

    do
        got = recvmsg(EXECUTOR_FD, &msg, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
        exit(EXIT_SUCCESS);
    if (got < 0)
        serve_die(x->program, "recvmsg", strerror(errno));
    if ((size_t)got != len || (msg.msg_flags & MSG_TRUNC))
        serve_die(x->program, "protocol", "a frame of the wrong size");
    count = take_descriptors(&msg, fds);
    if (count < 0)
        serve_die(x->program, "protocol", "more with a frame than descriptors");
    return count;
}

static void send_frame(const struct server *x, const void *frame, size_t len)
{
    ssize_t sent;

    do
        sent = send(EXECUTOR_FD, frame, len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
        exit(EXIT_SUCCESS);
    if (sent < 0)
        serve_die(x->program, "send", strerror(errno));
}

void serve_greet(struct server *x, const char *program)
{
    struct fault why;
    int          fds[FRAME_FDS], fd_count;

    *x = (struct server){.program = program};
    if (jail_tie_to_parent(EXECUTOR_FD, &why))
        serve_die(program, "start", why.detail);
    fd_count = receive(x, &x->hello, sizeof(x->hello), fds);
    if (fd_count < 1 || fd_count > HELLO_FDS_MAX || x->hello.type != FRAME_HELLO || !x->hello.threads)
        serve_die(program, "protocol", "expected hello with one descriptor or two");
    x->list = fd_count > 1 ? fds[1] : -1;
    x->map = mmap(NULL, frame_map_bytes(x->hello.inline_max), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    if (x->map == MAP_FAILED)
        serve_die(program, "mmap", strerror(errno));
    close(fds[0]);
    x->shared = (struct frame_shared *)x->map;
}

/* ---- jobs ------------------------------------------------------------------ */

struct task serve_task(const struct server *x, const struct args *args)
{
    return (struct task){.args = args,
                         .commands = x->commands,
                         .refs = "",
                         .output_fd = -1,
                         .memory_max = x->hello.memory_max,
                         .threads = (int)x->hello.threads,
                         .crew = x->crew,
                         .progress = &x->shared->progress};
}

static struct task describe(const struct server *x, const struct frame_job *job, const int *fds)
{
    struct task task = serve_task(x, &job->args);
    bool        is_open_ended = kinds[job->kind]->is_open_ended;

    task.input = x->map + frame_input_at();
    task.input_len = job->input_len;
    task.refs = job->refs;
    task.blob_count = (int)job->blob_count;
    memcpy(task.blob_fds, fds, job->blob_count * sizeof(*fds));
    memcpy(task.blob_bytes, job->blob_bytes, sizeof(task.blob_bytes));
    if (job->has_output)
        task.output_fd = fds[job->blob_count];
    task.output_max = job->output_max;
    if (!job->has_output || is_open_ended)
        task.output = x->map + frame_output_at(x->hello.inline_max);
    if (is_open_ended)
        task.room_max = x->hello.inline_max;
    else if (!job->has_output)
        task.output_max = frame_output_max(x->hello.inline_max);
    return task;
}

static void run_job(const struct server *x, const struct frame_job *job, const int *fds)
{
    struct frame_done done = {.type = FRAME_DONE};
    struct task       task = describe(x, job, fds);

    atomic_store_explicit(task.progress, 0.0, memory_order_relaxed);
    done.err = task_runs[job->kind](&task);
    if (done.err) {
        done.why = task.why;
    } else {
        done.output_len = task.output_len;
        done.is_file = task.is_file;
        memcpy(done.media, task.type, sizeof(done.media));
        memcpy(done.sum, task.sum, sizeof(done.sum));
        memcpy(done.verified, task.verified, sizeof(done.verified));
    }
    for (uint32_t i = 0; i < job->blob_count + job->has_output; i++)
        close(fds[i]);
    send_frame(x, &done, sizeof(done));
}

static bool makes_sense(const struct server *x, const struct frame_job *job, int fd_count)
{
    return job->type == FRAME_JOB && job->kind < KIND_COUNT && task_runs[job->kind] &&
           job->input_len <= x->hello.inline_max && job->blob_count <= INPUT_BLOBS_MAX && job->has_output <= 1 &&
           fd_count == (int)(job->blob_count + job->has_output) && memchr(job->refs, '\0', sizeof(job->refs));
}

_Noreturn void serve_jobs(struct server *x, const char *kernel)
{
    struct frame_ready ready = {.type = FRAME_READY, .pid = (uint32_t)getpid()};
    struct frame_job   job;
    int                fds[FRAME_FDS], fd_count;

    snprintf(ready.kernel, sizeof(ready.kernel), "%s", kernel);
    send_frame(x, &ready, sizeof(ready));
    for (;;) {
        fd_count = receive(x, &job, sizeof(job), fds);
        if (!makes_sense(x, &job, fd_count))
            serve_die(x->program, "protocol", "expected a job");
        run_job(x, &job, fds);
    }
}
