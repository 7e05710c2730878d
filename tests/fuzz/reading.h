/* SPDX-License-Identifier: Apache-2.0 */
/* reading.h - what an intake made of a fuzzer's input, and that it makes the same of it however it is cut. */
#ifndef MILLRACE_FUZZ_READING_H
#define MILLRACE_FUZZ_READING_H

#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/matrix.h"
#include "tests/unit/face.h"

struct reading {
    enum err     err;
    struct fault why;
    struct args  args;
    struct taken taken;
    struct face  face;
};

static inline void forget(struct reading *got)
{
    buf_free(&got->taken.body);
    buf_free(&got->taken.refs);
    face_free(&got->face);
}

static inline bool same_bytes(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

/* Takes two readings of one input; ends the process when they differ, or are more than limit allows. */
static inline void reading_compare(struct reading *whole, struct reading *cut, size_t limit)
{
    if (whole->err != cut->err || (whole->err && strcmp(whole->why.detail, cut->why.detail)))
        abort();
    if (!whole->err && (!same_bytes(&whole->taken.body, &cut->taken.body) ||
                        !same_bytes(&whole->taken.refs, &cut->taken.refs) || !face_same(&whole->face, &cut->face)))
        abort();
    if (whole->err ? whole->taken.body.len || whole->taken.refs.len : whole->taken.body.len > limit)
        abort();
    if (!whole->err) { /* what comes out is an input: described, and all there */
        struct operand operands[2];
        struct fault   why;

        buf_append(&whole->taken.refs, "", 1);
        if (operands_read(&whole->args,
                          &(struct input){whole->taken.body.data, whole->taken.body.len, whole->taken.refs.data},
                          operands, &why))
            abort();
    }
    forget(whole);
    forget(cut);
}

#endif
