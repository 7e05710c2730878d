/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - one run of a listed program, from the private folder to the result.
 *
 *   folder -> guard, program -> what it says is read until all have ended -> exit status -> what it made
 *
 * The guard sees to the end of it in every case (guard.h). What the program says to its standard error (and output,
 * where that is not the result) is read all the time and only the end of it kept: it cannot fill anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "kinds/command/collect.h"
#include "kinds/command/fill.h"
#include "kinds/command/guard.h"
#include "kinds/command/tail.h"

#define READ_BYTES (64 * 1024)
#define OUT_NAME "result" /* where output is a file and no folder */
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"
#define LANG_DEFAULT "C.UTF-8"

struct run {
    struct task          *task;
    const struct command *command;
    struct folder         folder;
    struct guard          guard;
    struct collect        collect;
    struct tail           tail;
    int64_t               until_ms; /* mono; INT64_MAX: the worker's limit alone */
};

/* ---- what the program is given ---------------------------------------------------- */

static char *join(const char *name, const char *value)
{
    char *text;

    if (asprintf(&text, "%s=%s", name, value) < 0)
        abort();
    return text;
}

static bool is_listed(char *const *environment, const char *name)
{
    size_t len = strlen(name);

    for (char *const *e = environment; e && *e; e++)
        if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
            return true;
    return false;
}

/* Nothing of ours but a path and a language; owned. */
static char **make_environment(const struct run *r)
{
    char *const *listed = r->command->environment;
    const char  *path = getenv("PATH"), *lang = getenv("LANG");
    size_t       count = 0;
    char       **environment, **at;

    while (listed && listed[count])
        count++;
    at = environment = xcalloc(count + 5, sizeof *environment);
    *at++ = join("HOME", r->folder.path);
    if (asprintf(at++, "TMPDIR=%s/" FOLDER_TMP, r->folder.path) < 0)
        abort();
    if (!is_listed(listed, "PATH"))
        *at++ = join("PATH", path && *path ? path : PATH_DEFAULT);
    if (!is_listed(listed, "LANG"))
        *at++ = join("LANG", lang && *lang ? lang : LANG_DEFAULT);
    for (size_t i = 0; i < count; i++)
        *at++ = xstrdup(listed[i]);
    return environment;
}

/* With the paths that stand for {in} and {out}; owned. */
static char **make_argv(const struct run *r)
{
    bool  is_file_in = r->command->input == INPUT_FILE, is_file_out = r->command->output == OUTPUT_FILE;
    char *in, *out, **argv;

    if (asprintf(&in, "%s/" FOLDER_IN "%s%s", r->folder.path, is_file_in ? "/" : "",
                 is_file_in ? command_input_name(r->task->args) : "") < 0 ||
        asprintf(&out, "%s/" FOLDER_OUT "%s", r->folder.path, is_file_out ? "/" OUT_NAME : "") < 0)
        abort();
    argv = command_argv(r->command, r->task->args, in, out);
    free(in);
    free(out);
    return argv;
}

static enum err start(struct run *r)
{
    const struct command *c = r->command;
    char                **argv = make_argv(r), **environment = make_environment(r);
    struct guard_order    order = {.task = r->task,
                                   .folder = &r->folder,
                                   .input_name = c->input == INPUT_NONE ? NULL : command_input_name(r->task->args),
                                   .is_stdin = c->input == INPUT_STDIN,
                                   .is_stdout = c->output == OUTPUT_STDOUT,
                                   .argv = argv,
                                   .envp = environment,
                                   .walls = {.has_network = c->has_network,
                                             .memory_max = c->memory_max ? c->memory_max : r->task->memory_max,
                                             .file_max = r->task->output_max,
                                             .keepers = {getppid(), getpid()}}};
    enum err              e = guard_start(&r->guard, &order, &r->task->why);

    strings_free(argv);
    strings_free(environment);
    return e;
}

/* ---- while it runs ------------------------------------------------------------------ */

/* Reads what is there; sets *fd to -1 at its end. */
static enum err take_output(struct run *r, int *fd, bool is_result)
{
    char    bytes[READ_BYTES];
    ssize_t got = read(*fd, bytes, sizeof bytes);

