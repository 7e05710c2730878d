/* SPDX-License-Identifier: Apache-2.0 */
/* fetch.h - downloads that appear whole or not at all, and long transfers that are shown. */
#ifndef MILLRACE_CLI_FETCH_H
#define MILLRACE_CLI_FETCH_H

#include "cli/http.h"

/* Bytes of a plain file; 0 for what is none. */
uint64_t file_bytes(const char *file);

/* http_do, and while it runs "sent 43 %" on stderr, if that is a terminal and total (bytes) is no small amount.
 * done: &t->sent or &t->received. */
enum outcome fetch_shown(struct http *h, struct transfer *t, const char *what, const uint64_t *done, uint64_t total);

/* http_do of a GET into the file: under another name beside it, and renamed when all of it is there. What is no plain
 * file (a device, a pipe) is written as it is. NULL: to stdout. t's outcome and reason are set also for what goes wrong
 * on this side. */
enum outcome fetch_into(struct http *h, struct transfer *t, const char *file);

#endif
