/* SPDX-License-Identifier: Apache-2.0 */
/* range.c - see the header. */
#include "api/range.h"

#include <stdio.h>
#include <string.h>

/* ---- conditions -------------------------------------------------------------- */

/* Whether a list of tags ("*", or quoted tags) names this one. weak: a W/ in front of a tag does not matter. */
static bool names_tag(const char *list, const char *etag, bool weak)
{
    size_t len = etag ? strlen(etag) : 0;

    while (*list) {
        list += strspn(list, " \t,");
        if (*list == '*')
            return true;
        if (weak && !strncmp(list, "W/", 2))
            list += 2;
        if (len && !strncmp(list, etag, len) && strchr(" \t,", list[len])) /* its NUL too */
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

static bool is_matched(struct request *r, const char *etag)
{
    const char *match = request_header(r, "If-Match");

    if (!match || names_tag(match, etag, false))
        return true;
    request_fail(r, ERR_PRECONDITION, "If-Match names another ETag");
    return false;
}

bool request_conditions(struct request *r, const char *etag, int64_t size)
{
    const char *none = request_header(r, "If-None-Match");

    if (!is_matched(r, etag))
        return false;
    if (etag)
        request_add_header(r, "ETag", etag);
    if (none && names_tag(none, etag, true)) {
        request_answer_unmodified(r, size);
        return false;
    }
    return true;
}

bool request_conditions_of_change(struct request *r, const char *etag)
{
    const char *none = request_header(r, "If-None-Match");

    if (!is_matched(r, etag))
        return false;
    if (none && names_tag(none, etag, true)) {
        request_fail(r, ERR_PRECONDITION, "If-None-Match names the ETag that it has");
        return false;
    }
    return true;
}

/* ---- ranges -------------------------------------------------------------------- */

enum wish { WISH_WHOLE, WISH_PART, WISH_OUTSIDE };

/* Reads decimal digits at *text, which moves behind them; false when there are none. */
static bool read_digits(const char **text, uint64_t *out)
{
    const char *start = *text;

    for (*out = 0; **text >= '0' && **text <= '9'; ++*text)
        *out = *out > UINT64_MAX / 100 ? *out : *out * 10 + (uint64_t)(**text - '0');
    return *text > start;
}

/* Reads "bytes=a-b", "bytes=a-" or "bytes=-n" against size. What is none of
 * these, several ranges among it, asks for the whole (RFC 9110 allows it). */
static enum wish read_range(const char *header, uint64_t size, uint64_t *from, uint64_t *to)
{
    uint64_t first, last;
    bool     has_first, has_last;

    if (!header || strncmp(header, "bytes=", 6) != 0)
        return WISH_WHOLE;
    header += 6;
    has_first = read_digits(&header, &first);
    if (*header++ != '-')
        return WISH_WHOLE;
    has_last = read_digits(&header, &last);
    if (*header || (!has_first && !has_last) || (has_first && has_last && last < first))
        return WISH_WHOLE;
    *from = has_first ? first : last < size ? size - last : 0;
    *to = has_first && has_last && last < size ? last + 1 : size;
    return *from < *to && (has_first || last) ? WISH_PART : WISH_OUTSIDE;
}

/* The Range header where it counts: not with HEAD, and only if If-Range names what there is. */
static const char *range_header(const struct request *r, const char *etag)
{
    const char *condition = request_header(r, "If-Range");

    if (request_is_head(r) || (condition && (!etag || strcmp(condition, etag) != 0)))
        return NULL;
    return request_header(r, "Range");
}

bool request_range(struct request *r, uint64_t size, const char *etag, struct range *out)
{
    char text[80];

    if (!request_conditions(r, etag, (int64_t)size))
        return false;
    request_add_header(r, "Accept-Ranges", "bytes");
    *out = (struct range){200, 0, size};
    switch (read_range(range_header(r, etag), size, &out->from, &out->to)) {
    case WISH_WHOLE:
        break;
    case WISH_OUTSIDE:
        snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)size);
        request_add_header(r, "Content-Range", text);
        request_fail(r, ERR_RANGE, text);
        return false;
    case WISH_PART:
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)out->from,
                 (unsigned long long)out->to - 1, (unsigned long long)size);
        request_add_header(r, "Content-Range", text);
        out->status = 206;
    }
    return true;
}
