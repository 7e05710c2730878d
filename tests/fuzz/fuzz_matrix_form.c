/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_matrix_form.c - any bytes as the parts of a form, whole and in pieces, into memory and into blobs: no crash,
 * the same end, and an input only where all fits.
 *
 * The bytes are cut into parts at "\n--NAME\n" (NAME: up to 3 characters), as a form is in spirit.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/reading.h"

#define ROOMY 2048
#define TIGHT 16
#define PARTS_MAX 6

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct part {
    char           name[4];
    const uint8_t *bytes;
    size_t         len;
};

/* Length of a delimiter at p, 0 when there is none; its name. */
static size_t find_name(const uint8_t *p, const uint8_t *end, char name[4])
{
    size_t len = 0;

    if (end - p < 4 || memcmp(p, "\n--", 3) != 0)
        return 0;
    while (len < 4 && p + 3 + len < end && p[3 + len] != '\n')
        len++;
    if (len == 4 || p + 3 + len == end || memchr(p + 3, 0, len))
        return 0;
    memcpy(name, p + 3, len);
    name[len] = 0;
    return len + 4;
}

static int cut_parts(const uint8_t *data, size_t size, struct part parts[PARTS_MAX])
{
    const uint8_t *end = data + size;
    int            count = 0;

    for (const uint8_t *p = data; p < end; p++) {
        char   name[4];
        size_t len = find_name(p, end, name);

        if (!len || count == PARTS_MAX) {
            if (count)
                parts[count - 1].len = (size_t)(p + 1 - parts[count - 1].bytes);
            continue;
        }
        parts[count] = (struct part){.bytes = p + len};
        memcpy(parts[count++].name, name, sizeof name);
        p += len - 1;
    }
    return count;
}

/* Each piece has an allocation of its own, so that ASan sees a step beyond it. */
static enum err feed(void *ctx, const struct part *p, size_t piece, struct fault *why)
{
    enum err e = ERR_OK;

    for (size_t at = 0; (at < p->len || !at) && !e; at += piece) {
        size_t len = p->len - at < piece ? p->len - at : piece;
        char  *copy = xmalloc(len);

        memcpy(copy, p->bytes + at, len);
        e = matrix_spec.intakes[1].feed(ctx, p->name, !at, copy, len, why);
        free(copy);
    }
    return e;
}

static struct reading read_pieces(const struct part *parts, int count, size_t piece, size_t limit)
{
    const struct intake *form = &matrix_spec.intakes[1];
    struct reading       got = {0};
    struct blobs_face    face = face_of(&got.face);
    void                *ctx = form->begin(&(struct limits){.inline_max = limit, .has_blobs = limit == TIGHT}, &face);

    args_init(&got.args);
    for (int i = 0; i < count && !got.err; i++)
        got.err = feed(ctx, &parts[i], piece, &got.why);
    if (got.err)
        form->abort(ctx);
    else
        got.err = form->end(ctx, &got.args, &got.taken, &got.why);
    return got;
}

static void compare(const struct part *parts, int count, size_t piece, size_t limit)
{
    struct reading whole = read_pieces(parts, count, SIZE_MAX / 2, limit);
    struct reading cut = read_pieces(parts, count, piece, limit);

    reading_compare(&whole, &cut, limit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct part parts[PARTS_MAX];
    int         count = size ? cut_parts(data, size, parts) : 0;
    size_t      piece = 1 + (size ? data[size - 1] % 7 : 0);

    compare(parts, count, piece, ROOMY);
    compare(parts, count, piece, TIGHT);
    return 0;
}
