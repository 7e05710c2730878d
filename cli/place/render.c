/* SPDX-License-Identifier: Apache-2.0 */
/* render.c - see the header. Nodes of equal weight share a term, which says the same as a term for each. */
#include "cli/place/render.h"

#include <stdlib.h>

#include "common/buf.h"

/* ---- preferences ------------------------------------------------------------------ */

/* A requirement is met by any of its values. A node without the label is known by its name alone, and a requirement of
 * names takes one. */
static json_t *requirement(const struct node *n)
{
    return json_pack("{s:s, s:s, s:[s]}", "key", n->hostname ? "kubernetes.io/hostname" : "metadata.name", "operator",
                     "In", "values", n->hostname ? n->hostname : n->name);
}

static json_t *term(int weight, const struct node *n, json_t **values)
{
    json_t *one = requirement(n);

    *values = n->hostname ? json_object_get(one, "values") : NULL;
    return json_pack("{s:i, s:{s:[o]}}", "weight", weight, "preference",
                     n->hostname ? "matchExpressions" : "matchFields", one);
}

static json_t *preferences(const struct task *t, const struct cluster *c, const size_t *order)
{
    size_t *ranking = xcalloc(c->count, sizeof *ranking), count = pack_rank_for(t, c, order, ranking);
    json_t *terms = json_array(), *values = NULL;
    int     weight_before = 0;

    for (size_t place = 0; place < count; place++) {
        const struct node *n = &c->nodes[ranking[place]];
        int                weight = pack_weight(place);

        if (values && n->hostname && weight == weight_before)
            json_array_append_new(values, json_string(n->hostname));
        else
            json_array_append_new(terms, term(weight, n, &values));
        weight_before = weight;
    }
    free(ranking);
    return terms;
}

/* ---- jobs ---------------------------------------------------------------------------- */

static void copy(json_t *to, const struct task *t, const char *name)
{
    json_object_set(to, name, json_object_get(t->doc, name)); /* where there is none, nothing is set */
}

/* As a text: a number would be written with more digits than it had. */
static json_t *amount(const struct task *t, const char *name)
{
    char room[QUANTITY_TEXT_BYTES];

    return json_string(quantity_text(json_object_get(t->doc, name), room));
}

/* More memory than it asked for would be that of its neighbours; more CPU may be had while nobody else wants it. */
static json_t *container(const struct task *t)
{
    json_t *c =
        json_pack("{s:s, s:s, s:{s:{s:o, s:o}, s:{s:o}}}", "name", t->name, "image", t->image, "resources", "requests",
                  "cpu", amount(t, "cpu"), "memory", amount(t, "memory"), "limits", "memory", amount(t, "memory"));

    copy(c, t, "command");
    copy(c, t, "args");
    return c;
}

static json_t *pod(const struct task *t, const struct cluster *c, const size_t *order)
{
    json_t *spec = json_pack("{s:s, s:[o]}", "restartPolicy", "Never", "containers", container(t));
    json_t *terms = preferences(t, c, order);

    copy(spec, t, "nodeSelector");
    copy(spec, t, "tolerations");
    if (json_array_size(terms))
        json_object_set_new(
            spec, "affinity",
            json_pack("{s:{s:O}}", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution", terms));
    json_decref(terms);
    return spec;
}

static json_t *job(const struct task *t, const struct cluster *c, const size_t *order, const char *space)
{
    json_t *meta =
        json_pack("{s:s, s:{s:s}}", "name", t->name, "labels", "app.kubernetes.io/managed-by", "millrace-place");

    if (space)
        json_object_set_new(meta, "namespace", json_string(space));
    return json_pack("{s:s, s:s, s:o, s:{s:I, s:I, s:{s:o}}}", "apiVersion", "batch/v1", "kind", "Job", "metadata",
                     meta, "spec", "completions", (json_int_t)t->completions, "parallelism", (json_int_t)t->parallelism,
                     "template", "spec", pod(t, c, order));
}

json_t *render_jobs(const struct batch *b, const struct cluster *c, const size_t *order, const char *space)
{
    json_t *items = json_array();

    for (size_t i = 0; i < b->count; i++)
        json_array_append_new(items, job(&b->tasks[i], c, order, space));
    return json_pack("{s:s, s:s, s:o}", "apiVersion", "v1", "kind", "List", "items", items);
}