    if (got < 0 && errno == EINTR)
        return ERR_OK;
    if (got <= 0) {
        close(*fd);
        *fd = -1;
        return ERR_OK;
    }
    if (is_result)
        return collect_write(&r->collect, bytes, (size_t)got);
    tail_add(&r->tail, bytes, (size_t)got);
    return ERR_OK;
}

static enum err refuse_time(struct run *r)
{
    char said[TAIL_BYTES + 1];

    tail_print(&r->tail, said);
    return fault_set(&r->task->why, ERR_TIMEOUT, "the program ran longer than the %lld s of the command %s%s%s",
                     (long long)r->command->timeout_s, r->command->name, *said ? ": " : "", said);
}

/* Reads until all of the program's processes have ended, and then what they left in the pipes: who else may hold an end
 * of those, by way of a daemon, is not waited for. */
static enum err follow(struct run *r, struct guard_report *report)
{
    struct guard *g = &r->guard;
    bool          is_reported = false;

    while (!is_reported || g->out >= 0 || g->errors >= 0) {
        struct pollfd fds[] = {{.fd = g->out, .events = POLLIN},
                               {.fd = g->errors, .events = POLLIN},
                               {.fd = is_reported ? -1 : g->report, .events = POLLIN}};
        int64_t       left_ms = r->until_ms - mono_ms();
        enum err      e = ERR_OK;
        int           ready;

        if (left_ms <= 0 && !is_reported)
            return refuse_time(r);
        ready = poll(fds, 3, is_reported ? 0 : left_ms > 1000 ? 1000 : (int)left_ms);
        if (ready < 0)
            continue; /* interrupted */
        if (ready == 0 && is_reported)
            break;
        if (fds[0].revents)
            e = take_output(r, &g->out, true);
        if (!e && fds[1].revents)
            e = take_output(r, &g->errors, false);
        if (e)
            return e;
        if (fds[2].revents && !guard_read_report(g, report))
            return fault_set(&r->task->why, ERR_EXECUTOR, "the process that watches over the program was killed");
        is_reported |= fds[2].revents != 0;
    }
    return ERR_OK;
}

/* ---- what came of it ------------------------------------------------------------------- */

static enum err judge(struct run *r, const struct guard_report *report)
{
    struct fault *why = &r->task->why;
    int           status = report->status;
    int           code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    enum err      e = r->command->is_retry[code % EXIT_CODES] ? ERR_COMMAND_AGAIN : ERR_COMMAND;
    char          said[TAIL_BYTES + 1];

    if (report->fault.err) {
        *why = report->fault;
        return why->err;
    }
    if (!code)
        return ERR_OK;
    tail_print(&r->tail, said);
    if (!WIFSIGNALED(status))
        return fault_set(why, e, "%s exited with status %d%s%s", r->command->name, code, *said ? ": " : "", said);
    return fault_set(why, e, "%s was ended by signal %d (SIG%s)%s%s%s", r->command->name, WTERMSIG(status),
                     sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?",
                     WTERMSIG(status) == SIGXFSZ ? ": a file became larger than a result may be" : "",
                     *said ? ": " : "", said);
}

static enum err take_folder(struct run *r)
{
    int      fd = openat(r->folder.fd, FOLDER_OUT, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    enum err e;

    if (fd < 0)
        return fault_set(&r->task->why, ERR_COMMAND, "the output folder: %s", strerror(errno));
    e = collect_folder(&r->collect, fd);
    close(fd);
    return e;
}

static enum err work(struct run *r)
{
    struct guard_report report;
    enum err            e = follow(r, &report);

    if (!e)
        e = judge(r, &report);
    if (!e && r->command->output != OUTPUT_STDOUT)
        e = take_folder(r);
    return e;
}

enum err command_run(struct task *task)
{
    struct run r = {.task = task, .until_ms = INT64_MAX};
    enum err   e = command_choose(task->commands, task->args, &r.command, &task->why);

    if (e)
        return e;
    if (r.command->timeout_s)
        r.until_ms = mono_ms() + r.command->timeout_s * 1000;
    e = folder_make(&r.folder, &task->why);
    if (e)
        return e;
    e = start(&r);
    if (e) {
        folder_remove(&r.folder);
        return e;
    }
    collect_open(&r.collect, task);
    e = work(&r);
    if (e)
        collect_drop(&r.collect);
    else
        collect_close(&r.collect, r.command->type);
    guard_end(&r.guard, &r.folder);
    return e;
}
