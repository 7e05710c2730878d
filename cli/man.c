/* SPDX-License-Identifier: Apache-2.0 */
/* man.c - millrace man: prints the manual page, from the tables that the parser reads. The build installs it. */
#include <string.h>

#include "cli/cli.h"

/* Text for roff: a backslash, and a dash that is to stay one, are escaped; no line begins with a control character. */
static void put(const char *text)
{
    bool is_start = true;

    for (; *text; text++) {
        if (is_start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
        is_start = *text == '\n';
    }
}

static void put_options(const struct option *table)
{
    for (const struct option *o = table; o->name; o++) {
        puts(".TP");
        if (o->letter)
            printf("\\fB\\-%c\\fR, ", o->letter);
        fputs("\\fB\\-\\-", stdout);
        put(o->name);
        printf("\\fR%s%s%s\n", o->value ? " \\fI" : "", o->value ? o->value : "", o->value ? "\\fR" : "");
        put(o->help);
        puts(".");
    }
}

static void put_verb(const struct verb *v)
{
    printf(".SS \"%s%s%s\"\n", v->name, *v->operands ? " " : "", v->operands);
    put(v->summary);
    puts(".");
    if (v->text)
        put(v->text);
    if (v->options)
        put_options(v->options);
}

static enum outcome run(struct cli *cli)
{
    (void)cli;
    puts(".TH MILLRACE 1 \"\" \"millrace " MILLRACE_VERSION "\" \"Millrace\"\n"
         ".SH NAME\nmillrace \\- the client of a Millrace gateway\n"
         ".SH SYNOPSIS\n.B millrace\n[\\fIOPTION\\fR...] \\fIVERB\\fR [\\fIOPERAND\\fR...]\n"
         ".SH DESCRIPTION\n"
         "Sends jobs to a fleet of workers by way of its gateway, follows them and fetches what they computed.\n"
         "What scripts read goes to stdout, everything else to stderr, a line beginning with \"millrace:\" for each\n"
         "thing that went wrong. While the gateway cannot be reached or is busy, a call is repeated as long as\n"
         "\\fB\\-\\-patience\\fR allows; a repeated submit makes one job. Behind \"\\-\\-\" all words are operands.\n"
         ".SH OPTIONS\nThese are taken before the verb or behind it.");
    put_options(common_options);
    puts(".SH VERBS");
    for (const struct verb *const *v = verbs; *v; v++)
        if (!(*v)->is_hidden)
            put_verb(*v);
    puts(".SH EXIT STATUS");
#define EXIT(name, status, sentence)                                                                                   \
    puts(".TP\n" #status);                                                                                             \
    put(sentence);                                                                                                     \
    puts(".");
#include "cli/exits.def"
#undef EXIT
    puts(".SH ENVIRONMENT\n.TP\n.B MILLRACE_URL\nThe gateway, or several with commas between, where \\fB\\-\\-url\\fR "
         "does not name one."
         " The next one is asked when one cannot be reached or is busy.\n"
         ".TP\n.B MILLRACE_API_KEY\nThe key, or @FILE, where \\fB\\-\\-key\\fR gives none. Others on the machine see a "
         "command line, not this.");
    puts(".SH EXAMPLES\n.nf\nmillrace matmul A.npy B.npy \\-o C.npy\n"
         "id=$(millrace submit hash iterations=1000000 \\-f photo.jpg)\n"
         "millrace wait \"$id\" && millrace result \"$id\"\nmillrace ls \\-\\-state failed \\-\\-json\n.fi");
    return EXIT_OK;
}

const struct verb verb_man = {
    .name = "man",
    .operands = "",
    .summary = "Print the manual page in the format of man",
    .is_offline = true,
    .is_hidden = true,
    .run = run,
};
