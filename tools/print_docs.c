/* SPDX-License-Identifier: Apache-2.0 */
/* print_docs.c - prints the pages of docs/ that are tables of the code: print-docs PAGE. */
#include <stdio.h>
#include <string.h>

#include "common/config.h"
#include "common/log.h"
#include "kinds/image/image.h"
#include "kinds/image/ops.h"

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
         "What `GET /metrics` of a gateway tells, and of a worker with `MILLRACE_PROBE_PORT`, in the Prometheus text\n"
         "format.\n"
         "This page is printed by `build/release/print-docs metrics` from `common/metrics.def`.\n\n"
         "| name | kind | meaning |\n|---|---|---|");
#define METRIC(id, kind, name, sentence) printf("| `%s` | %s | %s |\n", name, #kind, sentence);
#include "common/metrics.def"
#undef METRIC
}

static void print_events(void)
{
    puts(
        "# Events\n\n"
        "The `event` of a log line: what each means, and who says it where not all do. The form of the lines, and how\n"
        "to search them: [logs.md](logs.md). This page is printed by `build/release/print-docs events` from\n"
        "`common/events.def`.\n\n"
        "| event | level | meaning |\n|---|---|---|");
    for (int e = 0; e < EVENT_COUNT; e++)
        printf("| `%s` | %s | %s |\n", log_event_name((enum log_event)e), log_event_level((enum log_event)e),
               log_event_sentence((enum log_event)e));
}

static void print_image(void)
{
    puts("# Images\n\n"
         "`POST /jobs/image?ops=rotate:45,scale:0.5` with an image file as its body: JPEG, PNG, WebP or TIFF. The "
         "result is\n"
         "a file of the same format unless `convert` names another. The operations are done in their order, in one "
         "pass:\n"
         "between them nothing is compressed. This page is printed by `build/release/print-docs image`.\n\n"
         "| operation | value | what it does |\n|---|---|---|");
    for (int i = 0; i < OP_COUNT; i++)
        printf("| `%s` | %s | %s |\n", image_op_rows[i].name, image_op_rows[i].value, image_op_rows[i].help);
    printf(
        "\nSixteen operations at most, separated by commas, without blanks. What cannot be read is refused at submit "
        "with 400,\n"
        "by the number and text of the operation. `N` stands for `NxN`. The pluses of a crop may stand in a URL as "
        "they "
        "are.\n\n"
        "Further parameters: `quality` (1 to 100) of a JPEG or WebP, %d unless given; `strip=1` leaves metadata "
        "out, but the\n"
        "colour profile; `background=RRGGBB` shows in the corners that a rotation opens, and through what was "
        "transparent\n"
        "where the result is a JPEG (`" IMAGE_BACKGROUND "` unless given; an image with transparency gets "
        "transparent corners).\n\n",
        IMAGE_QUALITY);
    puts("## What is kept\n\n"
         "- **Orientation**: what EXIF says is done before the first operation, and the result says that it is "
         "upright.\n"
         "- **Pixels**: quarter turns, flips and crops of PNG and TIFF, and of a WebP that came without loss (it "
         "stays so unless\n"
         "  `quality` is given), lose nothing that can be seen. A JPEG for which nothing but quarter turns, flips and "
         "`strip` is\n"
         "  asked, without `quality`, is not decoded at all: its coefficients are moved, and four turns give the same "
         "image back.\n"
         "  Where a side that comes to lie on the left or on top ends within a block of 8 or 16 pixels that is not "
         "possible: such\n"
         "  a JPEG is decoded and encoded like any other. Every JPEG that comes out is a baseline one, not "
         "progressive.\n"
         "- **Metadata**: EXIF, XMP, IPTC and colour profile go along as far as the format of the result has a place "
         "for them\n"
         "  (TIFF: no EXIF, and no IPTC but inside of Photoshop's block). A thumbnail inside of EXIF is not made anew. "
         "`gray` drops\n"
         "  the profile of the colours.\n"
         "- **Depth**: 16 bits stay 16 bits where the format has them (PNG, TIFF). CMYK and Lab become sRGB when "
         "they are decoded.\n\n"
         "## What is refused\n");
    printf("- Files of more than %u MiB, and images of more than %d megapixels as their head says it, before a pixel "
           "is decoded;\n"
           "  so is an operation that would make more.\n",
           IMAGE_FILE_MAX >> 20, IMAGE_PIXELS_MAX / 1000000);
    puts("- Files of several pages or frames, and whatever is none of the four formats, is damaged or cut short: the "
         "job fails for\n"
         "  good with `bad-body` and what was wrong. (A crop may be done before the damage is reached. Of an animated "
         "PNG and of a\n"
         "  JPEG with further pictures behind it the first image is taken, as by viewers that know of no others.)\n"
         "- An image whose pixels do not fit into three quarters of `MILLRACE_MEMORY_MAX`, where they must be in "
         "memory as a\n"
         "  whole: `out-of-memory`. That is so for turns (EXIF's too), `flip:v`, WebP, and every `blur` or `sharpen` "
         "behind another;\n"
         "  everything else runs through line by line.\n\n"
         "Images are computed by a program of their own, `millrace-exec-image`, in the same jail as all jobs: no "
         "network, no\n"
         "files, no programs. It may make threads, which libvips wants; one of them computes. libvips is used\n"
         "with the loaders and savers of the four formats alone, without plugins, and without the code that it would "
         "make at\n"
         "run time.");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } pages[] = {{"settings", print_settings},
                 {"errors", print_errors},
                 {"metrics", print_metrics},
                 {"events", print_events},
                 {"image", print_image}};

    for (size_t i = 0; argc == 2 && i < sizeof pages / sizeof *pages; i++)
        if (!strcmp(argv[1], pages[i].name)) {
            pages[i].print();
            return 0;
        }
    fputs("usage: print-docs settings|errors|metrics|events|image\n", stderr);
    return 2;
}
