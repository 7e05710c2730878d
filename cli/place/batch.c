/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c - see the header. */
#include "cli/place/batch.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

#define LABEL_BYTES_MAX 63
#define KEY_BYTES_MAX (253 + 1 + LABEL_BYTES_MAX) /* a prefix, a slash and a name */
#define IMAGE_BYTES_MAX 4096
#define TEXT_BYTES_MAX 131072 /* no program can be given a longer word */
#define BALANCED_BYTES_PER_CORE 4e9

static const char *const wrapping_members[] = {"jobs", NULL};
static const char *const members[] = {"name",  "image",       "command",      "args",        "cpu", "memory",
                                      "count", "parallelism", "nodeSelector", "tolerations", NULL};
static const char *const toleration_members[] = {"key", "operator", "value", "effect", "tolerationSeconds", NULL};

/* ---- words --------------------------------------------------------------------- */

static bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
static bool is_letter_or_digit(char c) { return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z'); }

bool is_dns_label(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (!is_lower_or_digit(text[i]) && text[i] != '-')
            return false;
    return len && len <= LABEL_BYTES_MAX && text[0] != '-' && text[len - 1] != '-';
}

/* The name of a label or its value. */
static bool is_label_part(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_letter_or_digit(text[i]) && !strchr("-_.", text[i]))
            return false;
    return len && len <= LABEL_BYTES_MAX && is_letter_or_digit(text[0]) && is_letter_or_digit(text[len - 1]);
}

/* "node.kubernetes.io/instance-type", or without what stands before the slash. */
static bool is_label_key(const char *text)
{
    const char *slash = strchr(text, '/');
    size_t      prefix = slash ? (size_t)(slash - text) : 0;

    for (size_t i = 0; i < prefix; i++)
        if (!is_lower_or_digit(text[i]) && !strchr("-.", text[i]))
            return false;
    if (slash && (!prefix || !is_lower_or_digit(text[0]) || !is_lower_or_digit(text[prefix - 1]) ||
                  strstr(text, "..") || strstr(text, ".-") || strstr(text, "-.")))
        return false;
    text = slash ? slash + 1 : text;
    return prefix + strlen(text) <= KEY_BYTES_MAX && is_label_part(text, strlen(text));
}

static bool is_label_value(const char *text) { return !*text || is_label_part(text, strlen(text)); }

static bool is_one_of(const char *word, const char *const *words)
{
    while (*words && strcmp(*words, word) != 0)
        words++;
    return *words;
}

/* ---- one job ---------------------------------------------------------------------- */

/* Members that nobody knows are typing errors. */
static enum err check_members(const json_t *object, const char *const *known, struct fault *why)
{
    const char   *name;
    const json_t *value;

    json_object_foreach((json_t *)object, name, value)
    {
        (void)value;
        if (!is_one_of(name, known))
            return fault_set(why, ERR_PARAM, "'%.40s' is nothing that it can say", name);
    }
    return ERR_OK;
}

static enum err read_name(struct task *t, struct fault *why)
{
    const json_t *name = json_object_get(t->doc, "name"), *image = json_object_get(t->doc, "image");

    t->name = json_string_value(name);
    t->image = json_string_value(image);
    if (!t->name || !is_dns_label(t->name))
        return fault_set(
            why, ERR_PARAM,
            "its name is %s%.70s%s; a name has 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -",
            t->name ? "'" : "", t->name ? t->name : "none", t->name ? "'" : "");
    if (!t->image || !*t->image || strlen(t->image) > IMAGE_BYTES_MAX || strpbrk(t->image, " \t\r\n"))
        return fault_set(why, ERR_PARAM, "it names no image");
    return ERR_OK;
}

static enum err check_words(const json_t *doc, const char *name, struct fault *why)
{
    const json_t *words = json_object_get(doc, name), *each;
    size_t        i;

    if (words && !json_is_array(words))
        return fault_set(why, ERR_PARAM, "%s is no list of words, as [\"sh\", \"-c\", \"date\"]", name);
    json_array_foreach(words, i, each)
    {
        if (!json_is_string(each) || json_string_length(each) > TEXT_BYTES_MAX)
            return fault_set(why, ERR_PARAM, "word %zu of its %s is no text, or a very long one", i + 1, name);
    }
    return ERR_OK;
}

