/* SPDX-License-Identifier: Apache-2.0 */
/* health.h - a daemon asks another one like itself whether it lives.
 *
 * For containers, whose image has no other program that could.
 */
#ifndef MILLRACE_HEALTH_H
#define MILLRACE_HEALTH_H

/* GET /healthz of the daemon that listens on this IP address and port ("0.0.0.0" and "::" stand for this host).
 * Returns a process's exit status: 0 when it says 200 within 5 s, else 1 with a sentence on standard error. */
int health_ask(const char *address, int port);

#endif
