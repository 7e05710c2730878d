/* SPDX-License-Identifier: Apache-2.0 */
/* fit.c - see the header. */
#include "cli/place/fit.h"

#include <string.h>

static const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

/* ---- taints ---------------------------------------------------------------------- */

static bool tolerates(const json_t *toleration, const char *key, const char *value, const char *effect)
{
    const char *their_key = text_at(toleration, "key"), *their_effect = text_at(toleration, "effect");

    if (*their_effect && strcmp(their_effect, effect) != 0)
        return false;
    if (*their_key && strcmp(their_key, key) != 0)
        return false;
    return !strcmp(text_at(toleration, "operator"), "Exists") || !strcmp(text_at(toleration, "value"), value);
}

static bool is_tolerated(const struct task *t, const char *key, const char *value, const char *effect)
{
    const json_t *each;
    size_t        i;

    json_array_foreach(json_object_get(t->doc, "tolerations"), i, each)
    {
        if (tolerates(each, key, value, effect))
            return true;
    }
    return false;
}

static bool taint_is_tolerated(const struct task *t, const json_t *taint)
{
    return is_tolerated(t, text_at(taint, "key"), text_at(taint, "value"), text_at(taint, "effect"));
}

/* The first one that keeps the job away; NULL: none does. */
static const json_t *taint_against(const struct task *t, const struct node *n)
{
    const json_t *taint;
    size_t        i;

    json_array_foreach(n->taints, i, taint)
    {
        const char *effect = text_at(taint, "effect");

        if ((!strcmp(effect, "NoSchedule") || !strcmp(effect, "NoExecute")) && !taint_is_tolerated(t, taint))
            return taint;
    }
    return NULL;
}

int fit_discouraged(const struct task *t, const struct node *n)
{
    const json_t *taint;
    size_t        i;
    int           count = 0;

    json_array_foreach(n->taints, i, taint)
    {
        count += !strcmp(text_at(taint, "effect"), "PreferNoSchedule") && !taint_is_tolerated(t, taint);
    }
    return count;
}

/* ---- labels ---------------------------------------------------------------------- */

/* The first label that the job wants and the node lacks; NULL: it has all. */
static const char *label_missing(const struct task *t, const struct node *n)
{
    json_t     *selector = json_object_get(t->doc, "nodeSelector"), *value;
    const char *key;

    json_object_foreach(selector, key, value)
    {
        const char *theirs = json_string_value(json_object_get(n->labels, key));

        if (!theirs || strcmp(theirs, json_string_value(value)) != 0)
            return key;
    }
    return NULL;
}

/* ---- all of it -------------------------------------------------------------------- */

enum fit fit_of(const struct task *t, const struct node *n)
{
    if (!n->is_ready)
        return FIT_NOT_READY;
    if (n->is_cordoned && !is_tolerated(t, "node.kubernetes.io/unschedulable", "", "NoSchedule"))
        return FIT_CORDONED;
    if (taint_against(t, n))
        return FIT_TAINTED;
    if (label_missing(t, n))
        return FIT_OTHER_LABELS;
    return fit_count(&t->need, &n->allocatable) ? FIT_YES : FIT_TOO_SMALL;
}

static wide least(wide a, wide b) { return a < b ? a : b; }

int64_t fit_count(const struct amount *need, const struct amount *free)
{
    wide count = least(free->cpu_milli / need->cpu_milli, free->memory_bytes / need->memory_bytes);

    count = least(least(count, free->pods), BATCH_PODS_MAX);
    return count > 0 ? (int64_t)count : 0;
}

static void say_amount(const struct amount *a, struct buf *out)
{
    buf_printf(out, "%.3f cores, %.2f GB and room for %lld pods", (double)a->cpu_milli / 1000,
               (double)a->memory_bytes / 1e9, (long long)least(a->pods, INT64_MAX));
}

void fit_say(enum fit fit, const struct task *t, const struct node *n, const struct amount *free, struct buf *out)
{
    const json_t *taint = taint_against(t, n);
    const char   *key = label_missing(t, n);

    switch (fit) {
    case FIT_YES:
        buf_text(out, "full: left are ");
        say_amount(free, out);
        break;
    case FIT_NOT_READY:
        buf_text(out, "it is not ready");
        break;
    case FIT_CORDONED:
        buf_text(out, "it is cordoned");
        break;
    case FIT_TAINTED:
        buf_printf(out, "the taint %s%s%s:%s is not tolerated", text_at(taint, "key"),
                   *text_at(taint, "value") ? "=" : "", text_at(taint, "value"), text_at(taint, "effect"));
        break;
    case FIT_OTHER_LABELS:
        buf_printf(out, "its label %s is not %s", key, text_at(json_object_get(t->doc, "nodeSelector"), key));
        break;
    case FIT_TOO_SMALL:
        buf_text(out, "too small even when empty: it has ");
        say_amount(&n->allocatable, out);
        break;
    }
}
