/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-exec - computes one job at a time for the worker that started it.
 *
 *   start -> hello with shared memory -> warm up -> jail -> ready
 *                                                     |
 *                              job -> compute -> done +--> worker's end closes: exit
 *
 * worker/frame.h has the protocol. The executor knows no URL, no id and no
 * password; whatever goes wrong in here ends this process, and the worker
 * learns it from the socket and the exit status.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kinds/crew.h"
#include "kinds/matrix/kernel.h"
#include "kinds/task.h"
#include "worker/executor/jail.h"
#include "worker/frame.h"

enum { EXIT_USAGE = 2, EXIT_BROKEN = 3 }; /* called by hand; no worker, no jail, or frames that make no sense */

struct executor {
    struct frame_hello   hello;
    char                *map; /* owned for good: frame.h has the layout */
    struct frame_shared *shared;
    struct crew         *crew; /* owned for good; NULL: one thread */
};

_Noreturn static void die(const char *what, const char *detail)
{
    fprintf(stderr, "millrace-exec[%d]: %s: %s\n", (int)getpid(), what, detail);
    exit(EXIT_BROKEN);
}

static const char usage[] = "millrace-exec " MILLRACE_VERSION ": computes jobs for millrace-worker, which starts it.\n"
                            "It reads no settings, and takes no arguments but --help, --version, and --kernel: says\n"
                            "which kernel the matrix library took for this CPU, and how fast it is.\n";

/* One line of JSON. */
static void print_kernel(void)
{
    struct kernel k = kernel_name();

    printf("{\"library\":\"%s\",\"core\":\"%s\",\"threads\":1,\"gflops\":%.1f}\n", k.library, k.core, kernel_measure());
}

static void read_arguments(int argc, char **argv)
{
    int       type = 0;
    socklen_t len = sizeof(type);

    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("millrace-exec " MILLRACE_VERSION);
        exit(EXIT_SUCCESS);
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        exit(EXIT_SUCCESS);
    }
    if (argc == 2 && strcmp(argv[1], "--kernel") == 0) {
        print_kernel();
        exit(EXIT_SUCCESS);
    }
    if (argc > 1 || getsockopt(EXECUTOR_FD, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_SEQPACKET) {
        fputs("millrace-exec is started by millrace-worker, not by hand; see --help\n", stderr);
        exit(EXIT_USAGE);
    }
}

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
static int receive(void *frame, size_t len, int fds[FRAME_FDS])
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
        die("recvmsg", strerror(errno));
    if ((size_t)got != len || (msg.msg_flags & MSG_TRUNC))
        die("protocol", "a frame of the wrong size");
    count = take_descriptors(&msg, fds);
    if (count < 0)
        die("protocol", "more with a frame than descriptors");
    return count;
}

