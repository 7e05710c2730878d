/* SPDX-License-Identifier: Apache-2.0 */
/* intake.c - the ways in which two operands come as one body.
 *
 * JSON:  the whole document goes to the reader.
 * Form:  the parts A and B, each a .npy whose header is collected and whose numbers go on as they come, or the
 *        text of an object (origin.h). Which of both its first byte tells.
 */
#include "kinds/matrix/intake.h"

#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/gather.h"
#include "kinds/matrix/npy.h"
#include "kinds/matrix/origin.h"
#include "kinds/matrix/reader.h"

#define SHOWN 60 /* bytes of a part's name that a detail repeats */

/* ---- JSON --------------------------------------------------------------- */

struct json_intake {
    struct gather         gather;
    struct matrix_reader *reader; /* owned */
};

static void *json_begin(const struct limits *limits, const struct blobs_face *blobs)
{
    struct json_intake *j = xcalloc(1, sizeof(*j));

    gather_init(&j->gather, limits, blobs);
    j->reader = matrix_reader_new(&j->gather);
    return j;
}

static enum err json_feed(void *ctx, const char *part, bool is_first, const char *bytes, size_t len, struct fault *why)
{
    struct json_intake *j = ctx;

    (void)part, (void)is_first;
    return matrix_reader_feed(j->reader, bytes, len, why);
}

static void json_abort(void *ctx)
{
    struct json_intake *j = ctx;

    matrix_reader_free(j->reader);
    gather_fini(&j->gather);
    free(j);
}

static enum err json_end(void *ctx, struct args *args, struct taken *out, struct fault *why)
{
    struct json_intake *j = ctx;
    enum err            e = matrix_reader_finish(j->reader, why);

    if (!e)
        e = gather_finish(&j->gather, args, out, why);
    json_abort(j);
    return e;
}

/* ---- a form --------------------------------------------------------------- */

enum part_state { PART_NONE, PART_HEADER, PART_NUMBERS, PART_OBJECT };

struct form_intake {
    struct gather   gather;
    enum part_state state;
    int             current; /* operand whose part is being read */
    struct npy      npy;     /* PART_NUMBERS */
    uint64_t        left;    /* bytes of its numbers that are still to come */
    struct buf      start;   /* of the part: its header, or all of the object */
    uint64_t        total;   /* bytes of all parts */
};

static void *form_begin(const struct limits *limits, const struct blobs_face *blobs)
{
    struct form_intake *f = xcalloc(1, sizeof(*f));

    gather_init(&f->gather, limits, blobs);
    return f;
}

static void form_abort(void *ctx)
{
    struct form_intake *f = ctx;

    gather_fini(&f->gather);
    buf_free(&f->start);
    free(f);
}

/* Says in which part something is wrong. */
static enum err of_part(const struct form_intake *f, const struct fault *inner, struct fault *why)
{
    return fault_set(why, inner->err, "part %c: %s", 'A' + f->current, inner->detail);
}

static enum err refuse_length(const struct form_intake *f, const char *what, struct fault *why)
{
    const struct npy *n = &f->npy;

    return fault_set(why, ERR_BODY, "part %c %s: %llu x %llu of %s are %llu bytes behind the header", 'A' + f->current,
                     what, (ull)n->rows, (ull)n->cols, dtype_name(n->dtype), (ull)npy_data_bytes(n));
}

/* The part at hand is over. */
static enum err close_part(struct form_intake *f, struct fault *why)
{
    struct fault    inner;
    enum part_state was = f->state;

    f->state = PART_NONE;
    if (was == PART_NONE)
        return ERR_OK;
    if (was == PART_HEADER)
        return fault_set(why, ERR_BODY,
                         f->start.len ? "part %c is cut short within its NumPy header" : "part %c is empty",
                         'A' + f->current);
    if (was == PART_OBJECT)
        return origin_read(&f->start, 0, &f->gather, f->current, &inner) ? of_part(f, &inner, why) : ERR_OK;
    if (f->left)
        return refuse_length(f, "is cut short", why);
    return gather_close(&f->gather, f->current, why);
}

