/* SPDX-License-Identifier: Apache-2.0 */
/* map_journal.h - lines that are only ever appended, and read again whatever happened.
 *
 * A line is a few fields with tabs between them; a tab, newline or backslash
 * inside of one is written \t, \n, \\. A line counts when its newline is there:
 * what a killed client left behind the last one is cut off before the next
 * line is written.
 */
#ifndef MILLRACE_CLI_MAP_JOURNAL_H
#define MILLRACE_CLI_MAP_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

#define JOURNAL_FIELDS 8

struct journal_line {
    const char *fields[JOURNAL_FIELDS]; /* [0]: what the line says; those that are not there are "" */
    int         count;
    uint64_t    at; /* where the line begins */
};

/* Appends a line; the last of the fields (texts) is followed by NULL. */
void journal_put(struct buf *out, const char *word, ...) __attribute__((sentinel));

/* Hands each whole line to take, in order, until one returns false. *good_bytes: up to where lines were whole and
 * taken. ERR_IO when the file cannot be read. */
enum err journal_read(int fd, bool (*take)(void *ctx, const struct journal_line *line), void *ctx, uint64_t *good_bytes,
                      struct fault *why) MUST_CHECK;

/* The one line that begins at `at`; text is its memory. False: it cannot be read. */
bool journal_read_at(int fd, uint64_t at, struct buf *text, struct journal_line *line);

/* A field that must be a whole number; false: it is none. */
bool journal_number(const char *field, int64_t *out);

/* Writes all of it at the end of the file; lines is empty then. Where that fails it keeps what is not written, so that
 * the next call goes on in the middle of the line where this one ended. */
enum err journal_append(int fd, struct buf *lines, struct fault *why) MUST_CHECK;

#endif
