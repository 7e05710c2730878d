/* SPDX-License-Identifier: Apache-2.0 */
/* kubectl.c - see the header. Its input lies in memory as a file, so that nothing waits for both ends of pipes. */
#include "cli/place/kubectl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUTPUT_BYTES_MAX ((size_t)1 << 30)
#define CHUNK_BYTES 65536

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t put = write(fd, bytes, len);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        bytes += put;
        len -= (size_t)put;
    }
    return true;
}

/* A descriptor to read input from; -1 with errno. */
static int open_input(const struct buf *input)
{
    int fd = input ? memfd_create("jobs", MFD_CLOEXEC) : open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (fd >= 0 && input && (!write_all(fd, input->data, input->len) || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* With the signals as a shell would leave them; 0 or an errno. */
static int start(const char *const words[], int input, int output, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t          attributes;
    sigset_t                   pipe_signal;
    int                        e;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigdefault(&attributes, &pipe_signal);
    e = posix_spawnp(pid, words[0], &files, &attributes, (char *const *)words, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return e;
}

/* 0, or an errno. */
static int read_output(int fd, struct buf *out)
{
    for (;;) {
        ssize_t got = read(fd, buf_reserve(out, CHUNK_BYTES), CHUNK_BYTES);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (!got)
            return 0;
        out->len += (size_t)got;
        if (out->len > OUTPUT_BYTES_MAX)
            return EFBIG;
    }
}

static enum err judge(const char *verb, int status, struct fault *why)
{
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return ERR_OK;
    if (WIFEXITED(status))
        return fault_set(why, ERR_IO, "kubectl %s ended with %d", verb, WEXITSTATUS(status));
    return fault_set(why, ERR_IO, "kubectl %s was ended by signal %d", verb, WTERMSIG(status));
}

/* output, a pipe's end, is taken. */
static enum err follow(const char *verb, pid_t pid, int output, struct buf *out, struct fault *why)
{
    int e = out ? read_output(output, out) : 0, status;

    if (output >= 0)
        close(output); /* what it still has to say meets a closed pipe */
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return fault_set(why, ERR_IO, "kubectl %s: %s", verb, strerror(errno));
    return e ? fault_set(why, ERR_IO, "output of kubectl %s: %s", verb, strerror(e)) : judge(verb, status, why);
}

enum err kubectl_run(const char *const words[], const struct buf *input, struct buf *out, struct fault *why)
{
    int   ends[2] = {-1, -1}, source = open_input(input), e;
    pid_t pid;

    if (source < 0)
        return fault_set(why, ERR_IO, "input of kubectl: %s", strerror(errno));
    if (out && pipe2(ends, O_CLOEXEC)) {
        e = errno;
        close(source);
        return fault_set(why, ERR_IO, "output of kubectl: %s", strerror(e));
    }
    e = start(words, source, out ? ends[1] : STDOUT_FILENO, &pid);
    close(source);
    if (out)
        close(ends[1]);
    if (!e)
        return follow(words[1], pid, ends[0], out, why);
    if (out)
        close(ends[0]);
    return fault_set(why, ERR_IO, "kubectl cannot be run: %s", strerror(e));
}
