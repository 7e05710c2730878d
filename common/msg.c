/* SPDX-License-Identifier: Apache-2.0 */
/* msg.c - the packed form, by jansson for the line and memcpy for the body. */
#include "common/msg.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct msg *msg_new(void)
{
    struct msg *m = xcalloc(1, sizeof *m);

    m->ref_count = 1;
    m->params = xstrdup("{}");
    m->refs = xstrdup("");
    return m;
}

struct msg *msg_dup(const struct msg *m)
{
    struct msg *copy = xmemdup(m, sizeof *m);

    copy->ref_count = 1;
    copy->params = xstrdup(m->params);
    copy->refs = xstrdup(m->refs);
    copy->body = m->body_len ? xmemdup(m->body, m->body_len) : NULL;
    return copy;
}

struct msg *msg_ref(struct msg *m)
{
    m->ref_count++;
    return m;
}

void msg_free(struct msg *m)
{
    if (!m || --m->ref_count > 0)
        return;
    free(m->params);
    free(m->refs);
    free(m->body);
    free(m);
}

static void pack_text(struct buf *out, const char *name, const char *value)
{
    if (!*value)
        return;
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, value);
}

static void pack_integer(struct buf *out, const char *name, int64_t value)
{
    if (value)
        buf_printf(out, ",\"%s\":%lld", name, (long long)value);
}

void msg_pack(const struct msg *m, struct buf *out)
{
    buf_text(out, "{\"id\":");
    buf_json(out, m->id);
    pack_text(out, "kind", m->kind);
    pack_text(out, "content_type", m->content_type);
    pack_text(out, "copy", m->copy);
    pack_integer(out, "epoch", m->epoch);
    pack_integer(out, "attempt", m->attempt);
    pack_integer(out, "created", m->created_ms);
    pack_integer(out, "deadline", m->deadline_ms);
    pack_text(out, "idempotency", m->idempotency);
    pack_text(out, "digest", m->digest);
    pack_text(out, "traceparent", m->traceparent);
    pack_text(out, "parent", m->parent);
    pack_integer(out, "member", m->member);
    pack_text(out, "group", m->group);
    pack_integer(out, "attempts_max", m->attempts_max);
    pack_text(out, "params", m->params);
    pack_text(out, "input", m->refs);
    buf_printf(out, ",\"body\":%zu}\n", m->body_len);
    buf_append(out, m->body, m->body_len);
}

/* Copies the string of this name; refuses another type or one too long. */
static bool unpack_text(json_t *line, const char *name, char *out, size_t room)
{
    json_t *value = json_object_get(line, name);

    if (!value)
        return true;
    if (!json_is_string(value) || json_string_length(value) >= room)
        return false;
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return true;
}

static bool unpack_integer(json_t *line, const char *name, int64_t *out)
{
    json_t *value = json_object_get(line, name);

    if (!value)
        return true;
    if (!json_is_integer(value))
        return false;
    *out = json_integer_value(value);
    return true;
}

static bool unpack_fields(json_t *line, struct msg *m, int64_t *body_len)
{
    const char *params = json_string_value(json_object_get(line, "params"));
    const char *refs = json_string_value(json_object_get(line, "input"));

    if (params) {
        free(m->params);
        m->params = xstrdup(params);
    }
    if (refs) {
        free(m->refs);
        m->refs = xstrdup(refs);
    }
    return unpack_text(line, "id", m->id, sizeof m->id) && unpack_text(line, "kind", m->kind, sizeof m->kind) &&
           unpack_text(line, "content_type", m->content_type, sizeof m->content_type) &&
           unpack_text(line, "copy", m->copy, sizeof m->copy) && unpack_integer(line, "epoch", &m->epoch) &&
           unpack_integer(line, "attempt", &m->attempt) && unpack_integer(line, "created", &m->created_ms) &&
           unpack_integer(line, "deadline", &m->deadline_ms) &&
           unpack_text(line, "idempotency", m->idempotency, sizeof m->idempotency) &&
           unpack_text(line, "digest", m->digest, sizeof m->digest) &&
           unpack_text(line, "traceparent", m->traceparent, sizeof m->traceparent) &&
           unpack_text(line, "parent", m->parent, sizeof m->parent) && unpack_integer(line, "member", &m->member) &&
           unpack_text(line, "group", m->group, sizeof m->group) &&
           unpack_integer(line, "attempts_max", &m->attempts_max) && unpack_integer(line, "body", body_len);
}

enum err msg_unpack(const void *packed, size_t len, struct msg **out, struct fault *why)
{
    const char  *newline = memchr(packed, '\n', len);
    json_t      *line = NULL;
    struct msg  *m = NULL;
    json_error_t error;
    int64_t      body_len = -1;
    size_t       line_len;
    enum err     e = ERR_OK;

    if (!newline)
        return fault_set(why, ERR_UNDECODABLE, "the packed message has no first line");
    line_len = (size_t)(newline - (const char *)packed);
    line = json_loadb(packed, line_len, JSON_REJECT_DUPLICATES, &error);
    m = msg_new();
    if (!json_is_object(line) || !unpack_fields(line, m, &body_len) || !job_id_is_valid(m->id))
        e = fault_set(why, ERR_UNDECODABLE, "the first line of the packed message is no job");
    else if (body_len < 0 || (size_t)body_len != len - line_len - 1)
        e = fault_set(why, ERR_UNDECODABLE, "the packed message has %zu bytes of body, its line says %lld",
                      len - line_len - 1, (long long)body_len);
    if (!e) {
        m->body_len = (size_t)body_len;
        m->body = body_len ? xmemdup(newline + 1, (size_t)body_len) : NULL;
        *out = m;
        m = NULL;
    }
    msg_free(m);
    json_decref(line);
    return e;
}
