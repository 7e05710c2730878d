/* SPDX-License-Identifier: Apache-2.0 */
/* interrupt.h - Ctrl-C (SIGINT), SIGTERM and SIGHUP as a count and a descriptor.
 *
 * The first two are the verb's to answer: transfers that it waits for end with
 * EXIT_INTERRUPTED. The third ends the program where it is.
 */
#ifndef MILLRACE_INTERRUPT_H
#define MILLRACE_INTERRUPT_H

/* Once, before anything waits. A signal that the program was told to ignore stays ignored. */
void interrupt_init(void);

int interrupt_count(void); /* signals so far */
int interrupt_fd(void);    /* readable once there was one; for poll alone, nobody reads it */

#endif