static enum err read_amount(const json_t *doc, const char *name, wide unit, wide *out, struct fault *why)
{
    struct fault inner;
    wide         nano;
    enum err     e = quantity_member(doc, name, &nano, &inner);

    if (e)
        return fault_set(why, e, "its %s: %s", name, inner.detail);
    if (nano <= 0)
        return fault_set(why, ERR_PARAM, "its %s must be said, and be more than 0", name);
    *out = quantity_in(nano, unit);
    return ERR_OK;
}

static enum err read_count(const json_t *doc, const char *name, int64_t max, int64_t fallback, int64_t *out,
                           struct fault *why)
{
    const json_t *count = json_object_get(doc, name);

    *out = count ? json_integer_value(count) : fallback;
    if (*out < 1 || *out > max)
        return fault_set(why, ERR_PARAM, "its %s must be a whole number from 1 to %lld", name, (long long)max);
    return ERR_OK;
}

static enum err check_selector(const json_t *doc, struct fault *why)
{
    json_t     *selector = json_object_get(doc, "nodeSelector"), *value;
    const char *key;

    if (selector && !json_is_object(selector))
        return fault_set(why, ERR_PARAM, "its nodeSelector is no object of labels");
    json_object_foreach(selector, key, value)
    {
        if (!is_label_key(key) || !json_is_string(value) || !is_label_value(json_string_value(value)))
            return fault_set(why, ERR_PARAM, "'%.60s' of its nodeSelector is no label with a text as value", key);
    }
    return ERR_OK;
}

static enum err check_toleration(const json_t *one, struct fault *why)
{
    static const char *const operators[] = {"Exists", "Equal", NULL};
    static const char *const effects[] = {"", "NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    const json_t            *seconds = json_object_get(one, "tolerationSeconds"), *each;
    const char              *texts[4] = {"", "Equal", "", ""}; /* as toleration_members has them */
    enum err                 e;

    if (!json_is_object(one))
        return fault_set(why, ERR_PARAM, "it is no object");
    e = check_members(one, toleration_members, why);
    for (int i = 0; !e && i < 4; i++) {
        each = json_object_get(one, toleration_members[i]);
        if (each && !json_is_string(each))
            return fault_set(why, ERR_PARAM, "its %s is no text", toleration_members[i]);
        if (each)
            texts[i] = json_string_value(each);
    }
    if (e)
        return e;
    if (!is_one_of(texts[1], operators) || !is_one_of(texts[3], effects))
        return fault_set(why, ERR_PARAM,
                         "its operator is Exists or Equal, its effect NoSchedule, PreferNoSchedule or "
                         "NoExecute; or nothing is said");
    if ((*texts[0] && !is_label_key(texts[0])) || !is_label_value(texts[2]))
        return fault_set(why, ERR_PARAM, "its key or value is none that a taint can have");
    if (!strcmp(texts[1], "Exists") ? *texts[2] : !*texts[0])
        return fault_set(why, ERR_PARAM, "with Exists it has no value, without Exists it has a key");
    if (seconds && (!json_is_integer(seconds) || strcmp(texts[3], "NoExecute") != 0))
        return fault_set(why, ERR_PARAM, "its tolerationSeconds must be a whole number, and is for NoExecute alone");
    return ERR_OK;
}

static enum err check_tolerations(const json_t *doc, struct fault *why)
{
    const json_t *list = json_object_get(doc, "tolerations"), *each;
    struct fault  inner;
    size_t        i;

    if (list && !json_is_array(list))
        return fault_set(why, ERR_PARAM, "its tolerations are no list");
    json_array_foreach(list, i, each)
    {
        if (check_toleration(each, &inner))
            return fault_set(why, ERR_PARAM, "its toleration %zu: %s", i + 1, inner.detail);
    }
    return ERR_OK;
}

static enum err read_task(struct task *t, struct fault *why)
{
    const json_t *doc = t->doc;
    enum err      e;

