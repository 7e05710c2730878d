/* SPDX-License-Identifier: Apache-2.0 */
/* views.h - what GET /stats says, as text for people: the verbs stats, workers and top show these. */
#ifndef MILLRACE_CLI_VIEWS_H
#define MILLRACE_CLI_VIEWS_H

#include "cli/jobs.h"

/* Calls for the document. */
enum outcome stats_get(struct cli *cli, json_t **out);

/* Calls, and prints: with --json the document, or its member of this name (NULL: all); else what view appends. */
enum outcome stats_show(struct cli *cli, const char *member, void (*view)(const json_t *stats, struct buf *out));

/* Appended to out. stats: the document, borrowed. */
void view_jobs(const json_t *stats, struct buf *out);    /* the counts of each state */
void view_queues(const json_t *stats, struct buf *out);  /* a line per kind */
void view_workers(const json_t *stats, struct buf *out); /* a line per worker */

#endif
