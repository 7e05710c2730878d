/* SPDX-License-Identifier: Apache-2.0 */
/* serve.h - what all programs that compute have in common: the conversation with the worker that started them.
 *
 *   serve_arguments -> serve_greet -> warm up -> jail -> serve_jobs
 *                                                          |
 *                                   job -> compute -> done +--> worker's end closes: exit
 *
 * worker/frame.h has the protocol. A program brings its table task_runs (kinds/task.h), its warm-up and its jail. It
 * knows no URL, no id and no password; whatever goes wrong in here ends the process, and the worker learns it from
 * the socket and the exit status.
 */
#ifndef MILLRACE_SERVE_H
#define MILLRACE_SERVE_H

#include "kinds/task.h"
#include "worker/frame.h"

enum { EXIT_USAGE = 2, EXIT_BROKEN = 3 }; /* called by hand; no worker, no jail, or frames that make no sense */

struct server {
    const char            *program; /* its name, for people; borrowed for good */
    struct frame_hello     hello;
    char                  *map; /* owned for good: frame.h has the layout */
    struct frame_shared   *shared;
    int                    list;     /* owned: the list of commands, as it came with the hello; -1: none did */
    const struct commands *commands; /* for tasks of the kind command; NULL */
    struct crew           *crew; /* owned for good by a program that makes one after serve_greet; NULL: one thread */
};

/* --help and --version are answered, everything else but a start by a worker is refused; the process ends then.
 * help: what more it says about itself, lines. */
void serve_arguments(int argc, char **argv, const char *program, const char *help);

/* Dies with the worker from here on; takes its hello and the shared memory. */
void serve_greet(struct server *x, const char *program);

/* A task without input and output, for a warm-up. args is borrowed. */
struct task serve_task(const struct server *x, const struct args *args);

/* Tells the worker that we are ready, and computes what it sends, for ever. kernel: of the matrix library, "" without.
 */
_Noreturn void serve_jobs(struct server *x, const char *kernel);

_Noreturn void serve_die(const char *program, const char *what, const char *detail);

#endif
