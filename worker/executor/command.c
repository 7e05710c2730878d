/* SPDX-License-Identifier: Apache-2.0 */
/* millrace-exec-command - runs the programs that the operator has listed.
 *
 * Its jail is another than that of the programs that compute: it has to make folders and processes, and what it may not
 * do, its children could not either. So there is no filter here. It holds no socket but the one to its worker, gains no
 * privilege from any file, leaves no core, cannot be looked into by others of this user, and dies with the worker.
 * Untrusted bytes pass through it uninterpreted; the programs that do interpret them stand behind walls of their own,
 * each run anew (kinds/command/walls.h), in a tree of processes that ends with the run (kinds/command/guard.h).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "kinds/command/folder.h"
#include "kinds/command/list.h"
#include "kinds/command/tree.h"
#include "worker/executor/serve.h"

#define NAME "millrace-exec-command"

static const char help[] =
    "It takes no arguments but --help and --version. The worker hands it the list of commands that\n"
    "MILLRACE_COMMANDS_FILE named; private folders are made below TMPDIR.\n";

task_run *const task_runs[KIND_COUNT] = {[KIND_ID_command] = command_run};

static void enter_jail(void)
{
    static const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0))
        serve_die(NAME, "jail", strerror(errno));
    signal(SIGIO, SIG_IGN); /* the one signal that a program may still send us, as the owner of a pipe */
    tree_adopt();
}

int main(int argc, char **argv)
{
    struct commands *commands = NULL;
    struct server    x;
    struct fault     why;

    serve_arguments(argc, argv, NAME, help);
    serve_greet(&x, NAME);
    enter_jail();
    if (commands_read_copy(x.list, "the list from the worker", &commands, &why))
        serve_die(NAME, "commands", why.detail);
    close(x.list);
    x.commands = commands;
    folder_sweep();
    serve_jobs(&x, "");
}
