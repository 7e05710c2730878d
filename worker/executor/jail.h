/* SPDX-License-Identifier: Apache-2.0 */
/* jail.h - what an executor gives up before it sees its first job.
 *
 * From then on the process can compute, allocate up to its limit, speak over
 * the descriptors it holds, read and write files whose descriptors it is sent,
 * and end. It cannot open, connect, start or signal anything else, gains no
 * privilege from any file, and does not outlive its parent. A system call
 * outside the list kills it.
 */
#ifndef MILLRACE_JAIL_H
#define MILLRACE_JAIL_H

#include <stdint.h>

#include "common/err.h"

/* Dies with the parent that made the socket pair behind fd; ignores the
 * signals that are meant for the parent. First of all things to do.
 * ERR_IO when the parent is gone already. */
enum err jail_tie_to_parent(int fd, struct fault *why) MUST_CHECK;

/* Whether further threads may be made inside. They can do no more than the process, but it can make many of them. */
enum jail_threads { JAIL_HAS_THREADS, JAIL_MAKES_THREADS };

/* Locks the door. Every library must be loaded, and every thread made unless
 * they are allowed: the filter covers all of them. Closes all descriptors but standard error and fd
 * (standard input and output lead to /dev/null). memory_max: bytes the process
 * may map beyond what it has by now, and it may write to no file; its parent can
 * raise both limits, RLIMIT_AS and RLIMIT_FSIZE, from outside. */
enum err jail_enter(int fd, uint64_t memory_max, enum jail_threads threads, struct fault *why) MUST_CHECK;

#endif
