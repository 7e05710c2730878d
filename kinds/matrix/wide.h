/* SPDX-License-Identifier: Apache-2.0 */
/* wide.h - loops that are compiled once for each class of vector units; the one for this CPU is picked when the
 * program is loaded.
 *
 * Not under the thread sanitizer: it is not yet there when the pick is made. Numbers that lie in a foreign file
 * need not be aligned; raw_* are the types to read them by.
 */
#ifndef MILLRACE_WIDE_H
#define MILLRACE_WIDE_H

#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WIDE
#endif

typedef double  raw_f8 __attribute__((aligned(1), may_alias));
typedef float   raw_f4 __attribute__((aligned(1), may_alias));
typedef int64_t raw_i8 __attribute__((aligned(1), may_alias));
typedef int32_t raw_i4 __attribute__((aligned(1), may_alias));

#endif
