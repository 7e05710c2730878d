/* SPDX-License-Identifier: Apache-2.0 */
/* cluster.c - see the header. */
#include "cli/place/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

struct request {
    wide cpu_nano, memory_nano;
};

/* ---- members ------------------------------------------------------------------- */

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

const char *quantity_text(const json_t *value, char room[QUANTITY_TEXT_BYTES])
{
    size_t len;

    if (!json_is_number(value))
        return json_string_value(value);
    len = json_is_integer(value) ? numtext_print_int(json_integer_value(value), room)
                                 : numtext_print(json_real_value(value), room);
    room[len] = '\0';
    return room;
}

enum err quantity_member(const json_t *object, const char *name, wide *nano, struct fault *why)
{
    const json_t *value = json_object_get(object, name);
    char          room[QUANTITY_TEXT_BYTES];
    const char   *text = quantity_text(value, room);

    *nano = 0;
    if (!value)
        return ERR_OK;
    if (!text)
        return fault_set(why, ERR_PARAM, "%s is neither a text nor a number", name);
    return quantity_read(text, nano, why);
}

/* ---- what a pod requests ---------------------------------------------------------- */

static enum err read_request(const json_t *amounts, struct request *out, struct fault *why)
{
    enum err e = quantity_member(amounts, "cpu", &out->cpu_nano, why);

    return e ? e : quantity_member(amounts, "memory", &out->memory_nano, why);
}

static enum err read_container(const json_t *container, struct request *out, struct fault *why)
{
    return read_request(json_object_get(json_object_get(container, "resources"), "requests"), out, why);
}

static void add(struct request *to, const struct request *more)
{
    to->cpu_nano += more->cpu_nano;
    to->memory_nano += more->memory_nano;
}

static void raise_to(struct request *r, const struct request *other)
{
    r->cpu_nano = other->cpu_nano > r->cpu_nano ? other->cpu_nano : r->cpu_nano;
    r->memory_nano = other->memory_nano > r->memory_nano ? other->memory_nano : r->memory_nano;
}

/* Init containers run one after the other, before the others; but one with restartPolicy Always, a sidecar, stays
 * beside all that follow it. */
static enum err read_containers(const json_t *spec, struct request *out, struct fault *why)
{
    struct request one, sidecars = {0}, peak = {0};
    const json_t  *each;
    size_t         i;
    enum err       e;

    json_array_foreach(json_object_get(spec, "initContainers"), i, each)
    {
        e = read_container(each, &one, why);
        if (e)
            return e;
        add(&one, &sidecars);
        if (!strcmp(text_at(each, "restartPolicy"), "Always"))
            sidecars = one;
        raise_to(&peak, &one);
    }
    *out = sidecars;
    json_array_foreach(json_object_get(spec, "containers"), i, each)
    {
        e = read_container(each, &one, why);
        if (e)
            return e;
        add(out, &one);
    }
    raise_to(out, &peak);
    return ERR_OK;
}

/* A request of the pod itself stands for those of its containers. */
static enum err read_pod(const json_t *spec, struct request *out, struct fault *why)
{
    const json_t  *own = json_object_get(json_object_get(spec, "resources"), "requests");
    struct request said, overhead;
    enum err       e = read_containers(spec, out, why);

    if (!e)
        e = read_request(own, &said, why);
    if (!e)
        e = read_request(json_object_get(spec, "overhead"), &overhead, why);
    if (e)
        return e;
    if (json_object_get(own, "cpu"))
        out->cpu_nano = said.cpu_nano;
    if (json_object_get(own, "memory"))
        out->memory_nano = said.memory_nano;
    add(out, &overhead);
    return ERR_OK;
}

/* ---- nodes -------------------------------------------------------------------------- */

static bool is_ready(const json_t *status)
{
    const json_t *each;
    size_t        i;

    json_array_foreach(json_object_get(status, "conditions"), i, each)
    {
        if (!strcmp(text_at(each, "type"), "Ready"))
            return !strcmp(text_at(each, "status"), "True");
    }
    return false;
}

static enum err add_node(struct cluster *c, const json_t *doc, struct fault *why)
{
    const json_t *meta = json_object_get(doc, "metadata"), *spec = json_object_get(doc, "spec");
    const json_t *status = json_object_get(doc, "status"), *amounts = json_object_get(status, "allocatable");
    struct node   n = {.name = text_at(meta, "name"), .labels = json_object_get(meta, "labels")};
    wide          cpu, memory, pods;
    enum err      e;

