/* SPDX-License-Identifier: Apache-2.0 */
/* kind.c - the table of kinds, and parameters as text and as JSON.
 *
 * A value is checked against its row wherever it enters, so whoever holds a
 * struct args that was completed holds values within their bounds.
 */
#include "kinds/kind.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/numtext.h"

#define INT_DIGITS_MAX 15 /* what a double, and so a row's bound, holds exactly */
#define SHOWN_MAX 40      /* bytes of a refused value that the detail repeats */

const struct kind_spec *const kinds[KIND_COUNT] = {
#define KIND(name) &name##_spec,
#include "kinds/kinds.def"
#undef KIND
};

const struct param common_params[] = {
    {"timeout", PARAM_INT, 1, 518400, false, NAN, "seconds", "time limit of one attempt"},
    {"deadline", PARAM_INT, 1, 31536000, false, NAN, "seconds", "from submit until it must have started"},
    {.type = PARAM_END},
};

int kind_find(const char *name)
{
    for (int i = 0; i < KIND_COUNT; i++)
        if (strcmp(kinds[i]->name, name) == 0)
            return i;
    return -1;
}

const struct param *kind_param(const struct kind_spec *kind, int i)
{
    int own = 0;

    while (kind->params[own].type != PARAM_END)
        own++;
    if (i < own)
        return &kind->params[i];
    for (int common = 0; common_params[common].type != PARAM_END; common++)
        if (own + common == i)
            return &common_params[common];
    return NULL;
}

int kind_param_find(const struct kind_spec *kind, const char *name)
{
    const struct param *p;

    for (int i = 0; (p = kind_param(kind, i)); i++)
        if (strcmp(p->name, name) == 0)
            return i;
    return -1;
}

void args_init(struct args *args)
{
    for (int i = 0; i < PARAMS_MAX; i++) {
        args->real[i] = NAN;
        args->integer[i] = 0;
    }
}

/* The refusal of one value, with what the row would take. */
static enum err refuse(const struct param *p, const char *given, struct fault *why)
{
    const char *space = *p->unit ? " " : "";

    if (p->type == PARAM_INT)
        return fault_set(why, ERR_PARAM, "%s must be a whole number from %.0f to %.0f%s%s, not '%.*s'", p->name, p->min,
                         p->max, space, p->unit, SHOWN_MAX, given);
    return fault_set(why, ERR_PARAM, "%s must be a number from %.15g to %.15g%s%s, not '%.*s'", p->name, p->min, p->max,
                     space, p->unit, SHOWN_MAX, given);
}

static bool is_within(const struct param *p, double value) { return value >= p->min && value <= p->max; }

/* Row index of a name that may still be set. */
static enum err find_unset(const struct kind_spec *kind, const struct args *args, const char *name, int *at,
                           struct fault *why)
{
    int i = kind_param_find(kind, name);

    if (i < 0)
        return fault_set(why, ERR_PARAM, "%s has no parameter '%.*s'", kind->name, SHOWN_MAX, name);
    if (!isnan(args->real[i]))
        return fault_set(why, ERR_PARAM, "%s is given more than once", name);
    *at = i;
    return ERR_OK;
}

static size_t digits(const char *text) { return strspn(text, "0123456789"); }

/* Plain digits; leading zeros are harmless. */
static bool read_int(const char *text, double *out)
{
    size_t len = digits(text);

    if (!len || text[len])
        return false;
    while (*text == '0' && text[1])
        text++, len--;
    *out = len <= INT_DIGITS_MAX ? (double)strtoll(text, NULL, 10) : INFINITY;
    return true;
}

/* Plain decimals, no exponent: -12.5 */
static bool read_real(const char *text, double *out)
{
    const char *p = text + (*text == '-');
    size_t      len = digits(p);

    if (!len)
        return false;
    p += len;
    if (*p == '.') {
        len = digits(++p);
        if (!len)
            return false;
        p += len;
    }
    return !*p && numtext_read(text, p, out);
}

enum err args_set(const struct kind_spec *kind, struct args *args, const char *name, const char *text,
                  struct fault *why)
{
    const struct param *p;
    enum err            e;
    double              value;
    int                 i;

