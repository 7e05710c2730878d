/* SPDX-License-Identifier: Apache-2.0 */
/* mosaic.c - see the header. */
#include "kinds/matrix/mosaic.h"

#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/npy.h"

#define CHECKED_MAX 64 /* pieces looked at before the first byte: as many as a reader of files keeps open */
#define SPANS_MAX 256  /* reads in one call: a narrow window of long rows must not hold up the caller */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t tiles_across(const struct layout *l) { return (l->cols + l->tile_cols - 1) / l->tile_cols; }
static uint64_t tiles_down(const struct layout *l) { return (l->rows + l->tile_rows - 1) / l->tile_rows; }

/* ---- what there is ------------------------------------------------------------- */

static enum err gone(struct fault *why, int64_t piece)
{
    return fault_set(why, ERR_RESULT_GONE, "piece %lld of the result is no longer there, or not what was written",
                     (long long)piece);
}

/* The header of a result in one piece; a writer of ours needs NPY_HEADER_BYTES for it. */
static enum err read_single(struct mosaic *p, struct fault *why)
{
    char       bytes[NPY_HEADER_BYTES];
    uint64_t   size = p->face->size(p->face->ctx, 0);
    size_t     need;
    struct npy npy;

    if (size < sizeof bytes || !p->face->read(p->face->ctx, 0, 0, bytes, sizeof bytes) ||
        npy_read_header(bytes, sizeof bytes, &npy, &need, NULL) || need > sizeof bytes || npy.is_fortran ||
        size != npy.data_at + npy_data_bytes(&npy))
        return gone(why, 0);
    p->layout = (struct layout){npy.rows, npy.cols, npy.rows, npy.cols, npy.dtype};
    p->data_at = npy.data_at;
    return ERR_OK;
}

static enum err read_layout(struct mosaic *p, struct fault *why)
{
    struct layout *l = &p->layout;
    uint64_t       bytes, tiles;
    enum err       e = layout_read(p->face->layout, l, why);

    if (e)
        return e;
    if (__builtin_mul_overflow(l->rows, l->cols, &bytes) || __builtin_mul_overflow(bytes, 8, &bytes) ||
        bytes > INT64_MAX || __builtin_mul_overflow(tiles_down(l), tiles_across(l), &tiles) ||
        tiles != (uint64_t)p->face->piece_count)
        return fault_set(why, ERR_RESULT_GONE, "the group has %lld results, which do not make a product of %llu x %llu",
                         (long long)p->face->piece_count, (unsigned long long)l->rows, (unsigned long long)l->cols);
    p->data_at = NPY_HEADER_BYTES;
    return ERR_OK;
}

static bool piece_is_whole(const struct mosaic *p, uint64_t down, uint64_t across)
{
    const struct layout *l = &p->layout;
    uint64_t             rows = least(l->tile_rows, l->rows - down * l->tile_rows);
    uint64_t             cols = least(l->tile_cols, l->cols - across * l->tile_cols);
    int64_t              piece = (int64_t)(down * tiles_across(l) + across);

    return p->face->size(p->face->ctx, piece) == p->data_at + rows * cols * dtype_bytes(l->dtype);
}

static enum err check_pieces(const struct mosaic *p, struct fault *why)
{
    const struct layout *l = &p->layout;
    const struct region *w = &p->window;
    uint64_t             last_down = (w->row + w->rows - 1) / l->tile_rows;
    uint64_t             first_across = w->col / l->tile_cols, last_across = (w->col + w->cols - 1) / l->tile_cols;
    int                  checked = 0;

    for (uint64_t down = w->row / l->tile_rows; down <= last_down; down++)
        for (uint64_t across = first_across; across <= last_across; across++) {
            if (checked++ == CHECKED_MAX)
                return ERR_OK;
            if (!piece_is_whole(p, down, across))
                return gone(why, (int64_t)(down * tiles_across(l) + across));
        }
    return ERR_OK;
}

/* ---- the window ------------------------------------------------------------------ */

/* Reads decimal digits at *text, which moves behind them; without any, out stays. More than fit are very many. */
static void read_bound(const char **text, uint64_t *out)
{
    if (**text < '0' || **text > '9')
        return;
    for (*out = 0; **text >= '0' && **text <= '9'; ++*text)
        *out = *out > UINT64_MAX / 100 ? *out : *out * 10 + (uint64_t)(**text - '0');
}

