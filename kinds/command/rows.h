/* SPDX-License-Identifier: Apache-2.0 */
/* rows.h - the parameters that every command has, in the order of spec.c. */
#ifndef MILLRACE_COMMAND_ROWS_H
#define MILLRACE_COMMAND_ROWS_H

enum { ROW_COMMAND, ROW_NAME, ROW_REST };

#endif
