/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c - see the header. */
#include "cli/place/explain.h"

#include <stdarg.h>
#include <stdlib.h>

#include "cli/place/fit.h"
#include "cli/table.h"
#include "common/text.h"

#define LINES_MAX 20 /* of nodes in the text; the document has all */

static json_int_t whole(wide value) { return value < INT64_MAX ? (json_int_t)value : INT64_MAX; }

/* ---- the document ------------------------------------------------------------------ */

static json_t *ranking(const struct cluster *c, const size_t *order)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->count; i++) {
        const struct node *n = &c->nodes[order[i]];
        struct amount      free_now = node_free(n);

        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "node", n->name, "free_cpu_milli",
                                              whole(free_now.cpu_milli), "free_memory_bytes",
                                              whole(free_now.memory_bytes), "free_pods", whole(free_now.pods)));
    }
    return list;
}

static json_t *shares(const struct placed *placed, const struct cluster *c)
{
    json_t *list = json_array();

    for (size_t i = 0; i < placed->count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I}", "node", c->nodes[placed->shares[i].node].name, "pods",
                                              (json_int_t)placed->shares[i].pods));
    return list;
}

static void refuse(json_t *list, const struct task *t, const struct node *n, enum fit fit, const struct amount *left)
{
    struct buf text = {0};

    fit_say(fit, t, n, left, &text);
    json_array_append_new(list, json_pack("{s:s, s:s%}", "node", n->name, "why", text.data, text.len));
    buf_free(&text);
}

/* Nodes that are no good for the job, and those that were full when its turn came. left: of each node, before it. */
static json_t *refusals(const struct task *t, const struct cluster *c, const size_t *order, const struct amount *left)
{
    json_t *list = json_array();

    for (size_t i = 0; i < c->count; i++) {
        const struct node *n = &c->nodes[order[i]];
        enum fit           fit = fit_of(t, n);

        if (fit != FIT_YES || !fit_count(&t->need, &left[order[i]]))
            refuse(list, t, n, fit, &left[order[i]]);
    }
    return list;
}

static json_t *jobs(const struct batch *b, const struct cluster *c, const size_t *order, const struct packing *p)
{
    struct amount *left = xcalloc(c->count, sizeof *left);
    json_t        *list = json_array();

    for (size_t i = 0; i < c->count; i++)
        left[i] = node_free(&c->nodes[i]);
    for (size_t i = 0; i < b->count; i++) {
        const struct task   *t = &b->tasks[i];
        const struct placed *placed = &p->placed[i];
        json_t              *refused = refusals(t, c, order, left);
        size_t               others = c->count - json_array_size(refused) - placed->count;

        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:I, s:I}", "job", t->name, "pods",
                                              (json_int_t)t->parallelism, "cpu_milli", whole(t->need.cpu_milli),
                                              "memory_bytes", whole(t->need.memory_bytes), "on", shares(placed, c),
                                              "not", refused, "not_needed", (json_int_t)others, "nowhere",
                                              (json_int_t)placed->nowhere));
        for (size_t k = 0; k < placed->count; k++) {
            struct amount *of = &left[placed->shares[k].node];

            of->cpu_milli -= t->need.cpu_milli * placed->shares[k].pods;
            of->memory_bytes -= t->need.memory_bytes * placed->shares[k].pods;
            of->pods -= placed->shares[k].pods;
        }
    }
    free(left);
    return list;
}

static void compare(json_t *list, const char *how, const struct packing *p, const struct cluster *c)
{
    struct tally tally = packing_tally(p, c);

    json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I, s:I}", "how", how, "nodes", (json_int_t)tally.nodes,
                                          "stranded_cpu_milli", whole(tally.cpu_milli), "stranded_memory_bytes",
                                          whole(tally.memory_bytes), "nowhere", (json_int_t)tally.nowhere));
}

json_t *explain(const struct batch *b, const struct cluster *c, const size_t *order, const struct packing *first_fit)
{
    json_t        *comparison = json_array();
    struct packing p;

    compare(comparison, "first fit by rank", first_fit, c);
    pack_scheduled(b, c, order, true, &p);
    compare(comparison, "scheduler, with these preferences", &p, c);
    packing_free(&p);
    pack_scheduled(b, c, order, false, &p);
    compare(comparison, "scheduler, left alone", &p, c);
    packing_free(&p);
    return json_pack("{s:f, s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "ratio", b->ratio, "by",
                     b->is_cpu_bound ? "cpu" : "memory", "pods", (json_int_t)b->pods, "cpu_milli",
                     whole(b->total.cpu_milli), "memory_bytes", whole(b->total.memory_bytes), "ranking",
                     ranking(c, order), "jobs", jobs(b, c, order, first_fit), "comparison", comparison);
}

/* ---- as text --------------------------------------------------------------------------- */

