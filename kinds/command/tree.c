/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - all generations are killed at a time, parents first: who has been sent a SIGKILL forks no more, so its list
 * of children is whole when it is read. Who is missed, because its parent ended meanwhile, has become a child of ours
 * and is found by the next round: so nobody is left in the end, however fast they fork, and nobody is killed who is not
 * ours. */
#include "kinds/command/tree.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/buf.h"

void tree_adopt(void) { prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

/* The children of one thread. */
static void append_children_of(struct buf *pids, pid_t pid, const char *thread)
{
    char  path[64];
    FILE *list;
    int   child;

    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, thread);
    list = fopen(path, "re");
    while (list && fscanf(list, "%d", &child) == 1)
        buf_append(pids, &child, sizeof child);
    if (list)
        fclose(list);
}

static void append_children(struct buf *pids, pid_t pid)
{
    char           path[64];
    DIR           *threads;
    struct dirent *thread;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    threads = opendir(path);
    while (threads && (thread = readdir(threads)))
        if (thread->d_name[0] != '.')
            append_children_of(pids, pid, thread->d_name);
    if (threads)
        closedir(threads);
}

static void kill_all(void)
{
    struct buf pids = {0};
    int        pid;

    append_children(&pids, getpid());
    for (size_t at = 0; at < pids.len; at += sizeof pid) {
        memcpy(&pid, pids.data + at, sizeof pid);
        kill(pid, SIGKILL);
        append_children(&pids, pid);
    }
    buf_free(&pids);
}

void tree_kill(void)
{
    static const struct timespec moment = {.tv_nsec = 1000 * 1000};

    for (;;) {
        pid_t pid;

        kill_all();
        do
            pid = waitpid(-1, NULL, WNOHANG);
        while (pid > 0);
        if (pid < 0 && errno == ECHILD)
            return;
        nanosleep(&moment, NULL); /* they are on their way out */
    }
}
