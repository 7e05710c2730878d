/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline.h - one image on its way through libvips: opened, worked on, written.
 *
 * libvips is lazy: what open and apply build is computed when the result is written, line by line as far as it can.
 * An operation that reads its image in another order than from top to bottom gets all of it in memory first, and hands
 * all of it on; and one that reads the lines around each line gets what another such has made in memory. So pixels are
 * not computed again and again, and neither time nor memory grows faster than the chain.
 */
#ifndef MILLRACE_IMAGE_PIPELINE_H
#define MILLRACE_IMAGE_PIPELINE_H

#include <vips/vips.h>

#include "kinds/image/image.h"
#include "kinds/image/ops.h"
#include "kinds/raw.h"

struct pipeline {
    struct task             *task; /* borrowed, as are the next two */
    const struct image_plan *plan;
    const struct filemap    *file;
    enum image_format        from, to;
    bool                     is_lossless; /* the input is a WebP without loss */
    unsigned char            background[3];
    VipsImage               *image;          /* owned; replaced by each step */
    bool                     is_overlapping; /* and it is not computed yet: each of its lines costs many */
    VipsImage               *next;           /* where the call that makes the next one puts it; else NULL */
    int                      width, height;  /* of what the next operation sees: a JPEG may have been read smaller */
    double                   done;           /* progress when the computing that goes on now began */
};

/* decode.c: opens the file and makes it upright. ERR_BODY: no image, or one beyond the limits. */
enum err pipeline_decode(struct pipeline *p) MUST_CHECK;

/* chain.c: one operation, the number-th of the plan. ERR_PARAM: this image does not take it. */
enum err pipeline_apply(struct pipeline *p, const struct image_op *op, int number) MUST_CHECK;

/* encode.c: computes and writes the result. */
enum err pipeline_encode(struct pipeline *p) MUST_CHECK;

/* Parts of them all, in run.c. */

/* Takes p->next, if the call that made it went well (rc 0), as the image. ERR_BODY, ERR_MEMORY by libvips' words. */
enum err pipeline_step(struct pipeline *p, int rc) MUST_CHECK;

/* Has all of the image in memory. ERR_MEMORY when there is no room. */
enum err pipeline_gather(struct pipeline *p) MUST_CHECK;

/* Whether so many more bytes may be taken. ERR_MEMORY, with both sizes. */
enum err pipeline_afford(struct pipeline *p, double bytes) MUST_CHECK;

/* What libvips said last, as the fault of the task: ERR_MEMORY, or ERR_BODY. */
enum err pipeline_refuse(struct pipeline *p);

/* The background in the image's own range and bands; at most `most` numbers. Returns how many. */
int pipeline_background(const struct pipeline *p, const VipsImage *image, double *out, int most);

/* Has progress shown while the image is computed. part: of what is still to be done. */
void pipeline_watch(struct pipeline *p, double part);

#endif
