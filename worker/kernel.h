/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.h - whether the executors' matrix library took a kernel that is worthy of this CPU, and what to do about it.
 *
 * The library knows the CPUs that existed when it was made; on a later one it may take a kernel that gives a fifth
 * of the speed. Each executor says what it has (frame_ready.kernel). Only where that name is doubtful, other kernels
 * are tried and measured, once for all executors:
 *
 *   kernel_is_doubtful(ready.kernel)  --no-->  nothing is spawned, nothing measured
 *                                    --yes-->  kernel_choose -> setting for the executors' environment
 */
#ifndef MILLRACE_WORKER_KERNEL_H
#define MILLRACE_WORKER_KERNEL_H

#include <stdbool.h>

#define KERNEL_SETTING_BYTES 64

/* What a CPU has for such kernels. */
enum kernel_class { KERNEL_PLAIN, KERNEL_AVX2, KERNEL_AVX512 };
enum kernel_class kernel_class_of_cpu(void);

/* Whether a kernel, by the name "LIBRARY CORE", uses what the class has; true for libraries without a row here. Pure.
 */
bool kernel_is_worthy(const char *name, enum kernel_class class);

/* It is not, on this CPU; or the environment names a kernel, which executors do not get to see. */
bool kernel_is_doubtful(const char *name);

struct kernel_choice {
    char setting[KERNEL_SETTING_BYTES]; /* "NAME=VALUE" for the executors' environment; "": none */
    bool is_warning;                    /* something should be put right by a person */
    char sentence[256];                 /* which kernel and why, for the log */
};

/* Measures what the library takes by itself, what the environment names, and what suits the class, by running `path
 * --kernel` one after the other: some 0.2 s each, 3 s at most, a few of them. name: as above. */
void kernel_choose(const char *path, const char *name, enum kernel_class class, struct kernel_choice *out);

#endif
