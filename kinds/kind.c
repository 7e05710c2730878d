/* SPDX-License-Identifier: Apache-2.0 */
/* kind.c - the tables of kinds, of their programs, and of parameters; references to blobs. */
#include "kinds/kind.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct kind_spec *const kinds[KIND_COUNT] = {
#define KIND(name, program) &name##_spec,
#include "kinds/kinds.def"
#undef KIND
};

const char *const program_files[PROGRAM_COUNT] = {
#define PROGRAM(name, file) file,
#include "kinds/programs.def"
#undef PROGRAM
};

const enum program_id kind_programs[KIND_COUNT] = {
#define KIND(name, program) PROGRAM_##program,
#include "kinds/kinds.def"
#undef KIND
};

const struct param common_params[] = {
    {"timeout", PARAM_INT, 1, 518400, false, NAN, "seconds", "time limit of one attempt"},
    {"deadline", PARAM_INT, 1, 31536000, false, NAN, "seconds", "from submit until it must have started"},
    {"attempts", PARAM_INT, 1, 100, false, NAN, "", "runs that it may spend on errors of its own; the first counts"},
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
        if (p->type != PARAM_REST && strcmp(p->name, name) == 0)
            return i;
    return -1;
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

/* Bytes of the input: of the body, or of the one blob that stands for it. False: refs that say nothing of the kind. */
static bool read_raw_size(const struct input *in, uint64_t *bytes)
{
    json_t *doc = *in->refs ? json_loads(in->refs, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *size = json_object_get(doc, "size");
    bool    is_fine = !*in->refs || (!in->body_len && json_array_size(json_object_get(doc, "blobs")) == 1 &&
                                  json_is_integer(size) && json_integer_value(size) >= 0);

    *bytes = *in->refs ? (uint64_t)json_integer_value(size) : in->body_len;
    json_decref(doc);
    return is_fine;
}

enum err input_check_raw(const struct kind_spec *kind, const struct input *in, const struct limits *limits,
                         struct fault *why)
{
    bool     is_blob = *in->refs;
    uint64_t in_blob = kind->raw_max > limits->inline_max ? kind->raw_max : limits->inline_max;
    uint64_t most = limits->has_blobs || is_blob ? in_blob : limits->inline_max; /* of any input */
    uint64_t here = is_blob ? in_blob : limits->inline_max;                      /* of one that comes like this */
    uint64_t bytes;

    if (!read_raw_size(in, &bytes))
        return fault_set(why, ERR_BODY, "the input's references do not name one blob and its size");
    if (!bytes)
        return fault_set(why, ERR_BODY, "the body is empty; %s takes 1 to %llu bytes", kind->name,
                         (unsigned long long)most);
    if (bytes > here)
        return fault_set(why, ERR_TOO_LARGE, "the body has %llu bytes; the limit is %llu bytes",
                         (unsigned long long)bytes, (unsigned long long)here);
    return ERR_OK;
}
