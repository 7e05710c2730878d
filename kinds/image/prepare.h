/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.h - libvips, made ready for a jail. */
#ifndef MILLRACE_IMAGE_PREPARE_H
#define MILLRACE_IMAGE_PREPARE_H

#include <stdint.h>

#include "common/err.h"

/* Starts libvips with the four formats alone, without code made at run time, without caches. First of all, before
 * any other thread. One thread computes an image. ERR_INTERNAL. */
enum err image_prepare(struct fault *why) MUST_CHECK;

/* Runs each operation on a tiny image of each format, so that whatever is loaded late is loaded. After image_prepare.
 * memory_max: of a task. */
enum err image_warm_up(uint64_t memory_max, struct fault *why) MUST_CHECK;

#endif
