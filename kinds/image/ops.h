/* SPDX-License-Identifier: Apache-2.0 */
/* ops.h - what is to be done with an image, as people write it: "rotate:45,scale:0.5".
 *
 *   ops := op { "," op }      op := name [ ":" value ]
 *
 * No blanks, numbers in plain decimals. The rows of image_op_rows are the language: from them come the checks, what a
 * refusal says, and the table of docs/image.md. Pure: no image is touched.
 */
#ifndef MILLRACE_IMAGE_OPS_H
#define MILLRACE_IMAGE_OPS_H

#include <stdbool.h>

#include "common/err.h"

#define IMAGE_OPS_MAX 16
#define IMAGE_SIDE_MAX 65535 /* pixels of width or height, whatever the format could do */

enum image_format {
    IMAGE_JPEG,
    IMAGE_PNG,
    IMAGE_WEBP,
    IMAGE_TIFF,
    IMAGE_FORMAT_COUNT,
    IMAGE_SAME = IMAGE_FORMAT_COUNT
};

enum image_op_code {
    OP_ROTATE,    /* number: degrees clockwise */
    OP_SCALE,     /* number: factor */
    OP_FIT,       /* width, height */
    OP_THUMBNAIL, /* width, height */
    OP_CROP,      /* width, height, x, y */
    OP_FLIP,      /* is_vertical */
    OP_GRAY,
    OP_BLUR,    /* number: sigma in pixels */
    OP_SHARPEN, /* number: sigma in pixels */
    OP_CONVERT, /* format */
    OP_COUNT
};

struct image_op {
    enum image_op_code code;
    double             number;
    int                width, height, x, y;
    bool               is_vertical;
    enum image_format  format;
};

struct image_plan {
    struct image_op   ops[IMAGE_OPS_MAX]; /* without convert, which is no step but says how the result is written */
    int               count;
    enum image_format format; /* of the result; IMAGE_SAME: the input's */
};

/* One row of the language, in the order of enum image_op_code. */
struct image_op_row {
    const char *name;
    const char *value; /* how it is written; "" for none, in brackets where it may be left out */
    const char *help;  /* one sentence */
};
extern const struct image_op_row image_op_rows[OP_COUNT];

/* Name, as convert takes it, and content type of a format. */
const char *image_format_name(enum image_format format);
const char *image_format_type(enum image_format format);

/* Reads ops ("" for none). ERR_PARAM names the operation by its number and text, and what it would take. */
enum err image_ops_read(const char *ops, struct image_plan *plan, struct fault *why) MUST_CHECK;

/* Reads a colour, six hex digits: red, green and blue. ERR_PARAM. */
enum err image_colour_read(const char *text, unsigned char rgb[3], struct fault *why) MUST_CHECK;

/* Quarter turns clockwise, 0 to 3, that rotate:ANGLE is; -1: none, but an angle between. */
int image_quarter_turns(double angle);

#endif
