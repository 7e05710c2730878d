/* SPDX-License-Identifier: Apache-2.0 */
/* form.c - see the header. */
#include "api/form.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"

#define BOUNDARY_MAX 70  /* RFC 2046 */
#define HEADERS_MAX 8192 /* bytes of the headers of one part */
#define NAME_BYTES 32    /* of a parameter's name */
#define VALUE_BYTES 1024 /* of its value; a longer one is cut */

enum state { BEFORE, BEHIND_BOUNDARY, IN_HEADERS, IN_PART, BEHIND };

struct form {
    form_part_fn *part;
    void         *ctx;
    char          delimiter[BOUNDARY_MAX + 5]; /* CRLF, two dashes, the boundary */
    size_t        delimiter_len;
    enum state    state;
    struct buf    pending; /* what has come and is not read */
    size_t        taken;   /* of it, while form_feed runs */
    size_t        header_bytes;
    bool          has_name, is_file;
    char          name[VALUE_BYTES], filename[VALUE_BYTES]; /* of the present part */
};

/* ---- parameters of a header ----------------------------------------------- */

/* Reads a value, quoted or not, at *at, which moves behind it; false: its quote does not end. */
static bool read_value(const char **at, char out[static VALUE_BYTES])
{
    const char *c = *at;
    bool        is_quoted = *c == '"';
    size_t      len = 0;

    for (c += is_quoted; *c && !strchr(is_quoted ? "\"" : "; \t", *c); c++) {
        if (is_quoted && *c == '\\' && (c[1] == '"' || c[1] == '\\'))
            c++;
        if (len < VALUE_BYTES - 1)
            out[len++] = *c;
    }
    out[len] = 0;
    *at = c + (is_quoted && *c);
    return !is_quoted || *c == '"';
}

enum found { FOUND_ONE, FOUND_END, FOUND_NONSENSE };

/* Reads "; NAME=VALUE" at *at, which moves behind it. The name comes in small letters. */
static enum found read_parameter(const char **at, char name[static NAME_BYTES], char value[static VALUE_BYTES])
{
    const char *c = *at + strspn(*at, " \t");
    size_t      len;

    if (*c && *c != ';')
        return FOUND_NONSENSE;
    c += strspn(c, "; \t");
    if (!*c)
        return FOUND_END;
    len = strcspn(c, "=;\" \t");
    if (!len || len >= NAME_BYTES || c[len] != '=')
        return FOUND_NONSENSE;
    for (size_t i = 0; i < len; i++)
        name[i] = (char)tolower((unsigned char)c[i]);
    name[len] = 0;
    *at = c + len + 1;
    return read_value(at, value) ? FOUND_ONE : FOUND_NONSENSE;
}

static enum err read_boundary(struct form *f, const char *content_type, struct fault *why)
{
    const char *at = content_type + strcspn(content_type, ";");
    char        name[NAME_BYTES], value[VALUE_BYTES];
    enum found  found;

    while ((found = read_parameter(&at, name, value)) == FOUND_ONE) {
        if (strcmp(name, "boundary") != 0)
            continue;
        if (f->delimiter_len)
            return fault_set(why, ERR_BODY, "the Content-Type of the multipart form has more than one boundary");
        if (!*value || strlen(value) > BOUNDARY_MAX)
            return fault_set(why, ERR_BODY, "the boundary of the multipart form is to have 1 to %d characters",
                             BOUNDARY_MAX);
        f->delimiter_len = (size_t)(stpcpy(stpcpy(f->delimiter, "\r\n--"), value) - f->delimiter);
    }
    if (found == FOUND_NONSENSE)
        return fault_set(why, ERR_BODY, "the parameters of the multipart form's Content-Type are malformed");
    return f->delimiter_len ? ERR_OK : fault_set(why, ERR_BODY, "the multipart form has no boundary");
}

/* ---- what stands between the parts ------------------------------------------ */

/* The next line, without its end; NULL: it is not all there. It is the caller's to change, and is taken. */
static char *take_line(struct form *f)
{
    char *start = f->pending.data + f->taken;
    char *end = memmem(start, f->pending.len - f->taken, "\r\n", 2);

    if (!end)
        return NULL;
    *end = 0;
    f->taken += (size_t)(end + 2 - start);
    return start;
}

static enum err read_behind_boundary(struct form *f, bool *goes_on, struct fault *why)
{
    const char *start = f->pending.data + f->taken;
    size_t      before = f->taken;
    const char *line;

