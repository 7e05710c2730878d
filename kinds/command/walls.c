/* SPDX-License-Identifier: Apache-2.0 */
/* walls.c - the filter first, then the limits: building it takes memory. */
#include "kinds/command/walls.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

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

static int add_rules(scmp_filter_ctx filter, bool has_network)
{
    static const scmp_datum_t low_half = 0xffffffff; /* of a register that holds a pid */
    int                       rc = 0;

    for (size_t i = 0; i < sizeof denied / sizeof *denied && !rc; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied[i], 0);
    for (size_t i = 0; i < sizeof namespaces / sizeof *namespaces && !rc; i++)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
    /* its flags lie in memory, where no filter looks: the C library does with clone then */
    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    if (!rc)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(kill), 1,
                              SCMP_A0(SCMP_CMP_MASKED_EQ, low_half, low_half)); /* -1: everybody */
    if (!rc && !has_network)
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(socket), 0);
    return rc;
}

static enum err filter(bool has_network, struct fault *why)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int             rc = filter ? 0 : -ENOMEM;

    if (!rc)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: fewer steps per call */
    if (!rc)
        rc = add_rules(filter, has_network);
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
    e = filter(w->has_network, why);
    if (!e)
        e = limit("RLIMIT_CORE", RLIMIT_CORE, 0, why);
    if (!e)
        e = limit("RLIMIT_NPROC", RLIMIT_NPROC, PROCESSES_MAX, why);
    if (!e)
        e = limit("RLIMIT_FSIZE", RLIMIT_FSIZE, w->file_max, why);
    return e ? e : limit("RLIMIT_DATA", RLIMIT_DATA, w->memory_max, why);
}