    if (!json_is_object(doc))
        return fault_set(why, ERR_PARAM, "it is no object");
    t->need.pods = 1;
    e = check_members(doc, members, why);
    if (!e)
        e = read_name(t, why);
    if (!e)
        e = check_words(doc, "command", why);
    if (!e)
        e = check_words(doc, "args", why);
    if (!e)
        e = read_amount(doc, "cpu", QUANTITY_MILLI, &t->need.cpu_milli, why);
    if (!e)
        e = read_amount(doc, "memory", QUANTITY_ONE, &t->need.memory_bytes, why);
    if (!e)
        e = read_count(doc, "count", BATCH_COUNT_MAX, 1, &t->completions, why);
    if (!e)
        e = read_count(doc, "parallelism", t->completions < BATCH_PODS_MAX ? t->completions : BATCH_PODS_MAX,
                       t->completions, &t->parallelism, why);
    if (!e)
        e = check_selector(doc, why);
    return e ? e : check_tolerations(doc, why);
}

/* ---- all of them ------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct task *)a)->name, ((const struct task *)b)->name);
}

static int compare(wide a, wide b) { return (a > b) - (a < b); }

static int by_cpu(const void *a, const void *b)
{
    const struct task *x = a, *y = b;
    int                order = compare(y->need.cpu_milli, x->need.cpu_milli);

    order = order ? order : compare(y->need.memory_bytes, x->need.memory_bytes);
    return order ? order : by_name(a, b);
}

static int by_memory(const void *a, const void *b)
{
    const struct task *x = a, *y = b;
    int                order = compare(y->need.memory_bytes, x->need.memory_bytes);

    order = order ? order : compare(y->need.cpu_milli, x->need.cpu_milli);
    return order ? order : by_name(a, b);
}

static enum err check_names(struct batch *b, struct fault *why)
{
    qsort(b->tasks, b->count, sizeof *b->tasks, by_name);
    for (size_t i = 1; i < b->count; i++)
        if (!by_name(&b->tasks[i - 1], &b->tasks[i]))
            return fault_set(why, ERR_PARAM, "two jobs are named %s", b->tasks[i].name);
    return ERR_OK;
}

static enum err add_up(struct batch *b, struct fault *why)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct task *t = &b->tasks[i];

        b->pods += t->parallelism;
        b->total.cpu_milli += t->need.cpu_milli * t->parallelism;
        b->total.memory_bytes += t->need.memory_bytes * t->parallelism;
    }
    b->total.pods = b->pods;
    if (b->pods > BATCH_PODS_MAX)
        return fault_set(why, ERR_PARAM, "the jobs have %lld pods at a time; %d is the most", (long long)b->pods,
                         BATCH_PODS_MAX);
    b->ratio = (double)b->total.cpu_milli / 1000 / (double)b->total.memory_bytes * BALANCED_BYTES_PER_CORE;
    b->is_cpu_bound = b->ratio >= 1;
    qsort(b->tasks, b->count, sizeof *b->tasks, b->is_cpu_bound ? by_cpu : by_memory);
    return ERR_OK;
}

enum err batch_read(json_t *doc, struct batch *out, struct fault *why)
{
    const json_t *list = json_is_object(doc) ? json_object_get(doc, "jobs") : doc;
    struct fault  inner;
    enum err      e;

    *out = (struct batch){.doc = doc, .count = json_array_size(list)};
    if (!out->count || out->count > BATCH_JOBS_MAX)
        return fault_set(why, ERR_PARAM, "it is no list of 1 to %d jobs, nor an object with one as \"jobs\"",
                         BATCH_JOBS_MAX);
    if (json_is_object(doc) && check_members(doc, wrapping_members, &inner))
        return fault_set(why, ERR_PARAM, "beside its jobs: %s", inner.detail);
    out->tasks = xcalloc(out->count, sizeof *out->tasks);
    for (size_t i = 0; i < out->count; i++) {
        out->tasks[i].doc = json_array_get(list, i);
        if (read_task(&out->tasks[i], &inner))
            return fault_set(why, ERR_PARAM, "job %zu: %s", i + 1, inner.detail);
    }
    e = check_names(out, why);
    return e ? e : add_up(out, why);
}

void batch_free(struct batch *b)
{
    json_decref(b->doc);
    free(b->tasks);
    *b = (struct batch){0};
}
