/* SPDX-License-Identifier: Apache-2.0 */
/* jail.c - limits first, the filter last, since setting limits needs calls
 * that the filter forbids. */
#include "worker/executor/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/frame.h"

#define FILES_MAX (EXECUTOR_FD + 1 + FRAME_FDS) /* descriptors that may be open at one time */

/* Sanitizers reserve terabytes of shadow memory, trace themselves for leaks
 * and read /proc when they end: under them there is no filter and no limit of
 * memory or of files. What is shipped is tested in the ordinary build. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define IS_SANITIZED true
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED false
#endif

static enum err refuse(struct fault *why, const char *what)
{
    return fault_set(why, ERR_IO, "%s: %s", what, strerror(errno));
}

enum err jail_tie_to_parent(int fd, struct fault *why)
{
    /* What stops a worker stops it alone: it decides what becomes of the job.
     * A full log file must not kill (RLIMIT_FSIZE is 0 but for a job's output). */
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ};
    struct ucred     parent;
    socklen_t        len = sizeof(parent);

    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        signal(ignored[i], SIG_IGN);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return refuse(why, "PR_SET_PDEATHSIG");
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &parent, &len))
        return refuse(why, "SO_PEERCRED");
    if (getppid() != parent.pid) /* it went before the prctl, so nothing would tell us */
        return fault_set(why, ERR_IO, "the worker that started this executor is gone");
    return ERR_OK;
}

static enum err limit(struct fault *why, const char *name, __rlimit_resource_t resource, uint64_t value)
{
    struct rlimit r = {.rlim_cur = value, .rlim_max = value};

    return setrlimit(resource, &r) ? refuse(why, name) : ERR_OK;
}

/* One that the worker may raise for a job and lower again. Nobody can from in here: the filter forbids it. */
static enum err limit_for_now(struct fault *why, const char *name, __rlimit_resource_t resource, uint64_t value)
{
    struct rlimit r;

    if (getrlimit(resource, &r))
        return refuse(why, name);
    r.rlim_cur = value < r.rlim_max ? value : r.rlim_max;
    return setrlimit(resource, &r) ? refuse(why, name) : ERR_OK;
}

/* Memory that the process has mapped so far (not: touched), all of it and the
 * data: OpenBLAS reserves 128 MiB for each of its threads and fills little. */
static enum err measure_memory(uint64_t *all, uint64_t *data, struct fault *why)
{
    FILE              *f = fopen("/proc/self/statm", "re");
    unsigned long long pages[2] = {0};
    int                count = f ? fscanf(f, "%llu %*u %*u %*u %*u %llu", &pages[0], &pages[1]) : 0;

    if (f)
        fclose(f);
    if (count != 2)
        return fault_set(why, ERR_IO, "/proc/self/statm cannot be read");
    *all = pages[0] * (uint64_t)sysconf(_SC_PAGESIZE);
    *data = pages[1] * (uint64_t)sysconf(_SC_PAGESIZE);
    return ERR_OK;
}

/* RLIMIT_DATA counts what is private and writable alone. The filter allows
 * nothing else that holds memory, but addresses that are only read cost page
 * tables, and a shared mapping can be made to grow: hence RLIMIT_AS too. */
static enum err limit_memory(uint64_t memory_max, struct fault *why)
{
    uint64_t all = 0, data = 0;
    enum err e = measure_memory(&all, &data, why);

    if (!e)
        e = limit(why, "RLIMIT_DATA", RLIMIT_DATA, data + memory_max);
    return e ? e : limit_for_now(why, "RLIMIT_AS", RLIMIT_AS, all + memory_max);
}

static enum err set_limits(uint64_t memory_max, struct fault *why)
{
    enum err e;

    e = IS_SANITIZED ? ERR_OK : limit_memory(memory_max, why);
    if (!e)
        e = limit(why, "RLIMIT_CORE", RLIMIT_CORE, 0);
    if (!e)
        e = limit_for_now(why, "RLIMIT_FSIZE", RLIMIT_FSIZE, 0);
    if (!e && !IS_SANITIZED)
        e = limit(why, "RLIMIT_NOFILE", RLIMIT_NOFILE, FILES_MAX);
    return e;
}

/* Standard input and output go nowhere, but stay taken: or the descriptor of a result would become standard
 * output, and whatever a library prints would be written into it. */
static enum err close_others(int fd, struct fault *why)
{
    int nowhere = open("/dev/null", O_RDWR);

    if (nowhere < 0 || dup2(nowhere, STDIN_FILENO) < 0 || dup2(nowhere, STDOUT_FILENO) < 0)
        return refuse(why, "/dev/null");
    if (fd > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0U, 0);
    return ERR_OK;
}

/* Calls that are allowed whatever their arguments. */
static const int allowed[] = {
    /* the conversation, on descriptors that are open already; last words */
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvfrom),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(close),
    /* blobs, by descriptors that came with a job; whatever is mapped of them is private */
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(sync_file_range),
    /* memory (what is mapped anew: see add_rules) */
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    /* threads that exist already, waiting, and time */
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(getrandom),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq) /* the first calls of a thread that was just made */,
    /* the end */
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
};

/* Harmless wishes of the C library and OpenBLAS, answered with an error. */
static const int denied[] = {SCMP_SYS(ioctl), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek),
                             SCMP_SYS(prctl), SCMP_SYS(uname), SCMP_SYS(sysinfo),    SCMP_SYS(mbind)};

/* Threads of this process, that is: with its memory, files and signals, and under its filter. clone3 hides its flags
 * from a filter; without it the C library takes clone. */
static int add_thread_rules(scmp_filter_ctx filter)
{
    static const scmp_datum_t thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                       CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_EQ, thread, 0));

    return rc ? rc : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int add_rules(scmp_filter_ctx filter, enum jail_threads threads)
{
    /* memory, but none that can be executed, and none that RLIMIT_DATA does not count: shared, or a stack */
    static const struct scmp_arg_cmp no_code = {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
    static const struct scmp_arg_cmp counted = {3, SCMP_CMP_MASKED_EQ, MAP_TYPE | MAP_GROWSDOWN, MAP_PRIVATE};
    int                              rc = 0;

    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && !rc; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < sizeof(denied) / sizeof(denied[0]) && !rc; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 2, no_code, counted);
    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, no_code);
    /* abort() signals its own process and no other */
    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
    if (!rc && threads == JAIL_MAKES_THREADS)
        rc = add_thread_rules(filter);
    return rc;
}

/* The filter, over all threads. */
static enum err lock(enum jail_threads threads, struct fault *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int             rc = filter ? 0 : -ENOMEM;

    if (!rc)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!rc)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: fewer steps per call */
    if (!rc)
        rc = add_rules(filter, threads);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc ? fault_set(why, ERR_IO, "seccomp: %s", strerror(-rc)) : ERR_OK;
}

enum err jail_enter(int fd, uint64_t memory_max, enum jail_threads threads, struct fault *why)
{
    enum err e;

    mallopt(M_ARENA_MAX, 1); /* further arenas would look into /proc when they shrink */
    e = close_others(fd, why);
    if (!e)
        e = set_limits(memory_max, why);
    if (e)
        return e;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return refuse(why, "PR_SET_NO_NEW_PRIVS");
    if (IS_SANITIZED)
        return ERR_OK;
    if (prctl(PR_SET_DUMPABLE, 0))
        return refuse(why, "PR_SET_DUMPABLE");
    return lock(threads, why);
}
