/* SPDX-License-Identifier: Apache-2.0 */
/* help.c - what --help and the verb help print, from the tables. */
#include <string.h>

#include "cli/cli.h"

static void print_options(FILE *to, const struct option *table)
{
    for (const struct option *o = table; o->name; o++) {
        char left[64];

        snprintf(left, sizeof left, "%c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
                 o->letter ? ", " : "  ", o->name, o->value ? " " : "", o->value ? o->value : "");
        fprintf(to, "  %-24s %s\n", left, o->help);
    }
}

static void print_program(FILE *to)
{
    fputs("usage: millrace [OPTION...] VERB [OPERAND...]\n\n"
          "The client of a Millrace gateway. `millrace help VERB` says more about one.\n\n",
          to);
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->is_hidden)
            fprintf(to, "  %-11s %-24s %s\n", (*v)->name, (*v)->operands, (*v)->summary);
    fputs("\nWith every verb, before or behind it:\n", to);
    print_options(to, common_options);
    fputs("\nExit status:\n", to);
#define EXIT(name, status, sentence) fprintf(to, "  %3d  %s\n", status, sentence);
#include "cli/exits.def"
#undef EXIT
}

void help_print(FILE *to, const struct verb *verb)
{
    if (!verb) {
        print_program(to);
        return;
    }
    fprintf(to, "usage: millrace %s%s%s%s\n\n%s.\n", verb->name, verb->options ? " [OPTION...]" : "",
            *verb->operands ? " " : "", verb->operands, verb->summary);
    if (verb->text)
        fprintf(to, "\n%s", verb->text);
    fputs("\n", to);
    if (verb->options)
        print_options(to, verb->options);
    print_options(to, common_options);
}

static enum outcome run(struct cli *cli)
{
    const char        *name = cli->line.operand_count ? cli->line.operands[0] : NULL;
    const struct verb *verb = name ? verb_find(name) : NULL;

    if (name && !verb)
        return give_up(EXIT_USAGE, "'%.40s' is no verb; see millrace help", name);
    help_print(stdout, verb);
    return EXIT_OK;
}

const struct verb verb_help = {
    .name = "help",
    .operands = "[VERB]",
    .summary = "Say what the program, or a verb, does and takes",
    .operands_max = 1,
    .completes = OPERAND_VERB,
    .is_offline = true,
    .run = run,
};
