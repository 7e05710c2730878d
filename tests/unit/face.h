/* SPDX-License-Identifier: Apache-2.0 */
/* face.h - blobs in memory, for tests of what gives its bytes to a struct blobs_face. */
#ifndef MILLRACE_FACE_H
#define MILLRACE_FACE_H

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "kinds/kind.h"

#define FACE_BLOBS 8

struct face_blob {
    char       name[40];
    size_t     head; /* bytes left free in front */
    bool       has_head;
    struct buf bytes;
    int        appends;
};

/* A zeroed one is empty. */
struct face {
    struct face_blob blobs[FACE_BLOBS];
    int              count;
    bool             is_full; /* the disk: nothing more can be appended */
};

static enum err face_create(void *ctx, size_t head, void **out, const char **name, struct fault *why)
{
    struct face      *face = ctx;
    struct face_blob *b = &face->blobs[face->count];

    (void)why;
    assert(face->count < FACE_BLOBS);
    *b = (struct face_blob){.head = head};
    snprintf(b->name, sizeof b->name, "made-%d", face->count++);
    for (size_t i = 0; i < head; i++)
        buf_append(&b->bytes, "", 1);
    *out = b;
    *name = b->name;
    return ERR_OK;
}

static enum err face_append(void *out, const void *bytes, size_t len, struct fault *why)
{
    struct face_blob *b = out;

    (void)why;
    b->appends++;
    buf_append(&b->bytes, bytes, len);
    return ERR_OK;
}

static enum err face_append_full(void *out, const void *bytes, size_t len, struct fault *why)
{
    (void)out, (void)bytes, (void)len;
    return fault_set(why, ERR_DISK_FULL, "no room");
}

static void face_set_head(void *out, const void *head)
{
    struct face_blob *b = out;

    assert(!b->has_head && b->head);
    b->has_head = true;
    memcpy(b->bytes.data, head, b->head);
}

static struct face_blob *face_find(struct face *face, const char *name)
{
    for (int i = 0; i < face->count; i++)
        if (strcmp(face->blobs[i].name, name) == 0)
            return &face->blobs[i];
    return NULL;
}

static enum err face_peek(void *ctx, const char *name, void *bytes, size_t len, size_t *got, uint64_t *size,
                          struct fault *why)
{
    struct face_blob *b = face_find(ctx, name);

    if (!b)
        return fault_set(why, ERR_NO_BLOB, "nothing");
    *got = b->bytes.len < len ? b->bytes.len : len;
    *size = b->bytes.len;
    if (*got)
        memcpy(bytes, b->bytes.data, *got);
    return ERR_OK;
}

/* Borrows face. */
static struct blobs_face face_of(struct face *face)
{
    return (struct blobs_face){face, face_create, face->is_full ? face_append_full : face_append, face_set_head,
                               face_peek};
}

/* Puts a blob there, as if it had been uploaded. */
static inline void face_put(struct face *face, const char *name, const void *bytes, size_t len)
{
    struct face_blob *b = &face->blobs[face->count++];

    assert(face->count <= FACE_BLOBS);
    *b = (struct face_blob){0};
    snprintf(b->name, sizeof b->name, "%s", name);
    buf_append(&b->bytes, bytes, len);
}

/* Whether both hold the same, and are whole. */
static inline bool face_same(const struct face *a, const struct face *b)
{
    for (int i = 0; i < a->count && a->count == b->count; i++) {
        const struct face_blob *x = &a->blobs[i], *y = &b->blobs[i];

        if (strcmp(x->name, y->name) || x->bytes.len != y->bytes.len || x->has_head != y->has_head ||
            (x->bytes.len && memcmp(x->bytes.data, y->bytes.data, x->bytes.len)))
            return false;
    }
    return a->count == b->count;
}

static inline void face_free(struct face *face)
{
    for (int i = 0; i < face->count; i++)
        buf_free(&face->blobs[i].bytes);
    face->count = 0;
}

#endif