    if (!*n.name)
        return fault_set(why, ERR_PARAM, "a node has no name");
    e = quantity_member(amounts, "cpu", &cpu, why);
    if (!e)
        e = quantity_member(amounts, "memory", &memory, why);
    if (!e)
        e = quantity_member(amounts, "pods", &pods, why);
    if (e)
        return e;
    n.allocatable = (struct amount){cpu / QUANTITY_MILLI, memory / QUANTITY_ONE, pods / QUANTITY_ONE};
    n.hostname = json_string_value(json_object_get(n.labels, "kubernetes.io/hostname"));
    n.taints = json_object_get(spec, "taints");
    n.is_cordoned = json_is_true(json_object_get(spec, "unschedulable"));
    n.is_ready = is_ready(status);
    c->nodes = xrealloc(c->nodes, (c->count + 1) * sizeof *c->nodes);
    c->nodes[c->count++] = n;
    return ERR_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct node *)a)->name, ((const struct node *)b)->name);
}

/* A pod that is bound to no node, or to one that is not there, takes nothing of any. */
static enum err count_pod(struct cluster *c, const json_t *doc, struct fault *why)
{
    const json_t  *spec = json_object_get(doc, "spec");
    const char    *phase = text_at(json_object_get(doc, "status"), "phase");
    struct node    key = {.name = text_at(spec, "nodeName")}, *n = NULL;
    struct request r;
    enum err       e;

    if (c->count)
        n = bsearch(&key, c->nodes, c->count, sizeof *c->nodes, by_name);
    if (!n || !strcmp(phase, "Succeeded") || !strcmp(phase, "Failed"))
        return ERR_OK;
    e = read_pod(spec, &r, why);
    if (e)
        return e;
    n->used.cpu_milli += quantity_in(r.cpu_nano, QUANTITY_MILLI);
    n->used.memory_bytes += quantity_in(r.memory_nano, QUANTITY_ONE);
    n->used.pods++;
    return ERR_OK;
}

/* ---- documents ------------------------------------------------------------------------ */

/* Calls each for the objects of this kind; the reason says which one it was. */
static enum err for_each(struct cluster *c, const json_t *doc, const char *kind,
                         enum err (*each)(struct cluster *, const json_t *, struct fault *), struct fault *why)
{
    const json_t *items = json_object_get(doc, "items"), *one;
    const char   *list_kind = text_at(doc, "kind");
    struct fault  inner;
    size_t        i, len = strlen(kind);
    enum err      e;

    if (!items)
        return strcmp(list_kind, kind) ? ERR_OK : each(c, doc, why);
    json_array_foreach(items, i, one)
    {
        /* what the API server lists is a PodList, whose items need not say their kind */
        bool is_of_list = !strncmp(list_kind, kind, len) && !strcmp(list_kind + len, "List");

        if (*text_at(one, "kind") ? strcmp(text_at(one, "kind"), kind) != 0 : !is_of_list)
            continue;
        e = each(c, one, &inner);
        if (e)
            return fault_set(why, e, "%s %.60s: %s", kind, text_at(json_object_get(one, "metadata"), "name"),
                             inner.detail);
    }
    return ERR_OK;
}

enum err cluster_add(struct cluster *c, json_t *doc, const char *source, struct fault *why)
{
    struct fault inner;
    enum err     e;

    c->documents = xrealloc(c->documents, (c->document_count + 1) * sizeof *c->documents);
    c->documents[c->document_count++] = doc;
    if (!json_is_object(doc) || !*text_at(doc, "kind"))
        return fault_set(why, ERR_PARAM, "%s: not what kubectl prints with -o json: it says no kind", source);
    e = for_each(c, doc, "Node", add_node, &inner);
    return e ? fault_set(why, e, "%s: %s", source, inner.detail) : ERR_OK;
}

enum err cluster_settle(struct cluster *c, struct fault *why)
{
    if (!c->count)
        return fault_set(why, ERR_PARAM, "the cluster has no nodes");
    qsort(c->nodes, c->count, sizeof *c->nodes, by_name);
    for (size_t i = 1; i < c->count; i++)
        if (!by_name(&c->nodes[i - 1], &c->nodes[i]))
            return fault_set(why, ERR_PARAM, "the cluster has two nodes named %.60s", c->nodes[i].name);
    for (size_t i = 0; i < c->document_count; i++) {
        enum err e = for_each(c, c->documents[i], "Pod", count_pod, why);

        if (e)
            return e;
    }
    return ERR_OK;
}

void cluster_free(struct cluster *c)
{
    for (size_t i = 0; i < c->document_count; i++)
        json_decref(c->documents[i]);
    free(c->documents);
    free(c->nodes);
    *c = (struct cluster){0};
}

static wide rest_of(wide all, wide used) { return used < all ? all - used : 0; }

struct amount node_free(const struct node *n)
{
    return (struct amount){rest_of(n->allocatable.cpu_milli, n->used.cpu_milli),
                           rest_of(n->allocatable.memory_bytes, n->used.memory_bytes),
                           rest_of(n->allocatable.pods, n->used.pods)};
}
