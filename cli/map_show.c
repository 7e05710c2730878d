/* SPDX-License-Identifier: Apache-2.0 */
/* map_show.c - see the header. */
#include "cli/map_show.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/map_html.h"
#include "cli/map_names.h"
#include "common/text.h"

static void put_json(struct buf *out, const char *name, uint64_t size, const char *output)
{
    buf_text(out, "{\"name\":");
    buf_json(out, name);
    buf_printf(out, ",\"size\":%" PRIu64 ",\"output\":", size);
    buf_json(out, output);
    buf_text(out, "}\n");
}

static void put_text(struct buf *out, const char *name, uint64_t size, const char *output)
{
    buf_printf(out, "%s  (", name);
    html_bytes(out, (double)size);
    buf_printf(out, ") -> %s", output);
    text_tame(out->data, out->len);
    buf_text(out, "\n");
}

void map_show_plan(const struct plan *p, const struct map_options *o, const struct state *st, bool is_json)
{
    struct plan_counts n = plan_count(p);
    struct buf         name = {0}, line = {0};

    for (size_t i = 0; i < p->count; i++) {
        const struct plan_file *file = &p->files[i];

        if (file->state != PLAN_TO_DO || file->is_gone)
            continue;
        name.len = line.len = 0;
        names_output(plan_name(p, i), plan_base(p, i), target_result_type(st->target), &name);
        (is_json ? put_json : put_text)(&line, plan_name(p, i), file->size, name.data);
        fwrite(line.data, 1, line.len, stdout);
    }
    line.len = 0;
    target_put(st->target, &st->limits, &line);
    if (!is_json)
        printf("%zu of %zu files to do, each as POST /jobs/%.*s, at most %u at a time, into %s\n", n.to_do, n.all,
               (int)line.len, line.data, o->jobs, st->output);
    buf_free(&name);
    buf_free(&line);
}
