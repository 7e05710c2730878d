/* SPDX-License-Identifier: Apache-2.0 */
/* map.c - millrace map DATASET OUTPUT: each file of a folder through the fleet, into another folder.
 *
 *   options -> folders -> the state of an earlier run -> the plan -> the run -> summary and report
 *
 * The plan is in OUTPUT/.millrace before the first file goes out, so that any
 * end, also kill -9, leaves something to go on with.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/http.h"
#include "cli/map_batch.h"
#include "cli/map_joblog.h"
#include "cli/map_names.h"
#include "cli/map_options.h"
#include "cli/map_report.h"
#include "cli/map_run.h"
#include "cli/map_show.h"
#include "cli/map_summary.h"
#include "cli/map_walk.h"
#include "common/clock.h"
#include "common/text.h"

struct map {
    struct cli          *cli;
    struct map_options   options;
    struct state         state;
    struct plan          plan;
    struct walk_left_out left_out;
    char                *dataset; /* owned: its absolute path */
    FILE                *joblog;
    size_t               known;     /* files in the plan of the earlier run */
    bool                 is_new;    /* there is no run to go on with */
    bool                 has_begun; /* the gateway took a job */
    struct fault         why;
};

/* ---- what there is to do ---------------------------------------------------------------- */

/* A state that is there must be wanted, and agree with what was said now. */
static enum err check_state(struct map *m)
{
    const struct map_options *o = &m->options;
    struct state             *st = &m->state;

    m->is_new = !st->dataset;
    if (m->is_new && !o->target)
        return fault_set(&m->why, ERR_PARAM, "what is to be done with the files? --kind, --ops or --command says it");
    if (m->is_new) {
        st->dataset = xstrdup(m->dataset);
        st->target = xstrdup(o->target);
        return ERR_OK;
    }
    if (!o->resumes)
        return fault_set(&m->why, ERR_PARAM,
                         "the output folder has the state of an earlier run: --resume goes on with it; to begin anew, "
                         "remove its folder " STATE_FOLDER);
    if (strcmp(st->dataset, m->dataset) != 0)
        return fault_set(&m->why, ERR_PARAM, "the run in the output folder is over another dataset: %.150s",
                         st->dataset);
    if (o->target && strcmp(st->target, o->target) != 0)
        return fault_set(&m->why, ERR_PARAM, "the run in the output folder is another one: '%.90s', not '%.90s'",
                         st->target, o->target);
    return ERR_OK;
}

/* What is said now goes before what the earlier run was told: a time limit that was too short is why one goes on. */
static void heed_limits(struct map *m)
{
    const struct try_limits *now = &m->options.limits;
    struct try_limits       *kept = &m->state.limits;

    kept->attempts = now->attempts ? now->attempts : kept->attempts;
    kept->timeout_s = now->timeout_s ? now->timeout_s : kept->timeout_s;
}

/* A file that was planned, and is another now. New ones are noted when they have their bases. */
static void note_changed(void *ctx, size_t index)
{
    struct map *m = ctx;

    if (index < m->known)
        state_note_file(&m->state, &m->plan, index);
}

/* The dataset as it is now becomes the plan, or goes into that of an earlier run. */
static enum err make_plan(struct map *m)
{
    struct plan now;
    enum err    e;

    m->known = m->plan.count;
    plan_init(&now);
    e = walk_dataset(m->dataset, m->is_new ? &m->plan : &now, &m->left_out, &m->why);
    if (!e && !m->is_new)
        plan_merge(&m->plan, &now, note_changed, m);
    if (!e)
        names_assign(&m->plan, m->known);
    plan_free(&now);
    return e;
}

/* What the plan of an earlier run says of files that have ended, against what there is. */
static void take_up(struct map *m)
{
    for (size_t i = m->known; i < m->plan.count; i++)
        state_note_file(&m->state, &m->plan, i);
    batch_recover(&m->state, &m->plan, m->options.is_dry);
    for (size_t i = 0; m->options.redoes_failed && i < m->known; i++)
        if (m->plan.files[i].state == PLAN_FAILED)
            state_note_again(&m->state, &m->plan, i);
}

