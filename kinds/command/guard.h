/* SPDX-License-Identifier: Apache-2.0 */
/* guard.h - a process between the executor and the program it runs, which sees to it that nothing stays behind.
 *
 *   executor --fork--> guard --fork, exec--> the program --> whatever it starts
 *      |                 |
 *      +---- lifeline ---+   closed, by guard_end or the executor's end: the guard kills all, removes the folder, ends
 *
 * An executor may be killed at any moment: at a time limit, a cancel, with its worker. The guard learns it by the end
 * of a pipe that nobody else holds. Orphans fall to it wherever they went, another session too, and it ends no sooner
 * than the last of them. One that somebody stopped goes on when the run is to end. Should the guard be
 * killed, the program dies with it, the orphans fall to the executor, and guard_end does the rest. Only where both are
 * killed in the same moment may a process that left its parent live on; the folder is removed by the next folder_sweep.
 */
#ifndef MILLRACE_COMMAND_GUARD_H
#define MILLRACE_COMMAND_GUARD_H

#include <sys/types.h>

#include "kinds/command/folder.h"
#include "kinds/command/walls.h"
#include "kinds/task.h"

/* What is to be run. Borrowed. */
struct guard_order {
    const struct task   *task;       /* its input is written to the folder */
    const struct folder *folder;     /* the program starts in it */
    const char          *input_name; /* of a file in the folder's "in"; NULL: none is made */
    bool                 is_stdin;   /* that file is its standard input, else /dev/null */
    bool                 is_stdout;  /* its standard output is the result, else it goes where its errors go */
    char *const         *argv;
    char *const         *envp;
    struct walls         walls; /* room for the guard is left behind the other keepers */
};

struct guard {
    pid_t pid;
    int   lifeline, report, out, errors; /* owned; -1: closed, or out without is_stdout */
};

/* What the guard reports when the program and all it started have ended. */
struct guard_report {
    struct fault fault;  /* it did not start; err ERR_OK: it did */
    int          status; /* of the program, as waitpid gives it */
};

/* Starts both. ERR_IO. */
enum err guard_start(struct guard *g, const struct guard_order *order, struct fault *why) MUST_CHECK;

/* Reads the report once the descriptor is readable; false: the guard is dead. */
bool guard_read_report(struct guard *g, struct guard_report *report);

/* Ends whatever still runs, and waits for it; the folder is gone then. */
void guard_end(struct guard *g, struct folder *folder);

#endif
