/* SPDX-License-Identifier: Apache-2.0 */
/* sniff.h - which format a file is of, by its first bytes alone. Pure; takes any bytes. */
#ifndef MILLRACE_IMAGE_SNIFF_H
#define MILLRACE_IMAGE_SNIFF_H

#include <stddef.h>

#include "kinds/image/ops.h"

/* ERR_BODY when it is none of the formats. */
enum err sniff_format(const unsigned char *file, size_t len, enum image_format *out, struct fault *why) MUST_CHECK;

/* Whether a WebP file keeps its pixels without loss. */
bool sniff_webp_lossless(const unsigned char *file, size_t len);

#endif
