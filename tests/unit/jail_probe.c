/* SPDX-License-Identifier: Apache-2.0 */
/* jail_probe.c - enters the executor's jail and tries what argv[1] says; with a
 * second argument the jail of an executor that makes threads.
 *
 * Exit status 0: it was possible; 1: it failed, but the process lives; killed:
 * the filter said no. tests/behave/test_executor.py knows what each must get.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "worker/executor/jail.h"

#define MEMORY_MAX (64 * 1024 * 1024)

#define SHARED_BYTES 4096

static int   pair[2];
static void *shared;

static bool try_nothing(void) { return true; }
static bool try_socket(void) { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }
static bool try_unix_socket(void) { return socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }
static bool try_open(void) { return open("/etc/hostname", O_RDONLY) >= 0; }
static bool try_create(void) { return open("/tmp/jail-probe-was-here", O_CREAT | O_WRONLY, 0600) >= 0; }
static bool try_unlink(void) { return unlink("/tmp/jail-probe-was-here") == 0; }
static bool try_fork(void) { return fork() >= 0; }
static bool try_kill(void) { return kill(getppid(), 0) == 0; }
static bool try_ptrace(void) { return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0; }
static bool try_memfd(void) { return syscall(SYS_memfd_create, "x", 0) >= 0; }
static bool try_shmget(void) { return syscall(SYS_shmget, 0, 4096, 0600) >= 0; }
static bool try_shmat(void) { return syscall(SYS_shmat, 0, NULL, 0) >= 0; }
static bool try_io_uring(void) { return syscall(SYS_io_uring_setup, 8, NULL) >= 0; }

static bool try_exec(void)
{
    char *argv[] = {"/bin/true", NULL}, *envp[] = {NULL};

    execve(argv[0], argv, envp);
    return false;
}

static bool try_map(size_t bytes, int protection, int flags)
{
    return mmap(NULL, bytes, protection, flags | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool try_code(void) { return try_map(4096, PROT_READ | PROT_EXEC, MAP_PRIVATE); }

/* Memory that RLIMIT_DATA would not count. */
static bool try_shared(void) { return try_map(4096, PROT_READ | PROT_WRITE, MAP_SHARED); }
static bool try_shared_validate(void) { return try_map(4096, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE); }
static bool try_stack(void) { return try_map(4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_GROWSDOWN); }
static bool try_too_many_addresses(void) { return try_map(2 * (size_t)MEMORY_MAX, PROT_READ, MAP_PRIVATE); }

/* A shared mapping from before the jail, as the executor has one. */
static bool try_grow_shared(void)
{
    return mremap(shared, SHARED_BYTES, 2 * (size_t)MEMORY_MAX, MREMAP_MAYMOVE) != MAP_FAILED;
}

/* Read-only memory that becomes writable by and by. */
static bool try_turn_writable(void)
{
    enum { PART = MEMORY_MAX / 2 };

    for (int i = 0; i < 4; i++) {
        void *part = mmap(NULL, PART, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (part == MAP_FAILED || mprotect(part, PART, PROT_READ | PROT_WRITE))
            return false;
    }
    return true;
}

static void *idle(void *ctx) { return ctx; }

static bool try_thread(void)
{
    pthread_t thread;

    return pthread_create(&thread, NULL, idle, NULL) == 0;
}

static bool try_other_descriptor(void) { return write(pair[1], "x", 1) == 1; }
static bool try_limits(void)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

    return setrlimit(RLIMIT_DATA, &all) == 0;
}

static bool try_abort(void) { abort(); }

/* A file as it comes with a job: sent before the jail, received inside. */
static bool send_file(void)
{
    union {
        struct cmsghdr head;
        char           room[CMSG_SPACE(sizeof(int))];
    } control = {.head = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
    char          byte = 0;
    struct iovec  part = {&byte, 1};
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    int fd = memfd_create("blob", MFD_CLOEXEC);

    if (fd < 0 || write(fd, "blob", 4) != 4)
        return false;
    memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    return sendmsg(pair[1], &msg, 0) == 1;
}

static int receive_file(void)
{
    union {
        struct cmsghdr head;
        char           room[CMSG_SPACE(sizeof(int))];
    } control;
    char          byte;
    struct iovec  part = {&byte, 1};
    struct msghdr msg = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
    int fd = -1;

    if (recvmsg(pair[0], &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
    return fd;
}

static bool try_read_file(void)
{
    int   fd = receive_file();
    char  text[4];
    char *map = mmap(NULL, 4, PROT_READ, MAP_PRIVATE, fd, 0);

    return fd > STDERR_FILENO && pread(fd, text, 4, 0) == 4 && memcmp(text, "blob", 4) == 0 && map != MAP_FAILED &&
           memcmp(map, "blob", 4) == 0;
}

/* The limit of file size lets nobody write until the parent raises it. */
static bool try_write_file(void) { return pwrite(receive_file(), "x", 1, 0) == 1; }

static bool try_hand_over_file(void) { return sync_file_range(receive_file(), 0, 4, SYNC_FILE_RANGE_WRITE) == 0; }

static bool try_map_file_shared(void)
{
    return mmap(NULL, 4, PROT_READ | PROT_WRITE, MAP_SHARED, receive_file(), 0) != MAP_FAILED;
}

/* What computing needs stays possible. */
static bool try_memory(void)
{
    for (size_t bytes = 1; bytes < MEMORY_MAX / 4; bytes *= 2) {
        char *p = malloc(bytes);

        if (!p)
            return false;
        memset(p, 1, bytes);
        free(p);
    }
    return true;
}

static bool try_too_much_memory(void)
{
    char *volatile p = malloc(2 * (size_t)MEMORY_MAX);

    return p;
}

static const struct attempt {
    const char *name;
    bool (*run)(void);
} attempts[] = {
    {"nothing", try_nothing},
    {"socket", try_socket},
    {"unix-socket", try_unix_socket},
    {"open", try_open},
    {"create", try_create},
    {"unlink", try_unlink},
    {"fork", try_fork},
    {"kill", try_kill},
    {"ptrace", try_ptrace},
    {"memfd", try_memfd},
    {"exec", try_exec},
    {"code", try_code},
    {"thread", try_thread},
    {"limits", try_limits},
    {"other-descriptor", try_other_descriptor},
    {"abort", try_abort},
    {"memory", try_memory},
    {"too-much-memory", try_too_much_memory},
    {"io-uring", try_io_uring},
    {"shmget", try_shmget},
    {"shmat", try_shmat},
    {"shared", try_shared},
    {"stack", try_stack},
    {"shared-validate", try_shared_validate},
    {"grow-shared", try_grow_shared},
    {"turn-writable", try_turn_writable},
    {"too-many-addresses", try_too_many_addresses},
    {"read-file", try_read_file},
    {"write-file", try_write_file},
    {"hand-over-file", try_hand_over_file},
    {"map-file-shared", try_map_file_shared},
};

int main(int argc, char **argv)
{
    struct fault why;

    enum jail_threads threads = argc == 3 ? JAIL_MAKES_THREADS : JAIL_HAS_THREADS;

    if (argc < 2 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
        return 2;
    shared = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || !send_file())
        return 2;
    signal(SIGXFSZ, SIG_IGN); /* as jail_tie_to_parent does */
    if (jail_enter(pair[0], MEMORY_MAX, threads, &why)) {
        fprintf(stderr, "%s\n", why.detail);
        return 3;
    }
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
        if (strcmp(argv[1], attempts[i].name) == 0)
            _exit(attempts[i].run() ? 0 : 1);
    return 2;
}
