/* SPDX-License-Identifier: Apache-2.0 */
/* table.h - cells in columns, as wide as the widest of each, two blanks apart. */
#ifndef MILLRACE_CLI_TABLE_H
#define MILLRACE_CLI_TABLE_H

#include "common/buf.h"

#define TABLE_COLUMNS_MAX 16

struct table {
    int      columns;
    unsigned right; /* bit i: column i ends at its right edge, as numbers do */
    char   **cells; /* owned, row by row */
    size_t   count;
};

void table_init(struct table *t, int columns, unsigned right);

/* The next cell; control characters become '?'. */
void table_add(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The whole rows as lines, appended to out; t is empty then. */
void table_end(struct table *t, struct buf *out);

#endif
