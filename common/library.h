/* SPDX-License-Identifier: Apache-2.0 */
/* library.h - shared libraries that are loaded when they are first needed.
 *
 * Some bring tens of others and megabytes along, and most processes of a fleet
 * never need them. Their functions are then called through a table.
 */
#ifndef MILLRACE_LIBRARY_H
#define MILLRACE_LIBRARY_H

#include <stddef.h>

#include "common/err.h"

/* One function of a library and its place in the table of pointers. */
struct library_function {
    const char *name;
    size_t      at; /* offsetof in the table */
};

/* Loads file (a name with its interface's number, "libcurl.so.4") for the rest of the process's life and fills in the
 * table. ERR_CONFIG when it is not installed or lacks a function; what: who needs it, for that sentence. */
enum err library_load(const char *file, const char *what, const struct library_function *functions, size_t count,
                      void *table, struct fault *why) MUST_CHECK;

#endif
