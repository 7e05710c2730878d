/* SPDX-License-Identifier: Apache-2.0 */
/* audit.c - millrace audit: whether every job that was accepted is accounted for. */
#include <stdlib.h>

#include "cli/jobs.h"

static void print_exception(const json_t *each)
{
    char *text = json_is_string(each) ? NULL : json_dumps(each, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENCODE_ANY);

    printf("  %s\n", text ? text : json_string_value(each));
    free(text);
}

static void print_audit(const json_t *audit, bool is_ok)
{
    const json_t *exceptions = json_object_get(audit, "exceptions"), *each;
    size_t        i;

    printf("%s: %lld accepted, %zu exception%s\n", is_ok ? "ok" : "not ok", (long long)count_of(audit, "accepted"),
           json_array_size(exceptions), json_array_size(exceptions) == 1 ? "" : "s");
    json_array_foreach(exceptions, i, each) print_exception(each);
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
        "printed, and the exit status is 1.\n",
    .run = run,
};
