/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - a child that is killed leaves its own children to us: so killing one generation after the other reaches
 * everybody, and nobody who is not ours. */
#include "kinds/command/tree.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void tree_adopt(void) { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

static void kill_children(void)
{
    char  path[64];
    FILE *list;
    int   pid;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    list = fopen(path, "re");
    while (list && fscanf(list, "%d", &pid) == 1)
        kill(pid, SIGKILL);
    if (list)
        fclose(list);
}

void tree_kill(void)
{
    static const struct timespec moment = {.tv_nsec = 1000 * 1000};

    for (;;) {
        pid_t pid;

        kill_children();
        do
            pid = waitpid(-1, NULL, WNOHANG);
        while (pid > 0);
        if (pid < 0 && errno == ECHILD)
            return;
        nanosleep(&moment, NULL); /* they are on their way out */
    }
}
