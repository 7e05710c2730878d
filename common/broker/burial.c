/* SPDX-License-Identifier: Apache-2.0 */
/* burial.c - how a message goes into millrace.dead, and how one there is read.
 *
 * What makes no job is kept as it came: its own properties and headers, and in
 * place of what steers a broker (x-*, CC, BCC) three of ours: why, when, and out
 * of which queue. Only what would not fit, or that nobody can decode, is written
 * anew from the fields that could be read. A message that the broker itself put
 * there says the same in x-death.
 */
#include "common/broker/browse.h"
#include "common/broker/broker_impl.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define ENTRIES_MAX 256     /* headers that are kept of one message */
#define BURIAL_BYTES 1024   /* room for ours */
#define HEAD_FIXED_BYTES 12 /* class, weight, body size; the properties follow */

/* ---- writing ---- */

static bool is_key(const amqp_table_entry_t *e, const char *name)
{
    return e->key.len == strlen(name) && memcmp(e->key.bytes, name, e->key.len) == 0;
}

/* What a broker would act upon, or what is ours to say. */
static bool is_left_out(const amqp_table_entry_t *e)
{
    static const char *const names[] = {"CC", "BCC", "reason", "buried", "queue"};

    if (e->key.len >= 2 && memcmp(e->key.bytes, "x-", 2) == 0)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is_key(e, names[i]))
            return true;
    return false;
}

static amqp_table_entry_t text_entry(const char *name, const char *text)
{
    return (amqp_table_entry_t){.key = bytes_of(name),
                                .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes_of(text)}};
}

static int fill_headers(const amqp_basic_properties_t *p, const char *reason, const char *queue,
                        amqp_table_entry_t *entries)
{
    int count = 0;

    if (p->_flags & AMQP_BASIC_HEADERS_FLAG)
        for (int i = 0; i < p->headers.num_entries && count < ENTRIES_MAX - 3; i++)
            if (!is_left_out(&p->headers.entries[i]))
                entries[count++] = p->headers.entries[i];
    entries[count++] = text_entry("reason", reason);
    entries[count++] = text_entry("queue", queue);
    entries[count++] =
        (amqp_table_entry_t){.key = bytes_of("buried"), .value = {.kind = AMQP_FIELD_KIND_I64, .value.i64 = wall_ms()}};
    return count;
}

/* Printable ASCII, as all text in headers of ours. */
static void make_plain(const char *text, char out[256])
{
    size_t i = 0;

    for (; text[i] && i < 255; i++)
        out[i] = (unsigned char)text[i] < 0x20 || (unsigned char)text[i] > 0x7e ? '?' : text[i];
    out[i] = 0;
}

/* Adds what is ours to a header frame's payload. False when it cannot be decoded, or encoded again. */
static bool encode(amqp_bytes_t payload, uint64_t body_len, const char *reason, const char *queue, struct buf *out)
{
    const amqp_flags_t kept = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
                              AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG |
                              AMQP_BASIC_APP_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG;
    amqp_table_entry_t             entries[ENTRIES_MAX];
    amqp_pool_t                    pool;
    const amqp_basic_properties_t *had;
    amqp_basic_properties_t        p;
    size_t                         room = payload.len + BURIAL_BYTES;
    char                          *bytes = buf_reserve(out, room);
    int                            n = -1;

    init_amqp_pool(&pool, 4096);
    had = wire_properties(payload, &pool);
    if (had) {
        p = *had;
        p._flags = (had->_flags & kept) | AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG;
        p.delivery_mode = AMQP_DELIVERY_PERSISTENT;
        p.headers = (amqp_table_t){.num_entries = fill_headers(had, reason, queue, entries), .entries = entries};
        put16(bytes, AMQP_BASIC_CLASS);
        put16(bytes + 2, 0);
        put64(bytes + 4, body_len);
        n = amqp_encode_properties(AMQP_BASIC_CLASS, &p,
                                   (amqp_bytes_t){.len = room - HEAD_FIXED_BYTES, .bytes = bytes + HEAD_FIXED_BYTES});
        out->len += n < 0 ? 0 : HEAD_FIXED_BYTES + (size_t)n;
    }
    empty_amqp_pool(&pool);
    return n >= 0;
}

void burial_encode(const struct delivery *d, const char *reason, const char *queue, struct buf *out)
{
    char       plain[256];
    struct buf anew = {0};
    size_t     room = strlen(d->msg->params) + HEADER_ROOM, len = 0;

    make_plain(reason, plain);
    if (d->raw_len && d->raw_len + BURIAL_BYTES <= FRAME_LEAST - EDGE_BYTES &&
        encode((amqp_bytes_t){.len = d->raw_len, .bytes = d->raw}, d->msg->body_len, plain, queue, out))
        return;
    if (wire_encode(d->msg, (amqp_bytes_t){.len = room, .bytes = buf_reserve(&anew, room)}, &len))
        (void)encode((amqp_bytes_t){.len = len, .bytes = anew.data}, d->msg->body_len, plain, queue, out);
    buf_free(&anew);
}

