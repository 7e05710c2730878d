/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - reads query parameters strictly. */
#include "api/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http.h"

#define NAMES_MAX 8
#define DIGITS_MAX 18

struct strict {
    const char *const *names;
    bool               is_given[NAMES_MAX];
};

static enum err refuse_unknown(const char *const *names, const char *given, struct fault *why)
{
    char   known[128] = "none";
    size_t len = 0;

    for (int i = 0; names[i] && len < sizeof known; i++)
        len += (size_t)snprintf(known + len, sizeof known - len, "%s%s",
                                !i             ? ""
                                : names[i + 1] ? ", "
                                               : " and ",
                                names[i]);
    return fault_set(why, ERR_PARAM, "this call has no parameter '%.60s'; it takes %s", given, known);
}

static enum err take(void *ctx, const char *name, const char *value, struct fault *why)
{
    struct strict *s = ctx;
    int            i = 0;

    (void)value;
    while (s->names[i] && strcmp(name, s->names[i]) != 0)
        i++;
    if (!s->names[i])
        return refuse_unknown(s->names, name, why);
    if (s->is_given[i])
        return fault_set(why, ERR_PARAM, "the parameter %s is given twice", name);
    s->is_given[i] = true;
    return ERR_OK;
}

enum err query_only(struct request *r, const char *const *names, struct fault *why)
{
    struct strict s = {.names = names};

    return request_each_query(r, take, &s, why);
}

enum err query_number(struct request *r, const char *name, int64_t least, int64_t most, int64_t fallback, int64_t *out,
                      struct fault *why)
{
    const char *text = request_query(r, name);
    size_t      len = text ? strspn(text, "0123456789") : 0;

    *out = fallback;
    if (!text)
        return ERR_OK;
    if (len && !text[len] && len <= DIGITS_MAX) {
        *out = strtoll(text, NULL, 10);
        if (*out >= least && *out <= most)
            return ERR_OK;
    }
    return fault_set(why, ERR_PARAM, "%s must be a whole number from %lld to %lld, not '%.40s'", name, (long long)least,
                     (long long)most, text);
}