static const char *text_at(const json_t *doc, const char *name)
{
    return json_string_value(json_object_get(doc, name));
}

static json_int_t whole_at(const json_t *doc, const char *name)
{
    return json_integer_value(json_object_get(doc, name));
}

static double cores_at(const json_t *doc, const char *name) { return (double)whole_at(doc, name) / 1000; }
static double gigabytes_at(const json_t *doc, const char *name) { return (double)whole_at(doc, name) / 1e9; }

/* What others named may go to a terminal. */
static void PRINTF_LIKE(2, 3) print_line(struct buf *out, const char *fmt, ...)
{
    size_t  from = out->len;
    va_list args;

    va_start(args, fmt);
    buf_vprintf(out, fmt, args);
    va_end(args);
    text_tame(out->data + from, out->len - from);
    buf_text(out, "\n");
}

static void print_more(const json_t *list, struct buf *out)
{
    if (json_array_size(list) > LINES_MAX)
        print_line(out, "  and %zu more nodes", json_array_size(list) - LINES_MAX);
}

static void print_ranking(const json_t *list, struct buf *out)
{
    const json_t *each;
    struct table  t;
    size_t        i;

    table_init(&t, 5, 0x1d);
    table_add(&t, "RANK");
    table_add(&t, "NODE");
    table_add(&t, "FREE CORES");
    table_add(&t, "FREE GB");
    table_add(&t, "FREE PODS");
    json_array_foreach(list, i, each)
    {
        if (i == LINES_MAX)
            break;
        table_add(&t, "%zu", i + 1);
        table_add(&t, "%s", text_at(each, "node"));
        table_add(&t, "%.3f", cores_at(each, "free_cpu_milli"));
        table_add(&t, "%.2f", gigabytes_at(each, "free_memory_bytes"));
        table_add(&t, "%lld", (long long)whole_at(each, "free_pods"));
    }
    table_end(&t, out);
    print_more(list, out);
}

static void print_job(const json_t *job, struct buf *out)
{
    const json_t *refused = json_object_get(job, "not"), *each;
    long long     pods = whole_at(job, "pods"), others = whole_at(job, "not_needed");
    size_t        i;

    buf_text(out, "\n");
    print_line(out, "%s: %lld pod%s of %.3f cores and %.2f GB", text_at(job, "job"), pods, pods == 1 ? "" : "s",
               cores_at(job, "cpu_milli"), gigabytes_at(job, "memory_bytes"));
    json_array_foreach(json_object_get(job, "on"), i, each)
    {
        print_line(out, "  on %s: %lld", text_at(each, "node"), (long long)whole_at(each, "pods"));
    }
    if (whole_at(job, "nowhere"))
        print_line(out, "  nowhere: %lld", (long long)whole_at(job, "nowhere"));
    json_array_foreach(refused, i, each)
    {
        if (i == LINES_MAX)
            break;
        print_line(out, "  not on %s: %s", text_at(each, "node"), text_at(each, "why"));
    }
    print_more(refused, out);
    if (others)
        print_line(out, "  %lld more node%s had room and %s not needed", others, others == 1 ? "" : "s",
                   others == 1 ? "was" : "were");
}

static void print_comparison(const json_t *list, struct buf *out)
{
    const json_t *each;
    struct table  t;
    size_t        i;

    table_init(&t, 5, 0x1e);
    table_add(&t, "PLACED BY");
    table_add(&t, "NODES TOUCHED");
    table_add(&t, "STRANDED CORES");
    table_add(&t, "STRANDED GB");
    table_add(&t, "PODS NOWHERE");
    json_array_foreach(list, i, each)
    {
        table_add(&t, "%s", text_at(each, "how"));
        table_add(&t, "%lld", (long long)whole_at(each, "nodes"));
        table_add(&t, "%.3f", cores_at(each, "stranded_cpu_milli"));
        table_add(&t, "%.2f", gigabytes_at(each, "stranded_memory_bytes"));
        table_add(&t, "%lld", (long long)whole_at(each, "nowhere"));
    }
    table_end(&t, out);
}

void explain_print(const json_t *doc, struct buf *out)
{
    const json_t *each;
    size_t        i;

    buf_printf(out, "%lld pods want %.3f cores and %.2f GB: CPU to memory is %.3f, so nodes rank by free %s\n\n",
               (long long)whole_at(doc, "pods"), cores_at(doc, "cpu_milli"), gigabytes_at(doc, "memory_bytes"),
               json_real_value(json_object_get(doc, "ratio")), text_at(doc, "by"));
    print_ranking(json_object_get(doc, "ranking"), out);
    json_array_foreach(json_object_get(doc, "jobs"), i, each) { print_job(each, out); }
    buf_text(out, "\n");
    print_comparison(json_object_get(doc, "comparison"), out);
}
