/* SPDX-License-Identifier: Apache-2.0 */
/* audit.c - millrace audit: whether every job that was accepted is accounted for. */
#include <stdlib.h>

#include "cli/jobs.h"

/* A job, a group, a counter of a kind, or a sum: what there is of it. */
static void print_exception(const json_t *each)
{
    static const char *const names[] = {"id", "kind", "state"};

    printf(" ");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (*text_of(each, names[i])) {
            putchar(' ');
            print_text(text_of(each, names[i]));
        }
    printf("%s: ", json_is_true(json_object_get(each, "suspected")) ? " (suspected)" : "");
    print_line(text_of(each, "why"));
}

static void print_audit(const json_t *audit, bool is_ok)
{
    const json_t *exceptions = json_object_get(audit, "exceptions"), *each;
    long long     more = (long long)count_of(audit, "more"), count = (long long)json_array_size(exceptions) + more;
    size_t        i;

    printf("%s: %lld accepted, %lld exception%s\n", is_ok ? "ok" : "not ok", (long long)count_of(audit, "accepted"),
           count, count == 1 ? "" : "s");
    json_array_foreach(exceptions, i, each) print_exception(each);
    if (more)
        printf("  and %lld more\n", more);
    json_array_foreach(json_object_get(audit, "unchecked"), i, each)
    {
        printf("not checked: ");
        print_line(json_is_string(each) ? json_string_value(each) : "");
    }
}

static enum outcome run(struct cli *cli)
{
    struct transfer t;
    json_t         *audit;
    bool            is_ok;
    enum outcome    o;

    transfer_init(&t, "GET", "/audit");
    o = call_json(cli, &t, &audit);
    if (o)
        return o;
    is_ok = json_is_true(json_object_get(audit, "ok"));
    if (cli->is_json)
        print_json(audit);
    else
        print_audit(audit, is_ok);
    json_decref(audit);
    return is_ok ? EXIT_OK : EXIT_JOB;
}

const struct verb verb_audit = {
    .name = "audit",
    .operands = "",
    .summary = "Check that every accepted job is accounted for",
    .text =
        "The gateway counts: accepted jobs are those pending, in progress, retrying, completed, failed and cancelled\n"
        "together, and each that has not ended is backed by a message, an outbox entry or a lease. What is not is\n"
        "printed, and the exit status is 1. Which job a message is of only a worker learns: where there are fewer\n"
        "messages than jobs that wait for one, the oldest of these are suspected.\n",
    .run = run,
};
