/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c - struct msg as AMQP properties and headers (docs/protocol.md).
 *
 * We write one form only. We read what producers in other languages send:
 * integers of any width, text as bytes, missing headers. What makes no job is
 * reported, with the rest of the message read as far as it goes. All that is
 * read has a bound, so that a successor with all of our headers fits one frame.
 */
#include "common/broker/broker_impl.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define HEADER_FIXED_BYTES 12 /* class, weight, body size; the properties follow */

enum header_type { HEADER_TEXT, HEADER_INT, HEADER_TIME, HEADER_OWNED };

struct header {
    const char      *name;
    enum header_type type;
    size_t           offset, bytes; /* of the field in struct msg; OWNED: the longest text, NUL included */
    bool             is_optional;   /* left out when "" or 0 */
};

#define TEXT(field, optional)                                                                                          \
    {                                                                                                                  \
#field, HEADER_TEXT, offsetof(struct msg, field), sizeof((struct msg *)0)->field, optional                     \
    }
static const struct header headers[] = {
    {"params", HEADER_OWNED, offsetof(struct msg, params), PARAMS_MAX + 1, false},
    {"input", HEADER_OWNED, offsetof(struct msg, refs), MSG_REFS_BYTES, true},
    TEXT(parent, true),
    {"member", HEADER_INT, offsetof(struct msg, member), 0, true},
    TEXT(group, true),
    {"attempts_max", HEADER_INT, offsetof(struct msg, attempts_max), 0, true},
    TEXT(copy, false),
    {"epoch", HEADER_INT, offsetof(struct msg, epoch), 0, false},
    {"attempt", HEADER_INT, offsetof(struct msg, attempt), 0, false},
    {"created", HEADER_TIME, offsetof(struct msg, created_ms), 0, false},
    {"deadline", HEADER_TIME, offsetof(struct msg, deadline_ms), 0, true},
    TEXT(idempotency, true),
    TEXT(digest, true),
    TEXT(traceparent, true),
};
#undef TEXT

#define HEADER_COUNT (sizeof headers / sizeof *headers)

/* ---- writing ---- */

static int fill_headers(const struct msg *m, amqp_table_entry_t entries[HEADER_COUNT])
{
    int count = 0;

    for (size_t i = 0; i < HEADER_COUNT; i++) {
        const struct header *h = &headers[i];
        const char          *field = (const char *)m + h->offset;
        amqp_field_value_t   value = {.kind = AMQP_FIELD_KIND_UTF8};

        if (h->type == HEADER_INT || h->type == HEADER_TIME) {
            value.kind = AMQP_FIELD_KIND_I64;
            memcpy(&value.value.i64, field, sizeof value.value.i64);
            if (h->is_optional && value.value.i64 == 0)
                continue;
        } else {
            value.value.bytes = bytes_of(h->type == HEADER_OWNED ? *(char *const *)(const void *)field : field);
            if (h->is_optional && value.value.bytes.len == 0)
                continue;
        }
        entries[count++] = (amqp_table_entry_t){.key = bytes_of(h->name), .value = value};
    }
    return count;
}

bool wire_encode(const struct msg *m, amqp_bytes_t room, size_t *len)
{
    amqp_table_entry_t      entries[HEADER_COUNT];
    amqp_basic_properties_t p = {
        ._flags =
            AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_HEADERS_FLAG,
        .message_id = bytes_of(m->id),
        .type = bytes_of(m->kind),
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .headers = {.num_entries = fill_headers(m, entries), .entries = entries},
    };
    char        *bytes = room.bytes;
    amqp_bytes_t rest = {.len = room.len - HEADER_FIXED_BYTES, .bytes = bytes + HEADER_FIXED_BYTES};
    int          n;

    if (m->content_type[0]) {
        p._flags |= AMQP_BASIC_CONTENT_TYPE_FLAG;
        p.content_type = bytes_of(m->content_type);
    }
    put16(bytes, AMQP_BASIC_CLASS);
    put16(bytes + 2, 0);
    put64(bytes + 4, m->body_len);
    n = amqp_encode_properties(AMQP_BASIC_CLASS, &p, rest);
    if (n < 0)
        return false;
    *len = HEADER_FIXED_BYTES + (size_t)n;
    return true;
}

/* ---- reading ---- */

/* The first fault is the one that is told. */
static void complain(struct fault *bad, const char *what, const char *wants)
{
    if (bad->err == ERR_OK)
        (void)fault_set(bad, ERR_UNDECODABLE, "%s %s", what, wants);
}

/* What a header of ours is made of: other bytes would grow, or change, where the message is kept as JSON. */
static bool is_plain(amqp_bytes_t text)
{
    const unsigned char *bytes = text.bytes;

    for (size_t i = 0; i < text.len; i++)
        if (bytes[i] < 0x20 || bytes[i] > 0x7e)
            return false;
    return true;
}

/* Copies text into a field of so many bytes, NUL included. */
static bool read_text(char *field, size_t bytes, amqp_bytes_t text)
{
    if (text.len >= bytes || memchr(text.bytes ? text.bytes : "", 0, text.len))
        return false;
    if (text.len)
        memcpy(field, text.bytes, text.len);
    field[text.len] = 0;
    return true;
}

