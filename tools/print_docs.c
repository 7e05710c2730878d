/* SPDX-License-Identifier: Apache-2.0 */
/* print_docs.c - prints the pages of docs/ that are tables of the code: print-docs settings|errors|metrics. */
#include <stdio.h>
#include <string.h>

#include "common/config.h"

static const char *const class_words[] = {
    [ERR_CLASS_NONE] = "",
    [ERR_CLASS_PERMANENT] = "fails for good",
    [ERR_CLASS_TRANSIENT] = "runs again, while attempts are left",
    [ERR_CLASS_LOSS] = "runs again, while losses are left",
};

static void print_settings(void)
{
    puts("# Settings\n\n"
         "Daemons are configured by environment variables alone. A name with the prefix `MILLRACE_` that is not in "
         "this\n"
         "table, or a value outside its bounds, is refused at start. Values in bytes take a suffix K, M or G.\n"
         "This page is printed by `build/release/print-docs settings` from `common/settings.def`.\n");
    config_print_markdown();
}

static void print_errors(void)
{
    puts("# Errors\n\n"
         "The `code` of a problem (`application/problem+json`) and of a job's `error`, with the HTTP status of the one "
         "and\n"
         "what the other means for the job. The `detail` beside it names the fault and where.\n"
         "This page is printed by `build/release/print-docs errors` from `common/err.def`.\n\n"
         "| code | status | means | a job's attempt that ends so |\n|---|---|---|---|");
    for (int e = ERR_OK + 1; e < ERR_COUNT; e++)
        printf("| `%s` | %d | %s | %s |\n", err_code(e), err_http(e), err_sentence(e), class_words[err_class(e)]);
}

static void print_metrics(void)
{
    puts("# Metrics\n\n"
         "What `GET /metrics` tells, in the Prometheus text format.\n"
         "This page is printed by `build/release/print-docs metrics` from `common/metrics.def`.\n\n"
         "| name | kind | meaning |\n|---|---|---|");
#define METRIC(id, kind, name, sentence) printf("| `%s` | %s | %s |\n", name, #kind, sentence);
#include "common/metrics.def"
#undef METRIC
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } pages[] = {{"settings", print_settings}, {"errors", print_errors}, {"metrics", print_metrics}};

    for (size_t i = 0; argc == 2 && i < sizeof pages / sizeof *pages; i++)
        if (!strcmp(argv[1], pages[i].name)) {
            pages[i].print();
            return 0;
        }
    fputs("usage: print-docs settings|errors|metrics\n", stderr);
    return 2;
}