static void send_frame(const void *frame, size_t len)
{
    ssize_t sent;

    do
        sent = send(EXECUTOR_FD, frame, len, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
        exit(EXIT_SUCCESS);
    if (sent < 0)
        die("send", strerror(errno));
}

static void greet(struct executor *x)
{
    int fds[FRAME_FDS];

    if (receive(&x->hello, sizeof(x->hello), fds) != 1 || x->hello.type != FRAME_HELLO || !x->hello.threads)
        die("protocol", "expected hello with one descriptor");
    x->map = mmap(NULL, frame_map_bytes(x->hello.inline_max), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    if (x->map == MAP_FAILED)
        die("mmap", strerror(errno));
    close(fds[0]);
    x->shared = (struct frame_shared *)x->map;
    x->crew = crew_new((int)x->hello.threads); /* here: the jail makes no threads */
}

/* A small product, so that OpenBLAS has its threads and buffers before the
 * door is locked, and the first job finds its code in memory. */
static void warm_up(const struct executor *x)
{
    enum { SIDE = 128 }; /* large enough that no shortcut for small products is taken */
    static const double operands[2 * SIDE * SIDE] __attribute__((aligned(64)));
    static char         output[SIDE * SIDE * sizeof(double) + FRAME_PAGE] __attribute__((aligned(64)));
    char               *names[INPUT_BLOBS_MAX];
    struct args         args;
    struct task         task = {.args = &args,
                                .input = operands,
                                .input_len = sizeof(operands),
                                .refs = "",
                                .output_fd = -1,
                                .output = output,
                                .output_max = sizeof(output),
                                .memory_max = x->hello.memory_max,
                                .threads = (int)x->hello.threads,
                                .crew = x->crew,
                                .progress = &x->shared->progress};

    args_init(&args);
    for (int i = 0; i < 3; i++) {
        args.integer[i] = SIDE;
        args.real[i] = SIDE;
    }
    input_blobs("{}", names); /* the reader of JSON draws a random number once, from a file */
    kernel_prepare();
    if (matrix_run(&task))
        die("warm-up", task.why.detail);
}

static struct task describe(struct executor *x, const struct frame_job *job, const int *fds)
{
    struct task task = {.args = &job->args,
                        .input = x->map + frame_input_at(),
                        .input_len = job->input_len,
                        .refs = job->refs,
                        .blob_count = (int)job->blob_count,
                        .output_fd = -1,
                        .memory_max = x->hello.memory_max,
                        .threads = (int)x->hello.threads,
                        .crew = x->crew,
                        .progress = &x->shared->progress};

    memcpy(task.blob_fds, fds, job->blob_count * sizeof(*fds));
    memcpy(task.blob_bytes, job->blob_bytes, sizeof(task.blob_bytes));
    if (job->has_output) {
        task.output_fd = fds[job->blob_count];
        task.output_max = job->output_max;
    } else {
        task.output = x->map + frame_output_at(x->hello.inline_max);
        task.output_max = frame_output_max(x->hello.inline_max);
    }
    return task;
}

static void run_job(struct executor *x, const struct frame_job *job, const int *fds)
{
    struct frame_done done = {.type = FRAME_DONE};
    struct task       task = describe(x, job, fds);

    atomic_store_explicit(task.progress, 0.0, memory_order_relaxed);
    done.err = task_runs[job->kind](&task);
    if (done.err) {
        done.why = task.why;
    } else {
        done.output_len = task.output_len;
        memcpy(done.sum, task.sum, sizeof(done.sum));
        memcpy(done.verified, task.verified, sizeof(done.verified));
    }
    for (uint32_t i = 0; i < job->blob_count + job->has_output; i++)
        close(fds[i]);
    send_frame(&done, sizeof(done));
}

static bool makes_sense(const struct executor *x, const struct frame_job *job, int fd_count)
{
    return job->type == FRAME_JOB && job->kind < KIND_COUNT && job->input_len <= x->hello.inline_max &&
           job->blob_count <= INPUT_BLOBS_MAX && job->has_output <= 1 &&
           fd_count == (int)(job->blob_count + job->has_output) && memchr(job->refs, '\0', sizeof(job->refs));
}

static void serve(struct executor *x)
{
    struct frame_ready ready = {.type = FRAME_READY, .pid = (uint32_t)getpid()};
    struct kernel      kernel = kernel_name();
    struct frame_job   job;
    int                fds[FRAME_FDS], fd_count;

    snprintf(ready.kernel, sizeof(ready.kernel), "%s %s", kernel.library, kernel.core);
    send_frame(&ready, sizeof(ready));
    for (;;) {
        fd_count = receive(&job, sizeof(job), fds);
        if (!makes_sense(x, &job, fd_count))
            die("protocol", "expected a job");
        run_job(x, &job, fds);
    }
}

int main(int argc, char **argv)
{
    struct executor x;
    struct fault    why;

    read_arguments(argc, argv);
    if (jail_tie_to_parent(EXECUTOR_FD, &why))
        die("start", why.detail);
    greet(&x);
    warm_up(&x);
    if (jail_enter(EXECUTOR_FD, x.hello.memory_max, &why))
        die("jail", why.detail);
    serve(&x);
}
