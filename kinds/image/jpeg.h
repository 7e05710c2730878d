/* SPDX-License-Identifier: Apache-2.0 */
/* jpeg.h - what a JPEG file says in front of its pixels, read and changed in place. Pure; takes any bytes. */
#ifndef MILLRACE_IMAGE_JPEG_H
#define MILLRACE_IMAGE_JPEG_H

#include <stddef.h>

/* The orientation that EXIF gives: 1 (upright) to 8; 1 where it gives none. */
int jpeg_orientation(const unsigned char *file, size_t len);

/* Has EXIF say "upright" wherever it gives an orientation. */
void jpeg_set_upright(unsigned char *file, size_t len);

/* Removes all metadata but colour profile and what decoding needs. Returns the bytes that are left. */
size_t jpeg_strip(unsigned char *file, size_t len);

#endif
