/* SPDX-License-Identifier: Apache-2.0 */
/* map_options.c - see the header. */
#include "cli/map_options.h"

#include <stdlib.h>
#include <string.h>

#include "cli/query.h"
#include "common/buf.h"

#define JOBS_DEFAULT 64
#define PATIENCE_DEFAULT 300

enum { KIND, OPS, COMMAND, PARAM, JOBS, RETRIES, TIMEOUT, HALT, DRY_RUN, JOBLOG, RESUME, RESUME_FAILED };

const struct option map_option_rows[] = {
    [KIND] = {"kind", 'k', OPTION_TEXT, "KIND", "the kind of the jobs: image, hash ..", 0, 0,
              "image command hash spin"},
    [OPS] = {"ops", 0, OPTION_TEXT, "OPS", "what is done to images (rotate:45,scale:0.5); says --kind image", 0, 0,
             NULL},
    [COMMAND] = {"command", 'c', OPTION_TEXT, "NAME", "a command that the operator has listed; says --kind command", 0,
                 0, NULL},
    [PARAM] = {"param", 'p', OPTION_TEXT, "NAME=VALUE", "a parameter of the kind or command; may be repeated", 0, 0,
               NULL},
    [JOBS] = {"jobs", 'j', OPTION_COUNT, "N", "files under way at a time, at most (64)", 1, 4096, NULL},
    [RETRIES] = {"retries", 0, OPTION_COUNT, "N", "how often the fleet tries a file whose fault may pass", 1, 100,
                 NULL},
    [TIMEOUT] = {"timeout", 0, OPTION_COUNT, "SECONDS",
                 "of one attempt; it is killed after that; may be another with --resume", 1, 1000000000, NULL},
    [HALT] = {"halt", 0, OPTION_TEXT, "RULE", "give up after failures: soon,fail=N now,fail=N or ..,fail=P%", 0, 0,
              "never soon,fail=1 now,fail=1"},
    [DRY_RUN] = {"dry-run", 'n', OPTION_FLAG, NULL, "print what would be done, and do nothing", 0, 0, NULL},
    [JOBLOG] = {"joblog", 0, OPTION_FILE, "FILE", "a line for each file that ended, as GNU parallel writes it", 0, 0,
                NULL},
    [RESUME] = {"resume", 0, OPTION_FLAG, NULL, "go on with what is not done in OUTPUT", 0, 0, NULL},
    [RESUME_FAILED] = {"resume-failed", 0, OPTION_FLAG, NULL, "go on, and do those again that failed", 0, 0, NULL},
    {0},
};

static enum err put_query(const struct line *line, struct buf *target, struct fault *why)
{
    const char *param;

    if (line_has(line, COMMAND))
        query_put(target, "command", line_text(line, COMMAND, NULL));
    if (line_has(line, OPS))
        query_put(target, "ops", line_text(line, OPS, NULL));
    for (int at = 0; (param = line_next(line, PARAM, &at));)
        if (!query_put_pair(target, param))
            return fault_set(why, ERR_PARAM, "--param takes NAME=VALUE, not '%.80s'", param);
    return ERR_OK;
}

/* KIND?QUERY; NULL when the line says nothing of it. */
static enum err make_target(const struct line *line, char **out, struct fault *why)
{
    const char *implied = line_has(line, COMMAND) ? "command" : line_has(line, OPS) ? "image" : NULL;
    const char *kind = line_text(line, KIND, implied);
    struct buf  target = {0};
    enum err    e = ERR_OK;

    if (kind && implied && strcmp(kind, implied) != 0)
        e = fault_set(why, ERR_PARAM, "--%s goes with --kind %s", line_has(line, COMMAND) ? "command" : "ops", implied);
    if (!e && line_has(line, COMMAND) && line_has(line, OPS))
        e = fault_set(why, ERR_PARAM, "--command and --ops do not go together");
    if (!e && !kind && line_has(line, PARAM))
        e = fault_set(why, ERR_PARAM, "--kind is missing: what is to be done with the files?");
    query_escape(&target, kind ? kind : "");
    if (!e)
        e = put_query(line, &target, why);
    if (!e && kind)
        *out = buf_detach(&target);
    buf_free(&target);
    return e;
}

enum err map_options_read(const struct line *line, struct map_options *out, struct fault *why)
{
    const char *halt = line_text(line, HALT, "never");

    *out = (struct map_options){
        .dataset = line->operands[0],
        .output = line->operands[1],
        .joblog = line_text(line, JOBLOG, NULL),
        .limits = {line_count(line, RETRIES, 0), line_count(line, TIMEOUT, 0)},
        .jobs = (unsigned)line_count(line, JOBS, JOBS_DEFAULT),
        .patience_ms = line_count(line, OPTION_PATIENCE, PATIENCE_DEFAULT) * 1000,
        .is_dry = line_has(line, DRY_RUN),
        .resumes = line_has(line, RESUME) || line_has(line, RESUME_FAILED),
        .redoes_failed = line_has(line, RESUME_FAILED),
    };
    if (!halt_parse(halt, &out->halt))
        return fault_set(why, ERR_PARAM,
                         "--halt is '%.40s'; it takes never, soon,fail=N, now,fail=N, or a percentage: soon,fail=10%%",
                         halt);
    return make_target(line, &out->target, why);
}

void map_options_free(struct map_options *o)
{
    free(o->target);
    o->target = NULL;
}
