/* SPDX-License-Identifier: Apache-2.0 */
/* err.c - the rows of err.def as a table. */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct err_row {
    const char *code;
    int         http;
    enum err_class class;
    const char *sentence;
};

static const struct err_row rows[ERR_COUNT] = {
#define ERR(name, code, http, class, sentence) {code, http, ERR_CLASS_##class, sentence},
#include "common/err.def"
#undef ERR
};

enum err fault_set(struct fault *why, enum err err, const char *fmt, ...)
{
    va_list args;

    if (!why)
        return err;
    why->err = err;
    va_start(args, fmt);
    vsnprintf(why->detail, sizeof why->detail, fmt, args);
    va_end(args);
    return err;
}

const char    *err_code(enum err err) { return rows[err].code; }
int            err_http(enum err err) { return rows[err].http; }
enum err_class err_class(enum err err) { return rows[err].class; }
const char    *err_sentence(enum err err) { return rows[err].sentence; }

enum err err_from_code(const char *code)
{
    for (int i = 0; i < ERR_COUNT; i++)
        if (!strcmp(rows[i].code, code))
            return (enum err)i;
    return ERR_INTERNAL;
}
