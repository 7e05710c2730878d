/* SPDX-License-Identifier: Apache-2.0 */
/* guard.c - see the header. */
#include "kinds/command/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "kinds/command/tree.h"

#define CHUNK_BYTES (256 * 1024)

/* Ends of pipes that the guard has. */
struct ends {
    int lifeline, report, out, errors; /* out: -1 without is_stdout */
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- the program's process ----------------------------------------------------------- */

static enum err refuse(struct fault *why, const char *what)
{
    enum err e = errno == ENOSPC || errno == EDQUOT ? ERR_DISK_FULL : ERR_IO;

    return fault_set(why, e, "%s: %s", what, strerror(errno));
}

/* Descriptors 0 to 2 are the program's; all else is closed by the exec. */
static enum err set_descriptors(const struct guard_order *o, const struct ends *ends, int input, struct fault *why)
{
    if (dup2(input, STDIN_FILENO) < 0 || dup2(o->is_stdout ? ends->out : ends->errors, STDOUT_FILENO) < 0 ||
        dup2(ends->errors, STDERR_FILENO) < 0 || close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC))
        return refuse(why, "descriptors");
    return ERR_OK;
}

/* Own session, and the signals as they are when nobody has touched them. */
static enum err set_process(pid_t guard, const struct guard_order *o, struct fault *why)
{
    sigset_t none;

    setsid();
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != guard)
        return fault_set(why, ERR_IO, "the process that watches over the program is gone");
    for (int i = 1; i < NSIG; i++)
        signal(i, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    umask(S_IRWXG | S_IRWXO);
    return fchdir(o->folder->fd) ? refuse(why, "its folder") : ERR_OK;
}

/* failed: a pipe that the exec closes; what is written there says why there was none. */
static _Noreturn void become_program(pid_t guard, const struct guard_order *o, const struct ends *ends, int input,
                                     int failed)
{
    struct walls walls = o->walls;
    struct fault why;
    enum err     e = set_process(guard, o, &why);

    if (!e)
        e = set_descriptors(o, ends, input, &why);
    walls.keepers[WALLS_KEEPERS - 1] = guard;
    if (!e)
        e = walls_enter(&walls, &why);
    if (!e) {
        execve(o->argv[0], o->argv, o->envp);
        fault_set(&why, ERR_IO, "the program %.200s cannot be started: %s", o->argv[0], strerror(errno));
    }
    (void)!write(failed, &why, sizeof why);
    _exit(EXIT_FAILURE);
}

/* ---- the guard's process --------------------------------------------------------------- */

/* Leaves nothing open but what is used here: the executor's socket and the result are not the guard's. */
static void close_others(const struct guard_order *o, const struct ends *ends)
{
    int      kept[5 + INPUT_BLOBS_MAX], count = 0;
    unsigned from = STDERR_FILENO + 1;

    kept[count++] = ends->lifeline;
    kept[count++] = ends->report;
    kept[count++] = ends->errors;
    kept[count++] = ends->out;
    kept[count++] = o->folder->fd;
    for (int i = 0; i < o->task->blob_count; i++)
        kept[count++] = o->task->blob_fds[i];
    for (;;) { /* the gaps between them, in rising order */
        int next = -1;

        for (int i = 0; i < count; i++)
            if (kept[i] >= (int)from && (next < 0 || kept[i] < next))
                next = kept[i];
        if (next < 0 || (unsigned)next > from)
            close_range(from, next < 0 ? ~0U : (unsigned)next - 1, 0);
        if (next < 0)
            return;
        from = (unsigned)next + 1;
    }
}

/* Its own room to write: the executor's is that of its result. And should somebody have stopped us, the executor's end
 * has us go on. */
static void set_guard(void)
{
    struct rlimit files;
    sigset_t      child;

    prctl(PR_SET_NAME, "millrace-guard");
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    setsid();
    tree_adopt();
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, NULL);
    if (getrlimit(RLIMIT_FSIZE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_FSIZE, &files);
    }
}

