/* SPDX-License-Identifier: Apache-2.0 */
/* lossless.h - turns and flips of a JPEG that move its coefficients and lose nothing.
 *
 * Possible where all that is asked for are quarter turns and flips (EXIF's orientation is one of them), the result is
 * a JPEG without a quality of its own, and no side that comes to lie left or on top cuts through a block.
 */
#ifndef MILLRACE_IMAGE_LOSSLESS_H
#define MILLRACE_IMAGE_LOSSLESS_H

#include <stdbool.h>

#include "kinds/image/ops.h"
#include "kinds/raw.h"

/* True: the task is over, *e says how. False: nothing has happened; the pixels have to be decoded. */
bool lossless_try(struct task *task, const struct image_plan *plan, const struct filemap *file, enum err *e);

#endif