static enum err open_part(struct form_intake *f, const char *name, struct fault *why)
{
    enum err e = close_part(f, why);

    if (e)
        return e;
    if ((*name != 'A' && *name != 'B') || name[1])
        return fault_set(why, ERR_BODY, "the form has a part '%.*s'; there are only A and B", SHOWN, name);
    f->current = *name - 'A';
    if (f->gather.parts[f->current].is_given)
        return fault_set(why, ERR_BODY, "the form has the part %c twice", 'A' + f->current);
    f->start.len = 0;
    f->state = PART_HEADER;
    return ERR_OK;
}

/* Collects the header, and no more than it; tells how many bytes that took. */
static enum err read_header(struct form_intake *f, const char *bytes, size_t len, size_t *taken, struct fault *why)
{
    size_t       need = 0;
    struct fault inner;
    enum err     e = npy_read_header(f->start.data, f->start.len, &f->npy, &need, &inner);

    *taken = 0;
    while (!e && need > f->start.len && *taken < len) {
        size_t wanted = need - f->start.len, here = len - *taken < wanted ? len - *taken : wanted;

        buf_append(&f->start, bytes + *taken, here);
        *taken += here;
        e = npy_read_header(f->start.data, f->start.len, &f->npy, &need, &inner);
    }
    if (e)
        return of_part(f, &inner, why);
    if (need > f->start.len)
        return ERR_OK;
    f->left = npy_data_bytes(&f->npy);
    f->state = PART_NUMBERS;
    if (f->gather.limits.upload_max && f->left > f->gather.limits.upload_max)
        return fault_set(why, ERR_TOO_LARGE, "part %c has %llu bytes of numbers; at most %llu are taken",
                         'A' + f->current, (ull)f->left, (ull)f->gather.limits.upload_max);
    return gather_open_file(&f->gather, f->current, &f->npy, f->start.data, why);
}

static enum err read_numbers(struct form_intake *f, const char *bytes, size_t len, struct fault *why)
{
    if (len > f->left)
        return refuse_length(f, "is too long", why);
    f->left -= len;
    return gather_append(&f->gather, f->current, bytes, len, why);
}

/* What is beyond the longest object need not be kept: that there is more is enough to refuse it. */
static void read_object(struct form_intake *f, const char *bytes, size_t len)
{
    size_t room = ORIGIN_MAX + 1 - f->start.len;

    buf_append(&f->start, bytes, len < room ? len : room);
}

static enum err form_feed(void *ctx, const char *part, bool is_first, const char *bytes, size_t len, struct fault *why)
{
    struct form_intake *f = ctx;
    size_t              taken = 0;
    enum err            e = is_first ? open_part(f, part, why) : ERR_OK;

    f->total += len;
    if (!e && f->gather.limits.upload_max && f->total > f->gather.limits.upload_max)
        e = fault_set(why, ERR_TOO_LARGE, "the form has more than %llu bytes, which is the limit",
                      (ull)f->gather.limits.upload_max);
    if (e || !len)
        return e;
    if (f->state == PART_HEADER && !f->start.len && *bytes == '{')
        f->state = PART_OBJECT;
    if (f->state == PART_OBJECT)
        read_object(f, bytes, len);
    if (f->state == PART_HEADER)
        e = read_header(f, bytes, len, &taken, why);
    if (!e && f->state == PART_NUMBERS && taken < len)
        e = read_numbers(f, bytes + taken, len - taken, why);
    return e;
}

static enum err form_end(void *ctx, struct args *args, struct taken *out, struct fault *why)
{
    struct form_intake *f = ctx;
    enum err            e = close_part(f, why);

    for (int i = 0; i < OPERANDS && !e; i++)
        if (!f->gather.parts[i].is_given)
            e = fault_set(why, ERR_BODY, "the form has no part %c", 'A' + i);
    if (!e)
        e = gather_finish(&f->gather, args, out, why);
    form_abort(f);
    return e;
}

const struct intake matrix_intakes[] = {
    {"application/json", json_begin, json_feed, json_end, json_abort},
    {"multipart/form-data", form_begin, form_feed, form_end, form_abort},
    {0},
};
