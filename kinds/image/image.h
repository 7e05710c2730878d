/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - the rows of kind image's parameters, and its limits. */
#ifndef MILLRACE_IMAGE_H
#define MILLRACE_IMAGE_H

enum image_arg { ARG_OPS, ARG_QUALITY, ARG_STRIP, ARG_BACKGROUND };

#define IMAGE_FILE_MAX (256u << 20) /* bytes of an input */
#define IMAGE_PIXELS_MAX 100000000  /* of an input, of a result, and of each step between them */
#define IMAGE_QUALITY 85            /* of what is compressed with loss, unless given */
#define IMAGE_BACKGROUND "ffffff"

#endif
