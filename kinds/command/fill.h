/* SPDX-License-Identifier: Apache-2.0 */
/* fill.h - what a client chose, put into what the operator listed.
 *
 * An argument of argv may contain {in}, {out} and the {name} of a parameter, any number of them, and {{ and }} for the
 * braces themselves. Whatever is put there stays within that one argument: there is no shell, and nothing is split.
 */
#ifndef MILLRACE_COMMAND_FILL_H
#define MILLRACE_COMMAND_FILL_H

#include "kinds/command/list.h"

#define PLACEHOLDER_IN "in"
#define PLACEHOLDER_OUT "out"

/* A piece of an argument. */
struct piece {
    const char *start; /* of the text, or of the placeholder's name */
    size_t      len;
    bool        is_name;
};

/* Takes the piece at *at off and moves on: 1; 0: the end; -1: a brace that belongs to no placeholder. */
int piece_next(const char **at, struct piece *out);

/* The command that args name, every parameter declared, given or with a default, and matching its pattern; the file
 * name fit to be one. ERR_PARAM. */
enum err command_choose(const struct commands *list, const struct args *args, const struct command **out,
                        struct fault *why) MUST_CHECK;

/* The name under which a program finds its input. Borrowed from args. */
const char *command_input_name(const struct args *args);

/* The arguments for args that were chosen so, NULL behind the last; in and out stand for their placeholders. Owned:
 * strings_free. */
char **command_argv(const struct command *c, const struct args *args, const char *in, const char *out);

/* Frees a list with NULL behind its last string; accepts NULL. */
void strings_free(char **list);

#endif