static enum err write_all(int fd, const char *bytes, size_t len, struct fault *why)
{
    while (len) {
        ssize_t written = write(fd, bytes, len);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return refuse(why, "writing the input to the private folder");
        bytes += written;
        len -= (size_t)written;
    }
    return ERR_OK;
}

/* Whether the executor has given the run up, or ended. */
static bool is_cut(int lifeline)
{
    struct pollfd end = {.fd = lifeline};

    return poll(&end, 1, 0) > 0;
}

static enum err refuse_cut(struct fault *why) { return fault_set(why, ERR_IO, "the run was given up"); }

/* A copy: the program may do with it what it likes. */
static enum err copy_blob(int fd, int blob, uint64_t bytes, int lifeline, struct fault *why)
{
    char    *chunk = xmalloc(CHUNK_BYTES);
    enum err e = ERR_OK;

    for (uint64_t at = 0; at < bytes && !e;) {
        ssize_t got = pread(blob, chunk, CHUNK_BYTES, (off_t)at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            e = fault_set(why, ERR_IO, "reading the input: %s", got ? strerror(errno) : "it is too short");
        else if (is_cut(lifeline))
            e = refuse_cut(why);
        else
            e = write_all(fd, chunk, (size_t)got, why);
        at += got > 0 ? (uint64_t)got : 0;
    }
    free(chunk);
    return e;
}

/* *input: the file, open for reading from its start, or /dev/null. */
static enum err write_input(const struct guard_order *o, int lifeline, int *input, struct fault *why)
{
    const struct task *task = o->task;
    int                in = openat(o->folder->fd, FOLDER_IN, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    enum err           e = in < 0 ? refuse(why, "the private folder") : ERR_OK;

    if (!e && o->input_name) {
        fd = openat(in, o->input_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
        e = fd < 0 ? refuse(why, "making the input in the private folder") : ERR_OK;
    }
    if (!e && o->input_name)
        e = task->blob_count ? copy_blob(fd, task->blob_fds[0], task->blob_bytes[0], lifeline, why)
                             : write_all(fd, task->input, task->input_len, why);
    close_end(&fd);
    if (!e) {
        *input =
            o->is_stdin ? openat(in, o->input_name, O_RDONLY | O_CLOEXEC) : open("/dev/null", O_RDONLY | O_CLOEXEC);
        e = *input < 0 ? refuse(why, "the program's standard input") : ERR_OK;
    }
    close_end(&in);
    return e;
}

/* Starts the program; the pipe ends without a word when the exec has succeeded. */
static enum err start_program(const struct guard_order *o, const struct ends *ends, pid_t *program, struct fault *why)
{
    int      input = -1, failed[2] = {-1, -1};
    pid_t    guard = getpid();
    enum err e = write_input(o, ends->lifeline, &input, why);

    if (!e && is_cut(ends->lifeline)) /* then the input may be that of the next job already */
        e = refuse_cut(why);
    if (!e && pipe2(failed, O_CLOEXEC))
        e = refuse(why, "a pipe");
    if (e)
        goto out;
    *program = fork();
    if (*program == 0)
        become_program(guard, o, ends, input, failed[1]);
    if (*program < 0) {
        e = refuse(why, "a process for the program");
        goto out;
    }
    close_end(&failed[1]);
    if (read(failed[0], why, sizeof *why) == (ssize_t)sizeof *why)
        e = why->err;
out:
    close_end(&input);
    close_end(&failed[0]);
    close_end(&failed[1]);
    return e;
}

/* Reaps all that have ended but the program; true: that one has, too. */
static bool reap_until(pid_t program)
{
    siginfo_t ended = {0};

    while (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid) {
        if (ended.si_pid == program)
            return true;
        waitpid(ended.si_pid, NULL, 0);
        ended.si_pid = 0;
    }
    return false;
}

/* Ends its process group, at one stroke: what forks faster than one can kill it one by one. The program is not reaped
 * before, or the number might be another's. Returns its status. */
static int end_group(pid_t program)
{
    int status = 0;

    kill(-program, SIGKILL);
    while (waitpid(program, &status, 0) < 0 && errno == EINTR)
        continue;
    return status;
}

/* Waits for the end of the program: true, or of the lifeline. Reaps who else ends. */
static bool await_program(pid_t program, int lifeline)
{
    sigset_t      child;
    struct pollfd fds[2] = {{.fd = lifeline}, {.events = POLLIN}}; /* of the lifeline its end, which needs no wish */
    bool          has_ended;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    fds[1].fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    while (!(has_ended = reap_until(program))) {
        struct signalfd_siginfo taken;

        if (poll(fds, 2, -1) > 0 && fds[0].revents)
            break;
        while (read(fds[1].fd, &taken, sizeof taken) > 0)
            continue;
    }
    close_end(&fds[1].fd);
    return has_ended;
}

static void await_end_of(int lifeline)
{
    struct pollfd fd = {.fd = lifeline};

    while (poll(&fd, 1, -1) < 1)
        continue;
}

static _Noreturn void be_guard(const struct guard_order *o, struct ends *ends)
{
    struct guard_report report = {0};
    struct folder       folder = *o->folder;
    pid_t               program = 0;
    bool                is_whole = true; /* the run, in one way or another */

    close_others(o, ends);
    set_guard();
    if (!start_program(o, ends, &program, &report.fault))
        report.fault.err = ERR_OK;
    close_end(&ends->out);
    close_end(&ends->errors);
    if (!report.fault.err) {
        is_whole = await_program(program, ends->lifeline);
        report.status = end_group(program);
    }
    tree_kill();
    if (is_whole && write(ends->report, &report, sizeof report) == (ssize_t)sizeof report)
        await_end_of(ends->lifeline); /* the executor takes what lies in the folder */
    folder_remove(&folder);
    _exit(EXIT_SUCCESS);
}

/* ---- in the executor ------------------------------------------------------------------------ */

static bool make_pipes(struct guard *g, struct ends *ends, bool is_stdout)
{
    int  lifeline[2] = {-1, -1}, report[2] = {-1, -1}, out[2] = {-1, -1}, errors[2] = {-1, -1};
    bool is_made = pipe2(lifeline, O_CLOEXEC) == 0 && pipe2(report, O_CLOEXEC) == 0 && pipe2(errors, O_CLOEXEC) == 0 &&
                   (!is_stdout || pipe2(out, O_CLOEXEC) == 0);

    *g = (struct guard){.lifeline = lifeline[1], .report = report[0], .out = out[0], .errors = errors[0]};
    *ends = (struct ends){.lifeline = lifeline[0], .report = report[1], .out = out[1], .errors = errors[1]};
    return is_made;
}

static void close_ours(struct guard *g)
{
    close_end(&g->lifeline);
    close_end(&g->report);
    close_end(&g->out);
    close_end(&g->errors);
}

enum err guard_start(struct guard *g, const struct guard_order *order, struct fault *why)
{
    struct ends ends;
    enum err    e = ERR_OK;

    if (!make_pipes(g, &ends, order->is_stdout))
        e = refuse(why, "pipes for the program");
    if (!e) {
        g->pid = fork();
        if (g->pid == 0)
            be_guard(order, &ends);
        if (g->pid < 0)
            e = refuse(why, "a process to watch over the program");
    }
    close_end(&ends.lifeline);
    close_end(&ends.report);
    close_end(&ends.out);
    close_end(&ends.errors);
    if (e)
        close_ours(g);
    return e;
}

bool guard_read_report(struct guard *g, struct guard_report *report)
{
    ssize_t got;

    do
        got = read(g->report, report, sizeof *report);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof *report;
}

void guard_end(struct guard *g, struct folder *folder)
{
    int   status = 0;
    pid_t pid;

    close_ours(g);
    kill(g->pid, SIGCONT); /* somebody may have stopped it */
    do
        pid = waitpid(g->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    if (pid == g->pid && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS) {
        folder_leave(folder);
        return;
    }
    tree_kill(); /* what the guard would have done */
    folder_remove(folder);
}