static bool read_int(const amqp_field_value_t *v, int64_t *out)
{
    int64_t n;

    switch (v->kind) {
    case AMQP_FIELD_KIND_BOOLEAN:
        n = v->value.boolean != 0;
        break;
    case AMQP_FIELD_KIND_I8:
        n = v->value.i8;
        break;
    case AMQP_FIELD_KIND_U8:
        n = v->value.u8;
        break;
    case AMQP_FIELD_KIND_I16:
        n = v->value.i16;
        break;
    case AMQP_FIELD_KIND_U16:
        n = v->value.u16;
        break;
    case AMQP_FIELD_KIND_I32:
        n = v->value.i32;
        break;
    case AMQP_FIELD_KIND_U32:
        n = v->value.u32;
        break;
    case AMQP_FIELD_KIND_I64:
        n = v->value.i64;
        break;
    case AMQP_FIELD_KIND_U64:
        n = v->value.u64 > INT64_MAX ? -1 : (int64_t)v->value.u64;
        break;
    default:
        return false;
    }
    if (n < 0)
        return false;
    *out = n;
    return true;
}

static void read_header(struct msg *m, const struct header *h, const amqp_field_value_t *v, struct fault *bad)
{
    bool  is_text = v->kind == AMQP_FIELD_KIND_UTF8 || v->kind == AMQP_FIELD_KIND_BYTES;
    char *field = (char *)m + h->offset;
    char  what[32];

    if (v->kind == AMQP_FIELD_KIND_VOID)
        return;
    snprintf(what, sizeof what, "header %s", h->name);
    if (h->type == HEADER_INT || h->type == HEADER_TIME) {
        int64_t *value = (int64_t *)(void *)field;

        if (!read_int(v, value))
            complain(bad, what, "must be an integer of at least 0");
        else if (h->type == HEADER_TIME && *value > WALL_MAX_MS)
            *value = WALL_MAX_MS;
    } else if (!is_text) {
        complain(bad, what, "must be text");
    } else if (h->type == HEADER_TEXT) {
        if (!is_plain(v->value.bytes) || !read_text(field, h->bytes, v->value.bytes))
            complain(bad, what, "is too long or more than printable ASCII");
    } else if (v->value.bytes.len >= h->bytes) {
        complain(bad, what, "is too long");
    } else if (v->value.bytes.len) {
        char **owned = (char **)(void *)field;
        char  *text = xmalloc(v->value.bytes.len + 1);

        if (read_text(text, v->value.bytes.len + 1, v->value.bytes)) {
            free(*owned);
            *owned = text;
        } else {
            free(text);
            complain(bad, what, "holds a zero byte");
        }
    }
}

static void read_headers(struct msg *m, const amqp_table_t *table, struct fault *bad)
{
    for (int i = 0; i < table->num_entries; i++) {
        const amqp_table_entry_t *entry = &table->entries[i];

        for (size_t k = 0; k < HEADER_COUNT; k++)
            if (entry->key.len == strlen(headers[k].name) &&
                memcmp(entry->key.bytes, headers[k].name, entry->key.len) == 0)
                read_header(m, &headers[k], &entry->value, bad);
    }
}

static void read_id(struct msg *m, const amqp_basic_properties_t *p, struct fault *bad)
{
    char id[JOB_ID_BYTES];

    if (!(p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG))
        complain(bad, "message-id", "is missing");
    else if (!read_text(id, sizeof id, p->message_id) || !job_id_is_valid(id))
        complain(bad, "message-id", "must be a UUID in lower case");
    else
        memcpy(m->id, id, sizeof id);
}

const amqp_basic_properties_t *wire_properties(amqp_bytes_t payload, amqp_pool_t *pool)
{
    void        *decoded;
    amqp_bytes_t properties = {.len = payload.len - HEADER_FIXED_BYTES,
                               .bytes = (char *)payload.bytes + HEADER_FIXED_BYTES};

    if (payload.len < HEADER_FIXED_BYTES)
        return NULL;
    return amqp_decode_properties(AMQP_BASIC_CLASS, pool, properties, &decoded) < 0 ? NULL : decoded;
}

struct msg *wire_decode(amqp_bytes_t payload, amqp_pool_t *pool, const char *kind, struct fault *bad)
{
    const amqp_basic_properties_t *p = wire_properties(payload, pool);
    struct msg                    *m = msg_new();
    char                           type[KIND_BYTES];

    snprintf(m->kind, sizeof m->kind, "%s", kind);
    if (!p) {
        complain(bad, "the properties", "cannot be decoded");
        return m;
    }
    read_id(m, p, bad);
    if ((p->_flags & AMQP_BASIC_TYPE_FLAG) && p->type.len &&
        (!read_text(type, sizeof type, p->type) || strcmp(type, kind) != 0))
        complain(bad, "type", "is not the kind of this queue");
    if ((p->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG) &&
        (!is_plain(p->content_type) || !read_text(m->content_type, sizeof m->content_type, p->content_type)))
        complain(bad, "content-type", "is too long or more than printable ASCII");
    if (p->_flags & AMQP_BASIC_HEADERS_FLAG)
        read_headers(m, &p->headers, bad);
    return m;
}

void wire_message_id(amqp_bytes_t payload, amqp_pool_t *pool, char out[JOB_ID_BYTES])
{
    const amqp_basic_properties_t *p = wire_properties(payload, pool);

    if (!p || !(p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) || !read_text(out, JOB_ID_BYTES, p->message_id))
        out[0] = 0;
}

uint64_t wire_body_size(amqp_bytes_t payload)
{
    return payload.len < HEADER_FIXED_BYTES ? 0 : get64((const char *)payload.bytes + 4);
}
