/* SPDX-License-Identifier: Apache-2.0 */
/* list.h - the programs that an operator lets clients run: the file of MILLRACE_COMMANDS_FILE.
 *
 * One JSON object, a command each: {"NAME": {"argv": [..], ..}}. docs/commands.md has every field. The file is read and
 * checked as a whole when a program starts; whatever it says that is not understood is refused then, with file, command
 * and field, so that no job meets a mistake in it. Who runs the commands starts later, and again and again, and is
 * given a copy of what was checked: the file may be another by then.
 */
#ifndef MILLRACE_COMMAND_LIST_H
#define MILLRACE_COMMAND_LIST_H

#include <regex.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "kinds/kind.h"

enum command_input { INPUT_STDIN, INPUT_FILE, INPUT_DIRECTORY, INPUT_NONE };
enum command_output { OUTPUT_STDOUT, OUTPUT_FILE, OUTPUT_DIRECTORY };

/* What a client may choose. */
struct command_param {
    char   *name;
    char   *text; /* of the pattern, for people */
    regex_t pattern;
    char   *fallback; /* matches; NULL: the client must give a value */
};

#define EXIT_CODES 256

struct command {
    char              *name;
    char             **argv; /* NULL behind the last; the first is an absolute path, the others may have placeholders */
    enum command_input input;
    enum command_output   output;
    char                **environment; /* "NAME=VALUE", NULL behind the last */
    struct command_param *params;
    size_t                param_count;
    int64_t               timeout_s;               /* 0: the job's alone */
    uint64_t              memory_max;              /* bytes of each process; 0: the worker's */
    bool                  is_retry[EXIT_CODES];    /* by exit status; 128 + N where signal N ended it */
    char                  type[RESULT_TYPE_BYTES]; /* "": found out from the result */
    bool                  has_network;
};

struct commands;

/* Reads and checks the file; *out is owned. ERR_CONFIG. */
enum err commands_read(const char *path, struct commands **out, struct fault *why) MUST_CHECK;

/* Takes a copy of the file as it is now, into memory that nobody can change; *fd is owned. ERR_CONFIG. */
enum err commands_copy(const char *path, int *fd, struct fault *why) MUST_CHECK;

/* commands_read of such a copy; fd is borrowed, path is what sentences call it. */
enum err commands_read_copy(int fd, const char *path, struct commands **out, struct fault *why) MUST_CHECK;

/* Whether every program is there and may be run: for who runs them. ERR_CONFIG. */
enum err commands_check_programs(const struct commands *list, struct fault *why) MUST_CHECK;

/* NULL when no command is called so. */
const struct command *commands_find(const struct commands *list, const char *name);

/* Its parameter of this name, or NULL. */
const struct command_param *command_param_find(const struct command *c, const char *name);

/* Whether its pattern matches the whole value. */
bool command_param_takes(const struct command_param *p, const char *value);

void commands_free(struct commands *list); /* accepts NULL */

#endif
