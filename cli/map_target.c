/* SPDX-License-Identifier: Apache-2.0 */
/* map_target.c - see the header. */
#include "cli/map_target.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/map_names.h"
#include "cli/query.h"
#include "common/text.h"

static bool is_of_kind(const char *target, const char *kind)
{
    size_t len = strlen(kind);

    return !strncmp(target, kind, len) && (!target[len] || target[len] == '?');
}

/* Where the value of a parameter begins; NULL: the target has none of this name. */
static const char *find_param(const char *target, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = strchr(target, '?'); at; at = strchr(at, '&'))
        if (!strncmp(++at, name, len) && at[len] == '=')
            return at + len + 1;
    return NULL;
}

static void put_limit(struct buf *out, const char *name, int64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, value);
    if (value)
        query_put(out, name, text);
}

void target_put(const char *target, const struct try_limits *limits, struct buf *out)
{
    buf_text(out, target);
    put_limit(out, "attempts", limits->attempts);
    put_limit(out, "timeout", limits->timeout_s);
}

/* The last part of a name, and "_" for what a terminal or an option parser would take amiss. */
static void put_input_name(struct buf *out, const char *name)
{
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    struct buf  fit = {0};

    if (*last == '-') {
        buf_text(&fit, "_");
        last++;
    }
    while (*last) {
        size_t len = text_is_control(*last) ? 0 : text_character(last, TEXT_ENDED);

        buf_append(&fit, len ? last : "_", len ? len : 1);
        last += len ? len : 1;
    }
    buf_append(&fit, "", 1);
    query_put(out, "name", fit.data);
    buf_free(&fit);
}

void target_put_file(const char *target, const struct try_limits *limits, const char *group, const char *name,
                     struct buf *out)
{
    target_put(target, limits, out);
    query_put(out, "group", group);
    if (is_of_kind(target, "command") && !find_param(target, "name"))
        put_input_name(out, name);
}

const char *target_result_type(const char *target)
{
    const char *ops = find_param(target, "ops"), *format = ops ? strstr(ops, "convert:") : NULL;

    if (is_of_kind(target, "hash"))
        return "application/json";
    if (!format || !is_of_kind(target, "image"))
        return "";
    format += strlen("convert:");
    return names_type_of(format, strcspn(format, ",&"));
}
