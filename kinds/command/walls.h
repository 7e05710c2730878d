/* SPDX-License-Identifier: Apache-2.0 */
/* walls.h - what a program that a job runs may not do; it and all that it starts.
 *
 * It gains no privilege from any file, leaves no core, and each of its processes keeps to its limits of data memory and
 * file size. Unless its entry says network, socket() is refused (EACCES) for every family, those of this host too: a
 * server's socket or a daemon's may lie in the file system. Connected pairs of sockets (socketpair, but not of
 * datagrams, which can be sent elsewhere), pipes and files remain. Whatever it is:
 * io_uring (which would open sockets past the filter), tracing of other processes, namespaces of its own, mounts,
 * loading of code into the kernel, limits of other processes, and signals to everybody at once and to those who see to
 * its end are refused (EPERM).
 *
 * It runs as the worker's user, and may read, write and (but for these) signal what that user may.
 */
#ifndef MILLRACE_COMMAND_WALLS_H
#define MILLRACE_COMMAND_WALLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

#define WALLS_KEEPERS 3

struct walls {
    bool     has_network;
    uint64_t memory_max;             /* bytes of data of each process */
    uint64_t file_max;               /* bytes of each file that it writes */
    pid_t    keepers[WALLS_KEEPERS]; /* who sees to its end: it may not signal them, nor their groups; 0: none */
};

/* For the calling process and its children, for good. To be called just before the exec. ERR_IO. */
enum err walls_enter(const struct walls *w, struct fault *why) MUST_CHECK;

#endif
