/* SPDX-License-Identifier: Apache-2.0 */
/* jobs.h - calls about jobs that several verbs make, and how a record is shown. */
#ifndef MILLRACE_CLI_JOBS_H
#define MILLRACE_CLI_JOBS_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/http.h"

/* Makes the call and reads the JSON object of its answer into *out (owned by the caller; NULL unless EXIT_OK).
 * Complains where it cannot be had. In any case t is freed. */
enum outcome call_json(struct cli *cli, struct transfer *t, json_t **out);

/* The record of a job, at once. */
enum outcome job_get(struct cli *cli, const char *id, json_t **out);

/* Prints a record, or what else the gateway answered, as one line of JSON. */
void print_json(const json_t *doc);

/* Prints a record for people. */
void print_record(const json_t *record);

/* Text of a member, "" when there is none. Borrowed from doc. */
const char *text_of(const json_t *doc, const char *name);

#endif