    e = find_unset(kind, args, name, &i, why);
    if (e)
        return e;
    p = kind_param(kind, i);
    if (!(p->type == PARAM_INT ? read_int(text, &value) : read_real(text, &value)) || !is_within(p, value))
        return refuse(p, text, why);
    args->real[i] = value;
    args->integer[i] = (int64_t)value;
    return ERR_OK;
}

enum err args_complete(const struct kind_spec *kind, struct args *args, struct fault *why)
{
    const struct param *p;

    for (int i = 0; (p = kind_param(kind, i)); i++) {
        if (!isnan(args->real[i]))
            continue;
        if (p->is_required)
            return fault_set(why, ERR_PARAM, "%s is missing: %s, from %.15g to %.15g", p->name, p->help, p->min,
                             p->max);
        args->real[i] = p->fallback;
        args->integer[i] = isnan(p->fallback) ? 0 : (int64_t)p->fallback;
    }
    return ERR_OK;
}

void args_to_json(const struct kind_spec *kind, const struct args *args, struct buf *out)
{
    const struct param *p;
    const char         *before = "{";
    char               *number;

    for (int i = 0; (p = kind_param(kind, i)); i++) {
        if (isnan(args->real[i]))
            continue;
        buf_text(out, before);
        buf_text(out, "\"");
        buf_text(out, p->name);
        buf_text(out, "\":");
        number = buf_reserve(out, NUMTEXT_BYTES);
        out->len +=
            p->type == PARAM_INT ? numtext_print_int(args->integer[i], number) : numtext_print(args->real[i], number);
        before = ",";
    }
    buf_text(out, *before == '{' ? "{}" : "}");
}

static enum err set_from_json(const struct kind_spec *kind, struct args *args, const char *name, const json_t *value,
                              struct fault *why)
{
    const struct param *p;
    enum err            e;
    double              number;
    int                 i;

    e = find_unset(kind, args, name, &i, why);
    if (e)
        return e;
    p = kind_param(kind, i);
    number = json_number_value(value);
    if (!(p->type == PARAM_INT ? json_is_integer(value) : json_is_number(value)) || !is_within(p, number)) {
        char *given = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

        e = refuse(p, given ? given : "", why);
        free(given);
        return e;
    }
    args->real[i] = number;
    args->integer[i] = (int64_t)number;
    return ERR_OK;
}

enum err args_from_json(const struct kind_spec *kind, const char *json, struct args *args, struct fault *why)
{
    json_error_t error;
    json_t      *doc = json_loads(json, JSON_REJECT_DUPLICATES, &error);
    json_t      *value;
    const char  *name;
    enum err     e = ERR_OK;

    args_init(args);
    if (!json_is_object(doc)) {
        e = fault_set(why, ERR_PARAM, "the parameters are not a JSON object: %s", doc ? "another type" : error.text);
        goto out;
    }
    json_object_foreach(doc, name, value)
    {
        e = set_from_json(kind, args, name, value, why);
        if (e)
            goto out;
    }
    e = args_complete(kind, args, why);
out:
    json_decref(doc);
    return e;
}

int input_blobs(const char *refs, char *names[INPUT_BLOBS_MAX])
{
    json_t *doc = *refs ? json_loads(refs, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *list = json_object_get(doc, "blobs");
    int     count = (int)json_array_size(list);
    bool    is_fine = !*refs || (json_is_object(doc) && (!list || json_is_array(list)) && count <= INPUT_BLOBS_MAX);

    for (int i = 0; i < count && is_fine; i++)
        is_fine = json_is_string(json_array_get(list, (size_t)i));
    for (int i = 0; i < count && is_fine; i++)
        names[i] = xstrdup(json_string_value(json_array_get(list, (size_t)i)));
    json_decref(doc);
    return is_fine ? count : -1;
}

int64_t args_common(const struct kind_spec *kind, const struct args *args, const char *name)
{
    int i = kind_param_find(kind, name);

    return i < 0 || isnan(args->real[i]) ? -1 : args->integer[i];
}
