/* SPDX-License-Identifier: Apache-2.0 */
/* map_summary.c - see the header. */
#include "cli/map_summary.h"

#include <stdio.h>

#include "cli/map_html.h"
#include "common/text.h"

void summary_make(const struct state *st, const struct plan *p, double wall_s, struct summary *out)
{
    struct buf    memory = {0};
    struct ending end;

    *out = (struct summary){.files = plan_count(p), .wall_s = wall_s};
    for (size_t i = 0; i < p->count; i++) {
        if (!state_is_of_session(st, &p->files[i]) || !state_read_end(st, p, i, &memory, &end))
            continue;
        out->ended++;
        out->cpu_s += (double)end.run_us / 1e6;
        out->bytes_in += p->files[i].size;
        out->bytes_out += end.bytes;
    }
    out->speed_up = wall_s > 0 ? out->cpu_s / wall_s : 0;
    buf_free(&memory);
}

/* Each file that failed, by each(..). */
static void each_failure(const struct state *st, const struct plan *p, struct buf *out,
                         void (*each)(struct buf *out, const char *name, const struct ending *end, bool is_first))
{
    struct buf    memory = {0};
    struct ending end;
    bool          is_first = true;

    for (size_t i = 0; i < p->count; i++) {
        if (p->files[i].state != PLAN_FAILED || p->files[i].is_gone || !state_read_end(st, p, i, &memory, &end))
            continue;
        each(out, plan_name(p, i), &end, is_first);
        is_first = false;
        fwrite(out->data, 1, out->len, stdout);
        out->len = 0;
    }
    buf_free(&memory);
}

static void failure_as_text(struct buf *out, const char *name, const struct ending *end, bool is_first)
{
    size_t from = out->len;

    (void)is_first;
    buf_printf(out, "failed: %s: %s: %s", name, end->code, end->detail);
    text_tame(out->data + from, out->len - from);
    buf_text(out, "\n");
}

static void failure_as_json(struct buf *out, const char *name, const struct ending *end, bool is_first)
{
    buf_text(out, is_first ? "{\"name\":" : ",{\"name\":");
    buf_json(out, name);
    buf_text(out, ",\"code\":");
    buf_json(out, end->code);
    buf_text(out, ",\"detail\":");
    buf_json(out, end->detail);
    buf_text(out, "}");
}

static void print_json(const struct summary *s, const struct state *st, const struct plan *p, const char *report)
{
    struct buf out = {0};

    buf_printf(&out,
               "{\"files\":%zu,\"done\":%zu,\"failed\":%zu,\"to_do\":%zu,\"ended_now\":%zu,\"wall_seconds\":%.3f,"
               "\"cpu_seconds\":%.3f,\"speed_up\":%.3f,\"report\":",
               s->files.all, s->files.done, s->files.failed, s->files.to_do, s->ended, s->wall_s, s->cpu_s,
               s->speed_up);
    buf_json(&out, report);
    buf_text(&out, ",\"failures\":[");
    each_failure(st, p, &out, failure_as_json);
    buf_text(&out, "]}\n");
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
}

static void print_text(const struct summary *s, const struct state *st, const struct plan *p, const char *report)
{
    struct buf out = {0};

    each_failure(st, p, &out, failure_as_text);
    buf_printf(&out, "%zu of %zu files done, %zu failed", s->files.done, s->files.all, s->files.failed);
    if (s->files.to_do)
        buf_printf(&out, ", %zu still to do", s->files.to_do);
    if (s->ended < s->files.done + s->files.failed)
        buf_printf(&out, "; %zu of them before this run", s->files.done + s->files.failed - s->ended);
    buf_text(&out, "\nwall time ");
    html_seconds(&out, s->wall_s);
    buf_text(&out, ", CPU time ");
    html_seconds(&out, s->cpu_s);
    if (s->ended)
        buf_printf(&out, ", speed-up over serial %.2f", s->speed_up);
    buf_text(&out, "\n");
    if (*report)
        buf_printf(&out, "report: %s\n", report);
    fwrite(out.data, 1, out.len, stdout);
    buf_free(&out);
}

void summary_print(const struct summary *s, const struct state *st, const struct plan *p, const char *report,
                   bool is_json)
{
    if (is_json)
        print_json(s, st, p, report);
    else
        print_text(s, st, p, report);
}