/* Before the state: what cannot be written to is found while nothing has happened yet. */
static enum err open_joblog(struct map *m)
{
    const char *path = m->options.joblog;

    if (!path || (m->joblog = joblog_open(path, !m->is_new)))
        return ERR_OK;
    return fault_set(&m->why, ERR_IO, "%.180s: %s", path, strerror(errno));
}

static enum err begin_session(struct map *m)
{
    enum err e = ERR_OK;

    state_empty_temporaries(&m->state);
    if (m->is_new)
        e = state_begin(&m->state, &m->plan, &m->why);
    state_note_limits(&m->state, &m->state.limits);
    state_note_session(&m->state, wall_ms());
    return e ? e : state_save(&m->state, true, &m->why);
}

static enum err prepare(struct map *m)
{
    const struct map_options *o = &m->options;
    char                     *output = NULL;
    enum err                  e = walk_folders(o->dataset, o->output, &m->dataset, &output, &m->why);

    if (!e)
        e = state_open(output, o->is_dry, &m->state, &m->plan, &m->why);
    if (!e)
        e = check_state(m);
    if (!e)
        heed_limits(m);
    if (!e)
        e = make_plan(m);
    if (!e && !m->is_new)
        take_up(m);
    if (!e && !o->is_dry)
        e = open_joblog(m);
    if (!e && !o->is_dry)
        e = begin_session(m);
    return e;
}

/* ---- doing it ----------------------------------------------------------------------------- */

static void tell_left_out(const struct map *m)
{
    const struct walk_left_out *n = &m->left_out;

    if (n->hidden + n->links + n->others)
        complain("left out of the dataset: %zu hidden, %zu links that lead to no file, %zu that are neither file nor "
                 "folder",
                 n->hidden, n->links, n->others);
}

static enum run_end go(struct map *m, double *wall_s)
{
    struct plan_counts n = plan_count(&m->plan);
    struct progress    progress;
    struct run_config  config = {.http = m->cli->http,
                                 .plan = &m->plan,
                                 .state = &m->state,
                                 .progress = &progress,
                                 .joblog = m->joblog,
                                 .jobs = m->options.jobs,
                                 .halt = m->options.halt,
                                 .patience_ms = m->options.patience_ms};
    int64_t            began = mono_us();
    enum run_end       end;

    progress_init(&progress, isatty(STDERR_FILENO), n.all, n.done, n.failed, mono_ms());
    end = map_run(&config, &m->has_begun, &m->why);
    *wall_s = (double)(mono_us() - began) / 1e6;
    return end;
}

static void finish(struct map *m, enum run_end end, double wall_s)
{
    bool                 may_ask = end == RUN_ALL || end == RUN_HALTED;
    struct summary       summary;
    struct report_config config = {may_ask ? m->cli->http : NULL, &m->state, &m->plan, &summary};
    struct fault         why;
    char                *report = NULL;

    summary_make(&m->state, &m->plan, wall_s, &summary);
    if (report_write(&config, &report, &why))
        complain("%s", why.detail);
    summary_print(&summary, &m->state, &m->plan, report ? report : "", m->cli->is_json);
    free(report);
}

/* As a shell takes it. */
static void put_word(struct buf *out, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._/:,+=@%";

    if (*word && strspn(word, plain) == strlen(word)) {
        buf_printf(out, " %s%s", *word == '-' ? "./" : "", word);
        return;
    }
    buf_printf(out, " %s'", *word == '-' ? "./" : "");
    for (; *word; word++)
        if (*word == '\'')
            buf_text(out, "'\\''");
        else if (text_is_control(*word)) /* as bash, zsh and ksh have it; no terminal would show it */
            buf_printf(out, "'$'\\%03o''", (unsigned char)*word);
        else
            buf_append(out, word, 1);
    buf_text(out, "'");
}

