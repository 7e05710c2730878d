/* SPDX-License-Identifier: Apache-2.0 */
/* origin.c - see the header. */
#include "kinds/matrix/origin.h"

#include <jansson.h>
#include <string.h>

#define SHOWN 40 /* bytes of a key that a detail repeats */

/* Follows one byte: true at the brace that ends the object. */
static bool follow(struct origin *o, char c)
{
    if (o->is_in_string) {
        if (o->is_escaped)
            o->is_escaped = false;
        else if (c == '\\')
            o->is_escaped = true;
        else if (c == '"')
            o->is_in_string = false;
        return false;
    }
    if (c == '"')
        o->is_in_string = true;
    else if (c == '{')
        o->depth++;
    else if (c == '}')
        return --o->depth == 0;
    return false;
}

size_t origin_take(struct origin *o, const char *bytes, size_t len, bool *is_whole)
{
    size_t taken = 0;

    *is_whole = false;
    while (taken < len && !*is_whole && o->text.len + taken <= ORIGIN_MAX)
        *is_whole = follow(o, bytes[taken++]);
    buf_append(&o->text, bytes, taken);
    return taken;
}

/* What is wrong with the operand that starts at this offset. */
struct place {
    char          letter;
    uint64_t      at;
    struct fault *why;
};

static enum err refuse(const struct place *p, const char *what, const char *name)
{
    return fault_set(p->why, ERR_JSON,
                     "byte %llu: operand %c %s \"%.*s\"; an operand is an array of rows, "
                     "{\"blob\":ID} or {\"random\":{\"rows\":R,\"cols\":C,\"seed\":S}}",
                     (ull)p->at, p->letter, what, SHOWN, name);
}

static enum err refuse_value(const struct place *p, const char *name, const char *wanted)
{
    return fault_set(p->why, ERR_JSON, "byte %llu: operand %c: \"%s\" must be %s", (ull)p->at, p->letter, name, wanted);
}

enum { ROWS, COLS, SEED, NUMBERS };

static const struct number {
    const char *name;
    int64_t     min;
    const char *wanted;
} numbers[NUMBERS] = {
    [ROWS] = {"rows", 1, "a whole number, at least 1"},
    [COLS] = {"cols", 1, "a whole number, at least 1"},
    [SEED] = {"seed", 0, "a whole number from 0 to 9223372036854775807"},
};

static enum err read_random(const struct place *p, const json_t *doc, struct gather *g, int i)
{
    uint64_t    values[NUMBERS];
    const char *name;
    json_t     *value;

    if (!json_is_object(doc))
        return refuse_value(p, "random", "an object with rows, cols and seed");
    json_object_foreach((json_t *)doc, name, value)
    {
        int n = 0;

        while (n < NUMBERS && strcmp(name, numbers[n].name) != 0)
            n++;
        if (n == NUMBERS)
            return refuse(p, "has the unknown key", name);
    }
    for (int n = 0; n < NUMBERS; n++) {
        value = json_object_get(doc, numbers[n].name);
        if (!value)
            return refuse(p, "lacks", numbers[n].name);
        if (!json_is_integer(value) || json_integer_value(value) < numbers[n].min)
            return refuse_value(p, numbers[n].name, numbers[n].wanted);
        values[n] = (uint64_t)json_integer_value(value);
    }
    return gather_random(g, i, values[ROWS], values[COLS], values[SEED], p->why);
}

static enum err read_object(const struct place *p, const json_t *doc, struct gather *g, int i)
{
    const json_t *blob = json_object_get(doc, "blob"), *random = json_object_get(doc, "random");
    const char   *name;
    json_t       *value;

    json_object_foreach((json_t *)doc, name, value)
    {
        if (value != blob && value != random)
            return refuse(p, "has the unknown key", name);
    }
    if (!blob && !random)
        return refuse(p, "lacks", "blob");
    if (blob && random)
        return refuse(p, "has beside \"blob\" also", "random");
    if (random)
        return read_random(p, random, g, i);
    if (!json_is_string(blob))
        return refuse_value(p, "blob", "the name of a blob, in quotes");
    return gather_blob(g, i, json_string_value(blob), p->why);
}

enum err origin_read(const struct buf *text, uint64_t at, struct gather *g, int i, struct fault *why)
{
    const struct place p = {(char)('A' + i), at, why};
    json_error_t       error;
    const char        *nul = memchr(text->data, 0, text->len);
    json_t            *doc;
    enum err           e;

    if (text->len > ORIGIN_MAX)
        return fault_set(why, ERR_JSON, "byte %llu: the object that stands for operand %c has more than %d characters",
                         (ull)at, p.letter, ORIGIN_MAX);
    if (nul) /* jansson takes one behind a number */
        return fault_set(why, ERR_JSON, "byte %llu: operand %c: a NUL byte", (ull)at + (ull)(nul - text->data),
                         p.letter);
    doc = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, &error);
    if (doc)
        e = read_object(&p, doc, g, i);
    else
        e = fault_set(why, ERR_JSON, "byte %llu: operand %c: %.120s", (ull)at + (ull)error.position, p.letter,
                      error.text);
    json_decref(doc);
    return e;
}
