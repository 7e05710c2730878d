/* SPDX-License-Identifier: Apache-2.0 */
/* url.c - redis://[[user]:password@]host[:port][/db] and, for a Redis on this
 * host, unix://[[user]:password@]/path[?db=N]; %-escapes in user and password. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/internal.h"

/* Copies [p, end) without its %-escapes; false when it does not fit or is malformed. */
static bool unescape(const char *p, const char *end, char *out, size_t room)
{
    while (p < end && room > 1) {
        if (*p == '%') {
            char hex[3] = {0};

            if (end - p < 3 || !isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]))
                return false;
            memcpy(hex, p + 1, 2);
            *out = (char)strtol(hex, NULL, 16);
            if (!*out++)
                return false;
            p += 3;
        } else {
            *out++ = *p++;
        }
        room--;
    }
    *out = 0;
    return p == end;
}

/* A plain decimal that fills [p, end), or -1. */
static int number(const char *p, const char *end, int max)
{
    int n = 0;

    if (p == end)
        return -1;
    for (; p < end; p++) {
        if (!isdigit((unsigned char)*p) || n > max)
            return -1;
        n = n * 10 + (*p - '0');
    }
    return n <= max ? n : -1;
}

static bool parse_login(const char *p, const char *end, struct redis_url *out)
{
    const char *colon = memchr(p, ':', (size_t)(end - p));

    if (!colon)
        return false;
    return unescape(p, colon, out->user, sizeof out->user) &&
           unescape(colon + 1, end, out->password, sizeof out->password);
}

/* host, host:port, [v6], [v6]:port */
static bool parse_host(const char *p, const char *end, struct redis_url *out)
{
    const char *host_end, *rest;

    if (p < end && *p == '[') {
        host_end = memchr(p, ']', (size_t)(end - p));
        if (!host_end)
            return false;
        p++;
        rest = host_end + 1;
    } else {
        host_end = memchr(p, ':', (size_t)(end - p));
        if (!host_end)
            host_end = end;
        rest = host_end;
    }
    if (host_end == p || !unescape(p, host_end, out->host, sizeof out->host))
        return false;
    if (rest == end)
        return true;
    out->port = *rest == ':' ? number(rest + 1, end, 65535) : -1;
    return out->port > 0;
}

/* /path or /path?db=N */
static bool parse_path(const char *p, struct redis_url *out)
{
    const char *query = strchr(p, '?'), *end = query ? query : p + strlen(p);

    out->port = 0;
    if (end == p || !unescape(p, end, out->host, sizeof out->host))
        return false;
    if (query)
        out->db = strncmp(query, "?db=", 4) == 0 ? number(query + 4, query + strlen(query), 1000000) : -1;
    return true;
}

enum err redis_url_parse(const char *text, const char *name, struct redis_url *out, struct fault *why)
{
    bool        is_unix = strncmp(text, "unix://", 7) == 0;
    const char *p = text + (is_unix ? 7 : 8), *slash, *end, *at = NULL;

    memset(out, 0, sizeof *out);
    out->port = 6379;
    if (!is_unix && strncmp(text, "redis://", 8) != 0)
        return fault_set(why, ERR_CONFIG, "%s must begin with redis:// or unix://", name);
    slash = strchr(p, '/');
    end = slash ? slash : p + strlen(p);
    for (const char *q = p; q < end; q++)
        if (*q == '@')
            at = q;
    if (at && !parse_login(p, at, out))
        return fault_set(why, ERR_CONFIG, "%s must have user:password or :password before the @", name);
    if (is_unix ? !parse_path(end, out) : !parse_host(at ? at + 1 : p, end, out))
        return fault_set(why, ERR_CONFIG,
                         "%s must be redis://[user:password@]host[:port][/db] or unix://[user:password@]/path[?db=N]",
                         name);
    if (!is_unix && slash && slash[1])
        out->db = number(slash + 1, slash + strlen(slash), 1000000);
    if (out->db < 0)
        return fault_set(why, ERR_CONFIG, "the database in %s must be a number", name);
    return ERR_OK;
}