/* ---- reading ---- */

static const amqp_field_value_t *find(const amqp_table_t *t, const char *name)
{
    for (int i = 0; i < t->num_entries; i++)
        if (is_key(&t->entries[i], name))
            return &t->entries[i].value;
    return NULL;
}

/* The text of a field, cut to the room, made printable; "" without one. */
static void read_plain(const amqp_field_value_t *v, char *out, size_t room)
{
    char   text[256] = "", plain[256];
    size_t len;

    out[0] = 0;
    if (!v || (v->kind != AMQP_FIELD_KIND_UTF8 && v->kind != AMQP_FIELD_KIND_BYTES))
        return;
    len = v->value.bytes.len < sizeof text - 1 ? v->value.bytes.len : sizeof text - 1;
    if (len)
        memcpy(text, v->value.bytes.bytes, len);
    make_plain(text, plain);
    snprintf(out, room, "%s", plain);
}

/* The kind whose work queue this is, or "". */
static const char *kind_of_queue(const struct broker *b, const char *queue)
{
    char name[QUEUE_NAME_BYTES];

    for (int i = 0; i < b->config.kind_count; i++) {
        topology_work_queue(b->config.kinds[i], name);
        if (strcmp(name, queue) == 0)
            return b->config.kinds[i];
    }
    return "";
}

static const char *sentence_of(const char *word)
{
    if (strcmp(word, "delivery_limit") == 0)
        return "it was delivered more often than its queue allows";
    if (strcmp(word, "rejected") == 0)
        return "a consumer rejected it";
    return NULL;
}

/* Out of a work queue by the broker's own doing; of several entries that one counts. */
static void read_x_death(const struct broker *b, const amqp_table_t *headers, struct dead_letter *l)
{
    const amqp_field_value_t *list = find(headers, "x-death"), *time;
    char                      queue[QUEUE_NAME_BYTES], word[32];
    const char               *kind;

    if (!list || list->kind != AMQP_FIELD_KIND_ARRAY)
        return;
    for (int i = 0; i < list->value.array.num_entries; i++) {
        const amqp_field_value_t *entry = &list->value.array.entries[i];

        if (entry->kind != AMQP_FIELD_KIND_TABLE)
            continue;
        read_plain(find(&entry->value.table, "queue"), queue, sizeof queue);
        kind = kind_of_queue(b, queue);
        if (!*kind)
            continue;
        snprintf(l->kind, sizeof l->kind, "%s", kind);
        read_plain(find(&entry->value.table, "reason"), word, sizeof word);
        if (sentence_of(word))
            snprintf(l->reason, sizeof l->reason, "%s", sentence_of(word));
        else
            snprintf(l->reason, sizeof l->reason, "the broker took it out of %s: %s", queue, word);
        time = find(&entry->value.table, "time");
        if (time && time->kind == AMQP_FIELD_KIND_TIMESTAMP && time->value.u64 < WALL_MAX_MS / 1000)
            l->received_ms = (int64_t)time->value.u64 * 1000;
        return;
    }
}

static void read_ours(const struct broker *b, const amqp_table_t *headers, struct dead_letter *l)
{
    const amqp_field_value_t *buried = find(headers, "buried");
    char                      queue[QUEUE_NAME_BYTES];

    read_plain(find(headers, "queue"), queue, sizeof queue);
    if (*kind_of_queue(b, queue))
        snprintf(l->kind, sizeof l->kind, "%s", kind_of_queue(b, queue));
    read_plain(find(headers, "reason"), l->reason, sizeof l->reason);
    if (buried && buried->kind == AMQP_FIELD_KIND_I64 && buried->value.i64 > 0 && buried->value.i64 < WALL_MAX_MS)
        l->received_ms = buried->value.i64;
}

static void read_type(const amqp_basic_properties_t *p, struct dead_letter *l)
{
    amqp_field_value_t type = {.kind = AMQP_FIELD_KIND_BYTES, .value.bytes = p->type};

    if (!*l->kind && (p->_flags & AMQP_BASIC_TYPE_FLAG))
        read_plain(&type, l->kind, sizeof l->kind);
}

void burial_read(const struct broker *b, amqp_bytes_t payload, amqp_pool_t *pool, struct dead_letter *l)
{
    const amqp_basic_properties_t *p = wire_properties(payload, pool);

    if (p && (p->_flags & AMQP_BASIC_HEADERS_FLAG)) {
        read_x_death(b, &p->headers, l);
        if (!*l->reason)
            read_ours(b, &p->headers, l);
    }
    if (p)
        read_type(p, l);
    if (!*l->reason)
        snprintf(l->reason, sizeof l->reason, "nothing says why it is here");
    l->msg = wire_decode(payload, pool, l->kind, &l->bad);
    if (l->bad.err == ERR_OK && !*l->kind)
        (void)fault_set(&l->bad, ERR_UNDECODABLE, "neither a queue nor type says of which kind it is");
    snprintf(l->id, sizeof l->id, "%s", l->msg->id);
}
