/* SPDX-License-Identifier: Apache-2.0 */
/* spin.h - what description and work of spin share. */
#ifndef MILLRACE_SPIN_H
#define MILLRACE_SPIN_H

enum { SPIN_SECONDS }; /* index into struct args */

#define SPIN_RESULT_BYTES 96 /* {"seconds":S,"iterations":N} at its longest */

#endif