    if (f->pending.len - f->taken < 2)
        return ERR_OK;
    *goes_on = true;
    if (start[0] == '-' && start[1] == '-') {
        f->state = BEHIND;
        return ERR_OK;
    }
    line = take_line(f);
    *goes_on = line;
    if ((line && strspn(line, " \t") != f->taken - before - 2) ||
        (line ? f->taken : f->pending.len) - before > HEADERS_MAX)
        return fault_set(why, ERR_BODY, "something follows the boundary of the multipart form on its line");
    if (line) {
        f->state = IN_HEADERS;
        f->header_bytes = 0;
        f->has_name = f->is_file = false;
    }
    return ERR_OK;
}

static enum err read_disposition(struct form *f, const char *value, struct fault *why)
{
    const char *at = value + strcspn(value, ";");
    char        name[NAME_BYTES], text[VALUE_BYTES];
    enum found  found;

    while ((found = read_parameter(&at, name, text)) == FOUND_ONE) {
        if (!strcmp(name, "name")) {
            f->has_name = true;
            strcpy(f->name, text);
        } else if (!strcmp(name, "filename") || !strcmp(name, "filename*")) {
            f->is_file = true;
            strcpy(f->filename, text);
        }
    }
    return found == FOUND_END ? ERR_OK
                              : fault_set(why, ERR_BODY, "a Content-Disposition in the multipart form is malformed");
}

static enum err read_headers(struct form *f, bool *goes_on, struct fault *why)
{
    static const char disposition[] = "Content-Disposition:";
    size_t            before = f->taken;
    const char       *line = take_line(f);

    f->header_bytes += f->taken - before;
    if (f->header_bytes + (line ? 0 : f->pending.len - f->taken) > HEADERS_MAX)
        return fault_set(why, ERR_BODY, "the headers of a part of the multipart form have more than %d bytes",
                         HEADERS_MAX);
    *goes_on = line;
    if (!line)
        return ERR_OK;
    if (strlen(line) != f->taken - before - 2)
        return fault_set(why, ERR_BODY, "the headers of a part of the multipart form hold a NUL");
    if (!strncasecmp(line, disposition, sizeof disposition - 1))
        return read_disposition(f, line + sizeof disposition - 1, why);
    if (*line)
        return ERR_OK;
    if (!f->has_name)
        return fault_set(why, ERR_BODY, "a part of the multipart form has no name");
    f->state = IN_PART;
    return f->part(f->ctx, f->name, f->is_file ? f->filename : NULL, "", 0, true, why);
}

/* ---- the parts ----------------------------------------------------------------- */

/* A part, or what stands in front of the first, up to the boundary, or to where that might begin. */
static enum err read_text(struct form *f, bool *goes_on, struct fault *why)
{
    const char *start = f->pending.data + f->taken;
    size_t      left = f->pending.len - f->taken, kept = f->delimiter_len - 1;
    const char *found = memmem(start, left, f->delimiter, f->delimiter_len);
    size_t      len = found ? (size_t)(found - start) : left > kept ? left - kept : 0;
    enum err    e = ERR_OK;

    if (f->state == IN_PART && len)
        e = f->part(f->ctx, f->name, f->is_file ? f->filename : NULL, start, len, false, why);
    f->taken += len + (found ? f->delimiter_len : 0);
    if (found)
        f->state = BEHIND_BOUNDARY;
    *goes_on = found;
    return e;
}

static enum err step(struct form *f, bool *goes_on, struct fault *why)
{
    *goes_on = false;
    switch (f->state) {
    case BEHIND_BOUNDARY:
        return read_behind_boundary(f, goes_on, why);
    case IN_HEADERS:
        return read_headers(f, goes_on, why);
    case BEFORE:
    case IN_PART:
        return read_text(f, goes_on, why);
    case BEHIND:
        f->taken = f->pending.len;
    }
    return ERR_OK;
}

enum err form_feed(struct form *f, const char *bytes, size_t len, struct fault *why)
{
    enum err e = ERR_OK;
    bool     goes_on = true;

    buf_append(&f->pending, bytes, len);
    f->taken = 0;
    while (goes_on && !e)
        e = step(f, &goes_on, why);
    f->pending.len -= f->taken;
    memmove(f->pending.data, f->pending.data + f->taken, f->pending.len);
    return e;
}

enum err form_new(const char *content_type, form_part_fn *part, void *ctx, struct form **out, struct fault *why)
{
    struct form *f = xcalloc(1, sizeof *f);
    enum err     e = read_boundary(f, content_type, why);

    if (e) {
        free(f);
        return e;
    }
    f->part = part;
    f->ctx = ctx;
    buf_text(&f->pending, "\r\n"); /* the first boundary may have no line in front of it */
    *out = f;
    return ERR_OK;
}

bool form_is_whole(const struct form *f) { return f->state == BEHIND; }

void form_free(struct form *f)
{
    if (!f)
        return;
    buf_free(&f->pending);
    free(f);
}
