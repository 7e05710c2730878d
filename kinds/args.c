/* SPDX-License-Identifier: Apache-2.0 */
/* args.c - parameters as text and as JSON.
 *
 * A value is checked against its row wherever it enters, so whoever holds a
 * struct args that was completed holds values within their bounds.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/numtext.h"
#include "common/text.h"
#include "kinds/kind.h"

#define INT_DIGITS_MAX 15 /* what a double, and so a row's bound, holds exactly */
#define SHOWN_MAX 40      /* bytes of a refused value that the detail repeats */

void args_init(struct args *args)
{
    *args = (struct args){0}; /* all of it: args are compared as bytes */
    for (int i = 0; i < PARAMS_MAX; i++)
        args->real[i] = NAN;
}

/* The refusal of one value, with what the row would take. */
static enum err refuse(const struct param *p, const char *given, struct fault *why)
{
    const char *space = *p->unit ? " " : "";

    if (p->type == PARAM_TEXT || p->type == PARAM_REST)
        return fault_set(why, ERR_PARAM, "%s must be text of %.0f to %.0f bytes without control characters, not '%.*s'",
                         p->name, p->min, p->max, SHOWN_MAX, given);
    if (p->type == PARAM_INT)
        return fault_set(why, ERR_PARAM, "%s must be a whole number from %.0f to %.0f%s%s, not '%.*s'", p->name, p->min,
                         p->max, space, p->unit, SHOWN_MAX, given);
    return fault_set(why, ERR_PARAM, "%s must be a number from %.15g to %.15g%s%s, not '%.*s'", p->name, p->min, p->max,
                     space, p->unit, SHOWN_MAX, given);
}

static bool is_within(const struct param *p, double value) { return value >= p->min && value <= p->max; }

/* ---- texts --------------------------------------------------------------- */

/* Well-formed UTF-8 without control characters. */
static bool is_plain_text(const char *text)
{
    for (size_t len; *text; text += len) {
        len = text_character(text, TEXT_ENDED);
        if (!len || text_is_control(*text))
            return false;
    }
    return true;
}

static enum err refuse_room(const char *name, struct fault *why)
{
    return fault_set(why, ERR_PARAM, "%.*s: the texts of one job have at most %d bytes in all", SHOWN_MAX, name,
                     PARAMS_TEXT_BYTES);
}

static enum err keep_text(const struct param *p, struct args *args, int i, const char *text, struct fault *why)
{
    size_t len = strlen(text);

    if (!is_within(p, (double)len) || !is_plain_text(text))
        return refuse(p, text, why);
    if (len >= sizeof(args->text) - args->text_len)
        return refuse_room(p->name, why);
    memcpy(args->text + args->text_len, text, len + 1);
    args->real[i] = (double)len;
    args->integer[i] = args->text_len;
    args->text_len += (uint32_t)len + 1;
    return ERR_OK;
}

const char *args_text(const struct args *args, int i)
{
    return isnan(args->real[i]) ? NULL : args->text + args->integer[i];
}

bool args_next_rest(const struct args *args, size_t *at, const char **name, const char **value)
{
    if (*at >= args->rest_len)
        return false;
    *name = args->rest + *at;
    *value = *name + strlen(*name) + 1;
    *at = (size_t)(*value - args->rest) + strlen(*value) + 1;
    return true;
}

const char *args_rest(const struct args *args, const char *name)
{
    const char *other, *value;

    for (size_t at = 0; args_next_rest(args, &at, &other, &value);)
        if (strcmp(other, name) == 0)
            return value;
    return NULL;
}

/* Puts the pair where its name belongs, so that the same names and values are the same bytes. */
static enum err keep_rest(const struct param *p, struct args *args, const char *name, const char *text,
                          struct fault *why)
{
    size_t      name_len = strlen(name) + 1, len = strlen(text) + 1, start, at = 0;
    const char *other, *value;

    if (!is_within(p, (double)len - 1) || !is_plain_text(text))
        return fault_set(why, ERR_PARAM, "%.*s must be text of %.0f to %.0f bytes without control characters",
                         SHOWN_MAX, name, p->min, p->max);
    if (name_len + len > sizeof(args->rest) - args->rest_len)
        return refuse_room(name, why);
    for (start = 0; args_next_rest(args, &at, &other, &value) && strcmp(other, name) < 0;)
        start = at;
    memmove(args->rest + start + name_len + len, args->rest + start, args->rest_len - start);
    memcpy(args->rest + start, name, name_len);
    memcpy(args->rest + start + name_len, text, len);
    args->rest_len += (uint32_t)(name_len + len);
    return ERR_OK;
}

