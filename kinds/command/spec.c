/* SPDX-License-Identifier: Apache-2.0 */
/* command: a program that the operator has listed, run on the body. The client chooses which, and the parameters that
 * its entry declares. */
#include <math.h>

#include "kinds/command/fill.h"
#include "kinds/command/rows.h"
#include "kinds/kind.h"
#include "kinds/render.h"

#define NAME_MAX_BYTES 255     /* of a file, by most file systems */
#define VALUE_MAX_BYTES 1000   /* of one parameter */
#define INPUT_MAX (1ULL << 40) /* bytes; MILLRACE_UPLOAD_MAX is below it */

static const struct param params[] = {
    [ROW_COMMAND] = {"command", PARAM_TEXT, 1, 64, true, NAN, "", "which of the listed commands"},
    [ROW_NAME] = {"name", PARAM_TEXT, 1, NAME_MAX_BYTES, false, NAN, "", "what the program finds its input called"},
    [ROW_REST] = {"parameters", PARAM_REST, 0, VALUE_MAX_BYTES, false, NAN, "", "those that the command declares"},
    {.type = PARAM_END},
};

/* An empty file is a file. */
static enum err check_input(const struct command *c, const struct input *in, const struct limits *limits,
                            struct fault *why)
{
    bool is_empty = !in->body_len && !*in->refs;

    if (c->input == INPUT_NONE && !is_empty)
        return fault_set(why, ERR_BODY, "the command %s takes no input", c->name);
    return is_empty ? ERR_OK : input_check_raw(&command_spec, in, limits, why);
}

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    const struct command *c = NULL;
    enum err              e = command_choose(limits->commands, args, &c, why);

    *result_bytes = limits->result_max;
    return e ? e : check_input(c, in, limits, why);
}

static const struct intake intakes[] = {{0}};

static const struct rendering renderings[] = {
    {"", true, render_open_raw, render_read_raw, render_close_raw},
    {0},
};

const struct kind_spec command_spec = {
    .name = "command",
    .help = "runs a program that the operator has listed",
    .params = params,
    .intakes = intakes,
    .raw_max = INPUT_MAX,
    .renderings = renderings,
    .result_type = "application/octet-stream",
    .takes_body = true,
    .is_open_ended = true,
    .check = check,
};
