/* SPDX-License-Identifier: Apache-2.0 */
/* form.h - multipart/form-data (RFC 7578), read while it arrives.
 *
 * Of a part no more is held than its headers and the bytes that may turn out
 * to be the boundary. Each part is told of, an empty one too.
 */
#ifndef MILLRACE_FORM_H
#define MILLRACE_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

struct form;

/* The pieces of the parts in order. The first of each part is_first and has no bytes. filename NULL: a plain field.
 * An error ends the reading, and is what form_feed returns. */
typedef enum err form_part_fn(void *ctx, const char *name, const char *filename, const char *bytes, size_t len,
                              bool is_first, struct fault *why);

/* content_type: of the body, with the boundary among its parameters. */
enum err form_new(const char *content_type, form_part_fn *part, void *ctx, struct form **out,
                  struct fault *why) MUST_CHECK;
enum err form_feed(struct form *f, const char *bytes, size_t len, struct fault *why) MUST_CHECK;
bool     form_is_whole(const struct form *f); /* the last boundary has come */
void     form_free(struct form *f);           /* accepts NULL */

#endif