/* The row that takes names which no row is called, or NULL: this kind has none, or no such name can be. */
static const struct param *find_rest(const struct kind_spec *kind, const char *name)
{
    for (const struct param *p = kind->params; p->type != PARAM_END; p++)
        if (p->type == PARAM_REST && *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")])
            return p;
    return NULL;
}

/* ---- values -------------------------------------------------------------- */

/* Row index of a name that may still be set, -1: it is one for the row that takes all others. */
static enum err find_unset(const struct kind_spec *kind, const struct args *args, const char *name, int *at,
                           struct fault *why)
{
    int         i = kind_param_find(kind, name);
    const char *taken = i < 0 ? args_rest(args, name) : NULL;

    if (i < 0 && !taken && find_rest(kind, name)) {
        *at = -1;
        return ERR_OK;
    }
    if (i < 0 && !taken)
        return fault_set(why, ERR_PARAM, "%s has no parameter '%.*s'", kind->name, SHOWN_MAX, name);
    if (taken || !isnan(args->real[i]))
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
    if (i < 0)
        return keep_rest(find_rest(kind, name), args, name, text, why);
    p = kind_param(kind, i);
    if (p->type == PARAM_TEXT)
        return keep_text(p, args, i, text, why);
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
        if (!isnan(args->real[i]) || p->type == PARAM_REST)
            continue;
        if (p->is_required && p->type == PARAM_TEXT)
            return fault_set(why, ERR_PARAM, "%s is missing: %s", p->name, p->help);
        if (p->is_required)
            return fault_set(why, ERR_PARAM, "%s is missing: %s, from %.15g to %.15g", p->name, p->help, p->min,
                             p->max);
        args->real[i] = p->fallback;
        args->integer[i] = isnan(p->fallback) ? 0 : (int64_t)p->fallback;
    }
    return ERR_OK;
}

static void print_text(const char *text, struct buf *out)
{
    json_t *value = json_string(text);
    char   *printed = json_dumps(value, JSON_ENCODE_ANY);

    buf_text(out, printed);
    free(printed);
    json_decref(value);
}

static void print_name(const char *before, const char *name, struct buf *out)
{
    buf_text(out, before);
    buf_text(out, "\"");
    buf_text(out, name);
    buf_text(out, "\":");
}

static void print_number(const struct param *p, const struct args *args, int i, struct buf *out)
{
    char *number = buf_reserve(out, NUMTEXT_BYTES);

    out->len +=
        p->type == PARAM_INT ? numtext_print_int(args->integer[i], number) : numtext_print(args->real[i], number);
}

void args_to_json(const struct kind_spec *kind, const struct args *args, struct buf *out)
{
    const struct param *p;
    const char         *before = "{", *name, *value;

    for (int i = 0; (p = kind_param(kind, i)); i++) {
        if (isnan(args->real[i]))
            continue;
        print_name(before, p->name, out);
        if (p->type == PARAM_TEXT)
            print_text(args_text(args, i), out);
        else
            print_number(p, args, i, out);
        before = ",";
    }
    for (size_t at = 0; args_next_rest(args, &at, &name, &value); before = ",") {
        print_name(before, name, out);
        print_text(value, out);
    }
    buf_text(out, *before == '{' ? "{}" : "}");
}

static enum err text_from_json(const struct param *p, struct args *args, int i, const char *name, const json_t *value,
                               struct fault *why)
{
    const char *text = json_string_value(value);

    if (!text || strlen(text) != json_string_length(value))
        return fault_set(why, ERR_PARAM, "%.*s must be a string without NULs", SHOWN_MAX, name);
    return i < 0 ? keep_rest(p, args, name, text, why) : keep_text(p, args, i, text, why);
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
    p = i < 0 ? find_rest(kind, name) : kind_param(kind, i);
    if (p->type == PARAM_TEXT || p->type == PARAM_REST)
        return text_from_json(p, args, i, name, value, why);
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

int64_t args_common(const struct kind_spec *kind, const struct args *args, const char *name)
{
    int i = kind_param_find(kind, name);

    return i < 0 || isnan(args->real[i]) ? -1 : args->integer[i];
}
