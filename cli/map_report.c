/* SPDX-License-Identifier: Apache-2.0 */
/* map_report.c - see the header. */
#include "cli/map_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/map_html.h"
#include "cli/map_names.h"
#include "cli/map_thumbs.h"
#include "cli/map_timeline.h"
#include "common/clock.h"

#define FAILURES_MAX 1000
#define NAME "report.html"
#define OTHER_NAME STATE_FOLDER "/report.html" /* where an output is called so already: no output is ever there */

struct report {
    const struct report_config *config;
    struct buf                  out;
    struct buf                  memory; /* of one line of the journal */
    bool                        is_name_taken;
    int64_t                     from_ms, to_ms; /* of this session's jobs; from_ms 0: there are none */
    size_t                      samples[THUMBS_MAX], sample_count;
};

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:60em;padding:0 1em;color:#1b2a22}"
    "h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse}"
    "td,th{text-align:left;padding:.2em 1em .2em 0;vertical-align:top;overflow-wrap:anywhere}th{font-weight:600}"
    "svg{width:100%;height:auto;font-size:11px}svg .small,.small{font-size:10px;fill:#667;color:#667}"
    ".band{fill:#3d8b5f}.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(22em,1fr));gap:1em}"
    "figure{margin:0}figure img{max-width:48%;max-height:10em;vertical-align:top}"
    "figcaption{font-size:12px;overflow-wrap:anywhere}.bad{color:#a3261b}"
    "@media(prefers-color-scheme:dark){body{background:#141a17;color:#dfe8e2}svg "
    "text{fill:#dfe8e2}.bad{color:#ff8d80}}";

static bool ending_of(struct report *r, size_t index, struct ending *end)
{
    return state_read_end(r->config->state, r->config->plan, index, &r->memory, end);
}

static bool is_or_lies_in(const char *name, const char *file)
{
    size_t len = strlen(file);

    return !strncmp(name, file, len) && (!name[len] || name[len] == '/');
}

/* One look at everything: when jobs ran, and some pictures, spread over the dataset. */
static void survey(struct report *r)
{
    const struct plan *p = r->config->plan;
    struct ending      end;
    size_t             next_sample = 0;

    for (size_t i = 0; i < p->count; i++) {
        if (p->files[i].state == PLAN_TO_DO || !ending_of(r, i, &end))
            continue;
        r->is_name_taken |= end.is_done && is_or_lies_in(end.output, NAME);
        if (p->files[i].is_gone)
            continue;
        if (state_is_of_session(r->config->state, &p->files[i]) && end.started_ms) {
            int64_t ended = end.started_ms + end.run_us / 1000;

            r->from_ms = !r->from_ms || end.started_ms < r->from_ms ? end.started_ms : r->from_ms;
            r->to_ms = ended > r->to_ms ? ended : r->to_ms;
        }
        if (!end.is_done)
            continue;
        if (i >= next_sample && r->sample_count < THUMBS_MAX && names_is_image(end.output)) {
            r->samples[r->sample_count++] = i;
            next_sample = i + (p->count + THUMBS_MAX - 1) / THUMBS_MAX; /* spread over the dataset */
        }
    }
}

/* ---- the parts of the page --------------------------------------------------------- */

static void put_row(struct report *r, const char *name, const char *value)
{
    buf_printf(&r->out, "<tr><th>%s</th><td>", name);
    html_text(&r->out, value);
    buf_text(&r->out, "</td></tr>\n");
}

static void put_head(struct report *r)
{
    buf_text(&r->out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                      "<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>millrace map: ");
    html_text(&r->out, r->config->state->dataset);
    buf_printf(&r->out, "</title>\n<style>%s</style>\n</head>\n<body>\n<h1>millrace map</h1>\n", style);
}

static void put_summary(struct report *r)
{
    const struct summary *s = r->config->summary;
    struct buf           *out = &r->out, target = {0};
    char                  now[WALL_TEXT_BYTES];

    wall_format(wall_ms(), now);
    buf_printf(out, "<p><strong>%zu of %zu files done</strong>", s->files.done, s->files.all);
    if (s->files.failed)
        buf_printf(out, ", <strong class=\"bad\">%zu failed</strong>", s->files.failed);
    if (s->files.to_do)
        buf_printf(out, ", %zu still to do", s->files.to_do);
    buf_text(out, ".</p>\n<table>\n");
    put_row(r, "written", now);
    put_row(r, "dataset", r->config->state->dataset);
    put_row(r, "output", r->config->state->output);
    target_put(r->config->state->target, &r->config->state->limits, &target);
    buf_append(&target, "", 1);
    put_row(r, "job of each file", target.data);
    buf_free(&target);
    buf_printf(out, "<tr><th>this run</th><td>%zu files in ", s->ended);
    html_seconds(out, s->wall_s);
    buf_text(out, " (");
    html_bytes(out, (double)s->bytes_in);
    buf_text(out, " up, ");
    html_bytes(out, (double)s->bytes_out);
    buf_text(out, " down)</td></tr>\n<tr><th>CPU time</th><td>");
    html_seconds(out, s->cpu_s);
    buf_printf(out, ": %.2f times as fast as one file after the other</td></tr>\n</table>\n", s->speed_up);
}