/* "a:b" of so many; name: of the parameter. */
static enum err read_window(const struct layout *l, const char *name, const char *text, uint64_t count, uint64_t *from,
                            uint64_t *length, struct fault *why)
{
    const char *at = text;
    uint64_t    to = count;

    *from = 0;
    *length = count;
    if (!text)
        return ERR_OK;
    read_bound(&at, from);
    if (*at == ':') {
        at++;
        read_bound(&at, &to);
        if (!*at && *from < to && to <= count) {
            *length = to - *from;
            return ERR_OK;
        }
    }
    return fault_set(
        why, ERR_PARAM,
        "%s is '%.40s', which is no part of a product of %llu x %llu; it takes FROM:TO, counted from 0, TO "
        "left out",
        name, text, (unsigned long long)l->rows, (unsigned long long)l->cols);
}

enum err mosaic_open(const struct result_face *face, const char *rows, const char *cols, struct mosaic *out,
                     struct fault *why)
{
    struct mosaic p = {.face = face};
    enum err      e = *face->layout ? read_layout(&p, why) : read_single(&p, why);

    if (!e)
        e = read_window(&p.layout, "rows", rows, p.layout.rows, &p.window.row, &p.window.rows, why);
    if (!e)
        e = read_window(&p.layout, "cols", cols, p.layout.cols, &p.window.col, &p.window.cols, why);
    if (!e && *face->layout)
        e = check_pieces(&p, why);
    if (e)
        return e;
    p.row_bytes = p.window.cols * dtype_bytes(p.layout.dtype);
    p.bytes = p.window.rows * p.row_bytes;
    *out = p;
    return ERR_OK;
}

/* ---- reading ----------------------------------------------------------------------- */

/* How many of the window's bytes from offset on lie side by side in one piece, and where. */
static uint64_t find_span(const struct mosaic *p, uint64_t offset, int64_t *piece, uint64_t *at)
{
    const struct layout *l = &p->layout;
    uint64_t             bytes = dtype_bytes(l->dtype);
    uint64_t             row = p->window.row + offset / p->row_bytes, in_row = offset % p->row_bytes;
    uint64_t             col_at = p->window.col * bytes + in_row; /* in bytes, as all that follows */
    uint64_t             down = row / l->tile_rows, across = col_at / (l->tile_cols * bytes);
    uint64_t             first_row = down * l->tile_rows, first_col_at = across * l->tile_cols * bytes;
    uint64_t             width = least(l->tile_cols * bytes, l->cols * bytes - first_col_at);
    uint64_t             in_tile = col_at - first_col_at;

    *piece = (int64_t)(down * tiles_across(l) + across);
    *at = p->data_at + (row - first_row) * width + in_tile;
    if (p->row_bytes == l->cols * bytes && l->tile_cols >= l->cols) { /* whole rows follow each other */
        uint64_t end_row = least(first_row + l->tile_rows, p->window.row + p->window.rows);

        return (end_row - row) * width - in_tile;
    }
    return least(width - in_tile, p->row_bytes - in_row);
}

uint64_t mosaic_spans(const struct mosaic *p)
{
    const struct layout *l = &p->layout;
    const struct region *w = &p->window;
    uint64_t             across = (w->col + w->cols - 1) / l->tile_cols - w->col / l->tile_cols + 1;
    uint64_t             down = (w->row + w->rows - 1) / l->tile_rows - w->row / l->tile_rows + 1;

    return w->cols == l->cols && l->tile_cols >= l->cols ? down : w->rows * across;
}

int64_t mosaic_read(const struct mosaic *p, uint64_t offset, void *out, size_t len, struct fault *why)
{
    char *to = out;

    len = offset < p->bytes ? (size_t)least(len, p->bytes - offset) : 0;
    for (int spans = 0; len && spans < SPANS_MAX; spans++) {
        int64_t  piece;
        uint64_t at;
        size_t   span = (size_t)least(find_span(p, offset, &piece, &at), len);

        if (!p->face->read(p->face->ctx, piece, at, to, span)) {
            gone(why, piece);
            return -1;
        }
        to += span;
        offset += span;
        len -= span;
    }
    return to - (char *)out;
}