static void tell_how_to_go_on(const struct map *m)
{
    const char *url = line_text(&m->cli->line, OPTION_URL, NULL);
    struct buf  words = {0};

    if (url) {
        buf_text(&words, " --url");
        put_word(&words, url);
    }
    put_word(&words, m->options.dataset);
    put_word(&words, m->options.output);
    complain("to go on: millrace map --resume%.*s", (int)words.len, words.data);
    buf_free(&words);
}

static enum outcome outcome_of(struct map *m, enum run_end end)
{
    static const enum outcome outcomes[] = {
        [RUN_ALL] = EXIT_OK,
        [RUN_HALTED] = EXIT_JOB,
        [RUN_INTERRUPTED] = EXIT_INTERRUPTED,
        [RUN_REFUSED] = EXIT_REFUSED,
        [RUN_CANCELLED] = EXIT_INTERRUPTED,
        [RUN_AWAY] = EXIT_AWAY,
        [RUN_LOCAL] = EXIT_LOCAL,
    };
    struct plan_counts n = plan_count(&m->plan);

    if (end != RUN_ALL)
        complain("%s", end == RUN_CANCELLED ? "cancelled" : m->why.detail);
    if (n.to_do)
        tell_how_to_go_on(m);
    return end == RUN_ALL && n.failed ? EXIT_JOB : outcomes[end];
}

static enum outcome run_it(struct map *m)
{
    double       wall_s;
    enum run_end end;

    tell_left_out(m);
    end = go(m, &wall_s);
    if (m->is_new && !m->has_begun && (end == RUN_REFUSED || end == RUN_AWAY)) {
        state_forget(&m->state); /* a mistyped option or url: the next attempt is no other run */
        return give_up(end == RUN_AWAY ? EXIT_AWAY : EXIT_REFUSED, "%s", m->why.detail);
    }
    finish(m, end, wall_s);
    return outcome_of(m, end);
}

static void close_joblog(const struct map *m)
{
    bool is_torn = ferror(m->joblog);

    if (fclose(m->joblog))
        complain("%s: %s", m->options.joblog, strerror(errno));
    else if (is_torn)
        complain("%s: lines are missing, it could not be written at a time", m->options.joblog);
}

static enum outcome run(struct cli *cli)
{
    struct map   m = {.cli = cli, .state = {.lock_fd = -1, .journal_fd = -1}};
    enum outcome o;
    enum err     e;

    plan_init(&m.plan);
    e = map_options_read(&cli->line, &m.options, &m.why);
    if (!e)
        e = prepare(&m);
    if (e)
        o = give_up(e == ERR_PARAM ? EXIT_USAGE : EXIT_LOCAL, "%s", m.why.detail);
    else if (m.options.is_dry) {
        tell_left_out(&m);
        map_show_plan(&m.plan, &m.options, &m.state, cli->is_json);
        o = EXIT_OK;
    } else
        o = run_it(&m);
    if (m.joblog)
        close_joblog(&m);
    state_close(&m.state);
    plan_free(&m.plan);
    map_options_free(&m.options);
    free(m.dataset);
    return o;
}

const struct verb verb_map = {
    .name = "map",
    .operands = "DATASET OUTPUT",
    .summary = "Do the same with every file of a folder",
    .text = "Each file below DATASET becomes one job; its result is written into OUTPUT under the same relative\n"
            "name, with the extension of the result's type, when it is whole. Hidden files, and links to\n"
            "folders, are left out. What is done is said by --ops (images), --command, or --kind, and --param.\n"
            "\n"
            "OUTPUT/.millrace remembers the plan and each end, so that --resume needs no other option after\n"
            "Ctrl-C, kill -9, or a power cut: nothing that is done is done again. The first Ctrl-C begins\n"
            "nothing new and waits for what is under way, the second one cancels that.\n"
            "\n"
            "OUTPUT/report.html tells what happened. The exit status is 0 only if every file succeeded.\n",
    .options = map_option_rows,
    .operands_min = 2,
    .operands_max = 2,
    .completes = OPERAND_FILE,
    .run = run,
};
