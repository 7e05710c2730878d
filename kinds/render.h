/* SPDX-License-Identifier: Apache-2.0 */
/* render.h - streams over results of kinds that need nothing better: small ones made at once, and raw bytes. */
#ifndef MILLRACE_RENDER_H
#define MILLRACE_RENDER_H

#include "kinds/kind.h"

/* Makes all of a form out of all of the raw bytes. */
typedef enum err render_whole(const void *raw, size_t len, struct buf *out, struct fault *why);

/* For struct rendering: open with render. Windows are refused (ERR_PARAM). */
enum err render_open_whole(const struct result_face *face, const char *rows, const char *cols, render_whole *render,
                           void **stream, uint64_t *size, struct fault *why) MUST_CHECK;
int64_t  render_read_whole(void *stream, uint64_t offset, char *out, size_t len, struct fault *why);
void     render_close_whole(void *stream);

/* For struct rendering: the raw bytes of a result of any size in one piece, as they lie. Windows are refused. */
enum err render_open_raw(const struct result_face *face, const char *rows, const char *cols, void **stream,
                         uint64_t *size, struct fault *why) MUST_CHECK;
int64_t  render_read_raw(void *stream, uint64_t offset, char *out, size_t len, struct fault *why);
void     render_close_raw(void *stream);

#endif
