/* SPDX-License-Identifier: Apache-2.0 */
/* body.h - the body of a submit, read while it arrives into what a message can carry.
 *
 * By its content type it goes to an intake of the kind, or is taken as raw
 * bytes; a form is read part by part for an intake that knows parts, and else
 * holds the one file that is the input. What is beyond inline_max goes to blobs.
 * A large document is read by the thread pool while more of it arrives (ahead.h).
 */
#ifndef MILLRACE_BODY_H
#define MILLRACE_BODY_H

#include "api/http.h"
#include "api/spill.h"
#include "kinds/kind.h"

struct body;

/* Decides how the request's body is read, and refuses by its length what would be refused later. limits and spill
 * are borrowed until body_free. ERR_MEDIA, ERR_BODY, ERR_TOO_LARGE, or that no blob can be begun. */
enum err body_new(struct request *r, const struct kind_spec *kind, const struct limits *limits, struct spill *spill,
                  struct body **out, struct fault *why) MUST_CHECK;

/* May hold the request until what has come is read. */
enum err body_feed(struct body *b, const char *bytes, size_t len, struct fault *why) MUST_CHECK;

/* Whether some of the body is still being read; then the request is held until it may be, and asked again. */
bool body_wait(struct body *b);

/* All has come and is read: *out is the caller's. Parameters that the body itself defines are put into args. */
enum err body_end(struct body *b, struct args *args, struct taken *out, struct fault *why) MUST_CHECK;

void body_free(struct body *b); /* accepts NULL */

#endif
