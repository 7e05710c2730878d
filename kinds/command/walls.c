/* SPDX-License-Identifier: Apache-2.0 */
/* walls.c - the filter first, then the limits: building it takes memory. */
#include "kinds/command/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#define PROCESSES_MAX 4096 /* of this user, threads too: ends a fork bomb before it ends the host */

/* Refused whatever their arguments. */
static const int denied[] = {
    /* other processes */
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(kcmp),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal), /* a folder of /proc will do for it; nobody sees whose */
    /* ways around the filter */
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    /* the kernel, its keys, and the ground we all stand on */
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
};

/* Namespaces that clone can make as well as unshare. */
static const scmp_datum_t namespaces[] = {CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWNS,    CLONE_NEWPID,
                                          CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP};

static const scmp_datum_t low_half = 0xffffffff; /* of a register that holds a pid, or another int */

/* What reaches a process by its pid, and which argument that is. */
static const struct {
    int      call;
    unsigned argument;
} reaching[] = {
    {SCMP_SYS(kill), 0},
    {SCMP_SYS(tkill), 0},
    {SCMP_SYS(tgkill), 0},
    {SCMP_SYS(tgkill), 1},
    {SCMP_SYS(rt_sigqueueinfo), 0},
    {SCMP_SYS(rt_tgsigqueueinfo), 0},
    {SCMP_SYS(rt_tgsigqueueinfo), 1},
};

static int deny_pid(scmp_filter_ctx filter, int call, unsigned argument, pid_t pid)
{
    struct scmp_arg_cmp is_it = {argument, SCMP_CMP_MASKED_EQ, low_half, (uint32_t)pid};

    return seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), call, 1, &is_it);
}

/* No signal to it, nor to the group that it leads. */
static int deny_keeper(scmp_filter_ctx filter, pid_t pid)
{
    int rc = pid > 1 ? deny_pid(filter, SCMP_SYS(kill), 0, -pid) : 0;

    for (size_t i = 0; i < sizeof reaching / sizeof *reaching && pid && !rc; i++)
        rc = deny_pid(filter, reaching[i].call, reaching[i].argument, pid);
    return rc;
}

/* No signal to everybody, nor to those who end the run; no limits for others. */
static int add_signal_rules(scmp_filter_ctx filter, const pid_t *keepers)
{
    int rc = deny_pid(filter, SCMP_SYS(kill), 0, -1);

    for (size_t i = 0; i < WALLS_KEEPERS && !rc; i++)
        rc = deny_keeper(filter, keepers[i]);
    if (!rc) /* or whoever is named as the owner of a pipe would get any signal that is chosen here */
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(fcntl), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, low_half, F_SETSIG));
    return rc ? rc : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0));
}

/* No socket, but connected pairs: one of datagrams could be connected anew, or send to a daemon's address. */
static int add_network_rules(scmp_filter_ctx filter)
{
    static const scmp_datum_t kind = 0xf; /* the bits of a socket's type beside its flags */
    static const scmp_datum_t sending[] = {SOCK_DGRAM, SOCK_RAW};
    int                       rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 0);

    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX));
    for (size_t i = 0; i < sizeof sending / sizeof *sending && !rc; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socketpair), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, kind, sending[i]));
    return rc;
}

static int add_rules(scmp_filter_ctx filter, const struct walls *w)
{
    int rc = 0;

    for (size_t i = 0; i < sizeof denied / sizeof *denied && !rc; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces && !rc; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
    /* its flags lie in memory, where no filter looks: the C library does with clone then */
    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!rc)
        rc = add_signal_rules(filter, w->keepers);
    return rc || w->has_network ? rc : add_network_rules(filter);
}

static enum err filter(const struct walls *w, struct fault *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int             rc = filter ? 0 : -ENOMEM;

    if (!rc)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: fewer steps per call */
    if (!rc)
        rc = add_rules(filter, w);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    return rc ? fault_set(why, ERR_IO, "seccomp: %s", strerror(-rc)) : ERR_OK;
}

/* Never above what is allowed to us. */
static enum err limit(const char *name, __rlimit_resource_t resource, uint64_t value, struct fault *why)
{
    struct rlimit r;

    if (getrlimit(resource, &r) == 0) {
        r.rlim_cur = r.rlim_max = value < r.rlim_max ? value : r.rlim_max;
        if (setrlimit(resource, &r) == 0)
            return ERR_OK;
    }
    return fault_set(why, ERR_IO, "%s: %s", name, strerror(errno));
}

enum err walls_enter(const struct walls *w, struct fault *why)
{
    enum err e;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fault_set(why, ERR_IO, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
    e = filter(w, why);
    if (!e)
        e = limit("RLIMIT_CORE", RLIMIT_CORE, 0, why);
    if (!e)
        e = limit("RLIMIT_NPROC", RLIMIT_NPROC, PROCESSES_MAX, why);
    if (!e)
        e = limit("RLIMIT_FSIZE", RLIMIT_FSIZE, w->file_max, why);
    return e ? e : limit("RLIMIT_DATA", RLIMIT_DATA, w->memory_max, why);
}
