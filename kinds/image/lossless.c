/* SPDX-License-Identifier: Apache-2.0 */
/* lossless.c - see the header. */
#include "kinds/image/lossless.h"

#include <math.h>
#include <string.h>
#include <turbojpeg.h>

#include "kinds/image/image.h"
#include "kinds/image/jpeg.h"

#define BYTES_PER_PIXEL 12 /* coefficients of three components, as they came and as they go */

/* The point x, y of an image around 0, 0 goes to  xx x + xy y,  yx x + yy y. */
struct turn {
    int xx, xy, yx, yy;
};

static const struct turn turns[] = {
    [TJXOP_NONE] = {1, 0, 0, 1},      [TJXOP_HFLIP] = {-1, 0, 0, 1},       [TJXOP_VFLIP] = {1, 0, 0, -1},
    [TJXOP_TRANSPOSE] = {0, 1, 1, 0}, [TJXOP_TRANSVERSE] = {0, -1, -1, 0}, [TJXOP_ROT90] = {0, -1, 1, 0},
    [TJXOP_ROT180] = {-1, 0, 0, -1},  [TJXOP_ROT270] = {0, 1, -1, 0},
};

/* What makes an image upright, by EXIF's orientation. */
static const enum TJXOP uprights[] = {TJXOP_NONE,      TJXOP_NONE,  TJXOP_HFLIP,      TJXOP_ROT180, TJXOP_VFLIP,
                                      TJXOP_TRANSPOSE, TJXOP_ROT90, TJXOP_TRANSVERSE, TJXOP_ROT270};

static const enum TJXOP quarters[] = {TJXOP_NONE, TJXOP_ROT90, TJXOP_ROT180, TJXOP_ROT270};

static struct turn then(struct turn a, struct turn b)
{
    return (struct turn){b.xx * a.xx + b.xy * a.yx, b.xx * a.xy + b.xy * a.yy, b.yx * a.xx + b.yy * a.yx,
                         b.yx * a.xy + b.yy * a.yy};
}

static int find_turn(struct turn t)
{
    int i = 0;

    while (memcmp(&turns[i], &t, sizeof t) != 0)
        i++;
    return i;
}

/* The one turn that all operations come to; false when there is any other among them. */
static bool join(const struct image_plan *plan, int orientation, int *out)
{
    struct turn t = turns[uprights[orientation]];

    for (int i = 0; i < plan->count; i++) {
        const struct image_op *op = &plan->ops[i];
        int                    quarter = op->code == OP_ROTATE ? image_quarter_turns(op->number) : -1;

        if (quarter >= 0)
            t = then(t, turns[quarters[quarter]]);
        else if (op->code == OP_FLIP)
            t = then(t, turns[op->is_vertical ? TJXOP_VFLIP : TJXOP_HFLIP]);
        else
            return false;
    }
    *out = find_turn(t);
    return true;
}

/* The transformed file, *out, to be freed by tjFree. False: not this one, or not within memory. */
static bool transform(const struct task *task, const struct filemap *file, int op, unsigned char **out,
                      unsigned long *len)
{
    tjhandle    tj = tjInitTransform();
    tjtransform how = {.op = op, .options = TJXOPT_PERFECT};
    int         width, height, subsampling, colours;
    bool        is_done;

    is_done = tj && !tjDecompressHeader3(tj, file->bytes, file->len, &width, &height, &subsampling, &colours) &&
              (double)width * height <= IMAGE_PIXELS_MAX &&
              (double)width * height * BYTES_PER_PIXEL <= (double)task->memory_max / 2 &&
              !tjTransform(tj, file->bytes, file->len, 1, out, len, &how, TJFLAG_LIMITSCANS);
    if (tj)
        tjDestroy(tj);
    return is_done;
}

bool lossless_try(struct task *task, const struct image_plan *plan, const struct filemap *file, enum err *e)
{
    unsigned char *out = NULL;
    unsigned long  len = 0;
    struct outlet  outlet;
    int            op;
    bool           is_done;

    if ((plan->format != IMAGE_SAME && plan->format != IMAGE_JPEG) || !isnan(task->args->real[ARG_QUALITY]) ||
        !join(plan, jpeg_orientation(file->bytes, file->len), &op))
        return false;
    is_done = transform(task, file, op, &out, &len);
    if (is_done) {
        jpeg_set_upright(out, len);
        if (task->args->integer[ARG_STRIP])
            len = jpeg_strip(out, len);
        outlet_open(&outlet, task);
        *e = outlet_write(&outlet, out, len);
        if (*e)
            outlet_drop(&outlet);
        else
            outlet_close(&outlet, image_format_type(IMAGE_JPEG));
    }
    tjFree(out);
    return is_done;
}
