/* SPDX-License-Identifier: Apache-2.0 */
/* map_html.h - text and bytes as they may stand in a page. */
#ifndef MILLRACE_CLI_MAP_HTML_H
#define MILLRACE_CLI_MAP_HTML_H

#include <stddef.h>

#include "common/buf.h"

/* Any bytes as text: markup is escaped; what is no UTF-8, and control characters, become U+FFFD. */
void html_text(struct buf *out, const char *text);

/* data:TYPE;base64,.. */
void html_data_uri(struct buf *out, const char *type, const void *bytes, size_t len);

/* "3.4 MB", "12 min": for people. */
void html_bytes(struct buf *out, double bytes);
void html_seconds(struct buf *out, double seconds);

#endif
