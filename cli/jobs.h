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

/* call_json of "METHOD /jobs/ID" and what stands behind the id. */
enum outcome job_call(struct cli *cli, const char *method, const char *id, const char *behind, json_t **out);

/* job_call that prints the record it is answered with: whole with --json, else its state. */
enum outcome job_change(struct cli *cli, const char *method, const char *id, const char *behind);

/* call_json of a submit: it gets an Idempotency-Key of its own unless it has one, so that it can be repeated. With
 * progress_bytes, and stderr a terminal, shows there how much of so many bytes is sent. */
enum outcome job_submit(struct cli *cli, struct transfer *t, uint64_t progress_bytes, json_t **out);

/* Waits until the job has ended, as long as it takes. *out: its record. EXIT_JOB when it did not complete. */
enum outcome job_wait(struct cli *cli, const char *id, json_t **out);

/* job_wait for verbs that want the result: complains where there will be none, and when interrupted says that the job
 * goes on. */
enum outcome job_complete(struct cli *cli, const char *id, json_t **out);

/* Fetches the job's result into the file, all of it or nothing; NULL: to stdout. accept: NULL for the kind's default.
 */
enum outcome job_result(struct cli *cli, const char *id, const char *accept, const char *file);

/* For verbs that do one thing to each job: calls each for every operand, goes on after one that fails, and returns
 * the worst outcome. An interrupt ends it, and an output that nobody reads any more. */
enum outcome for_each_operand(struct cli *cli, int first, enum outcome (*each)(struct cli *cli, const char *id));

/* ---- showing ---------------------------------------------------------------- */

/* Prints a word or sentence that others made; control characters become '?'. */
void print_text(const char *text);
void print_line(const char *text); /* and a newline */

/* Prints a record, or what else the gateway answered, as one line of JSON. */
void print_json(const json_t *doc);

/* Prints a record for people: a line each for what it says. */
void print_record(const json_t *record);

/* Prints "ID STATE", and of a failed job why. */
void print_state(const json_t *record);

/* Members of doc: "" or 0 when there is none. Texts are borrowed from doc. */
const char *text_of(const json_t *doc, const char *name);
int64_t     count_of(const json_t *doc, const char *name);

#endif