static void put_failures(struct report *r)
{
    const struct plan *p = r->config->plan;
    size_t             shown = 0, all = r->config->summary->files.failed;
    struct ending      end;

    if (!all)
        return;
    buf_text(&r->out, "<h2>Failures</h2>\n<table>\n");
    for (size_t i = 0; i < p->count && shown < FAILURES_MAX; i++) {
        if (p->files[i].state != PLAN_FAILED || p->files[i].is_gone || !ending_of(r, i, &end))
            continue;
        buf_text(&r->out, "<tr><td>");
        html_text(&r->out, plan_name(p, i));
        buf_text(&r->out, "</td><td class=\"bad\">");
        html_text(&r->out, end.code);
        buf_text(&r->out, "</td><td>");
        html_text(&r->out, end.detail);
        buf_text(&r->out, "</td></tr>\n");
        shown++;
    }
    buf_text(&r->out, "</table>\n");
    if (shown < all)
        buf_printf(&r->out, "<p>and %zu more</p>\n", all - shown);
}

static void put_timeline(struct report *r)
{
    const struct plan *p = r->config->plan;
    struct timeline    timeline;
    struct ending      end;

    if (!r->from_ms)
        return;
    timeline_init(&timeline, r->from_ms, r->to_ms);
    for (size_t i = 0; i < p->count; i++)
        if (state_is_of_session(r->config->state, &p->files[i]) && ending_of(r, i, &end) && end.started_ms)
            timeline_add(&timeline, *end.worker ? end.worker : "unknown", end.started_ms, end.run_us);
    buf_text(&r->out, "<h2>Workers</h2>\n<p class=\"small\">jobs that each ran, over time</p>\n");
    timeline_draw(&timeline, &r->out);
    timeline_free(&timeline);
}

/* ---- pictures -------------------------------------------------------------------------- */

static char *path_of(const char *folder, const char *name)
{
    struct buf path = {0};

    buf_printf(&path, "%s/%s", folder, name);
    buf_append(&path, "", 1);
    return buf_detach(&path);
}

static void put_image(struct report *r, const struct thumb *thumb, const char *what)
{
    if (thumb->image.len)
        buf_printf(&r->out, "<img alt=\"%s\" src=\"%s\"/>\n", what, thumb->image.data);
}

/* thumbs: the two of the file. */
static void put_pair(struct report *r, size_t index, const struct thumb thumbs[2])
{
    struct ending end;

    if ((!thumbs[0].image.len && !thumbs[1].image.len) || !ending_of(r, index, &end))
        return;
    buf_text(&r->out, "<figure>");
    put_image(r, &thumbs[0], "before");
    put_image(r, &thumbs[1], "after");
    buf_text(&r->out, "<figcaption>");
    html_text(&r->out, plan_name(r->config->plan, index));
    buf_text(&r->out, " &#8594; ");
    html_text(&r->out, end.output);
    buf_text(&r->out, "</figcaption></figure>\n");
}

static void put_pictures(struct report *r)
{
    const struct state *st = r->config->state;
    struct thumb        thumbs[2 * THUMBS_MAX] = {0};
    struct ending       end;

    if (!r->sample_count)
        return;
    for (size_t i = 0; i < r->sample_count; i++) {
        thumbs[2 * i].file = path_of(st->dataset, plan_name(r->config->plan, r->samples[i]));
        thumbs[2 * i + 1].file = path_of(st->output, ending_of(r, r->samples[i], &end) ? end.output : "");
    }
    thumbs_make(r->config->http, thumbs, 2 * r->sample_count);
    buf_printf(&r->out, "<h2>Before and after</h2>\n<p class=\"small\">%zu of %zu files</p>\n<div class=\"pairs\">\n",
               r->sample_count, r->config->summary->files.done);
    for (size_t i = 0; i < r->sample_count; i++)
        put_pair(r, r->samples[i], &thumbs[2 * i]);
    buf_text(&r->out, "</div>\n");
    for (size_t i = 0; i < 2 * r->sample_count; i++) {
        free(thumbs[i].file);
        buf_free(&thumbs[i].image);
    }
}

/* ---- the file ---------------------------------------------------------------------------- */

static enum err save(struct report *r, char **path, struct fault *why)
{
    const struct state *st = r->config->state;
    struct buf          draft = {0};
    char               *whole = path_of(st->output, r->is_name_taken ? OTHER_NAME : NAME);
    enum err            e = ERR_OK;
    FILE               *file;

    state_path_temporary(st, NAME, &draft);
    file = fopen(draft.data, "we");
    if (!file || fwrite(r->out.data, 1, r->out.len, file) != r->out.len || fflush(file) || fsync(fileno(file)) ||
        rename(draft.data, whole))
        e = fault_set(why, ERR_IO, "the report %.160s cannot be written: %s", whole, strerror(errno));
    if (file)
        fclose(file);
    if (e)
        free(whole);
    else
        *path = whole;
    buf_free(&draft);
    return e;
}

enum err report_write(const struct report_config *config, char **path, struct fault *why)
{
    struct report r = {.config = config};
    enum err      e;

    survey(&r);
    put_head(&r);
    put_summary(&r);
    put_failures(&r);
    put_timeline(&r);
    put_pictures(&r);
    buf_text(&r.out, "</body>\n</html>\n");
    e = save(&r, path, why);
    buf_free(&r.out);
    buf_free(&r.memory);
    return e;
}
