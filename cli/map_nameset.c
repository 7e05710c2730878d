/* SPDX-License-Identifier: Apache-2.0 */
/* map_nameset.c - see the header: open addressing, never more than half full. */
#include "cli/map_nameset.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"

struct nameset_entry {
    uint64_t at;
    uint32_t len;
    uint32_t hash;
    size_t   index; /* NAMESET_NONE: the entry is free */
};

uint32_t nameset_hash(const char *text, size_t len)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    return (uint32_t)(hash ^ hash >> 32);
}

static void make_room(struct nameset *s, size_t room)
{
    s->entries = xcalloc(room, sizeof *s->entries);
    s->room = room;
    for (size_t i = 0; i < room; i++)
        s->entries[i].index = NAMESET_NONE;
}

void nameset_init(struct nameset *s, size_t expected)
{
    size_t room = 64;

    while (room < expected * 2)
        room *= 2;
    s->count = 0;
    make_room(s, room);
}

void nameset_free(struct nameset *s)
{
    free(s->entries);
    s->entries = NULL;
}

/* The entry of this text, or the free one where it belongs. */
static struct nameset_entry *seek(const struct nameset *s, const char *texts, const char *text, size_t len,
                                  uint32_t hash)
{
    size_t i = hash & (s->room - 1);

    while (s->entries[i].index != NAMESET_NONE) {
        struct nameset_entry *entry = &s->entries[i];

        if (entry->hash == hash && entry->len == len && !memcmp(texts + entry->at, text, len))
            return entry;
        i = (i + 1) & (s->room - 1);
    }
    return &s->entries[i];
}

static void grow(struct nameset *s, const char *texts)
{
    struct nameset_entry *old = s->entries;
    size_t                room = s->room;

    make_room(s, room * 2);
    for (size_t i = 0; i < room; i++)
        if (old[i].index != NAMESET_NONE)
            *seek(s, texts, texts + old[i].at, old[i].len, old[i].hash) = old[i];
    free(old);
}

size_t nameset_add(struct nameset *s, const char *texts, uint64_t at, size_t len, size_t index)
{
    uint32_t              hash = nameset_hash(texts + at, len);
    struct nameset_entry *entry = seek(s, texts, texts + at, len, hash);

    if (entry->index != NAMESET_NONE)
        return entry->index;
    *entry = (struct nameset_entry){.at = at, .len = (uint32_t)len, .hash = hash, .index = index};
    if (++s->count * 2 > s->room)
        grow(s, texts);
    return NAMESET_NONE;
}

size_t nameset_find(const struct nameset *s, const char *texts, const char *text, size_t len)
{
    return seek(s, texts, text, len, nameset_hash(text, len))->index;
}
