/* SPDX-License-Identifier: Apache-2.0 */
/* programs.c - see the header. */
#include "worker/programs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"

void programs_find(const struct settings *settings, struct programs *out)
{
    const char *const configured[PROGRAM_COUNT] = {
#define PROGRAM(name, file) settings->name##_path,
#include "kinds/programs.def"
#undef PROGRAM
    };
    char    here[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", here, sizeof here - 1);
    char   *slash;

    here[len > 0 ? len : 0] = '\0';
    slash = strrchr(here, '/');
    *(slash ? slash + 1 : here) = '\0';
    for (int i = 0; i < PROGRAM_COUNT; i++) {
        bool is_long = !*configured[i] && strlen(here) + strlen(program_files[i]) >= PATH_MAX;

        snprintf(out->path[i], PATH_MAX, "%s", *configured[i] ? configured[i] : here);
        if (!*configured[i] && !is_long)
            strcat(out->path[i], program_files[i]);
        out->is_there[i] = !is_long && access(out->path[i], X_OK) == 0;
    }
}

static enum err read_names(const char *names, bool is_wanted[KIND_COUNT], struct fault *why)
{
    char    *text = xstrdup(names), *rest = text, *name;
    enum err e = ERR_OK;

    while (!e && (name = strsep(&rest, ","))) {
        int kind;

        name += strspn(name, " ");
        name[strcspn(name, " ")] = '\0';
        kind = kind_find(name);
        if (kind < 0 && name[0])
            e = fault_set(why, ERR_CONFIG, "MILLRACE_KINDS names '%.32s', and there is no such kind", name);
        if (kind >= 0)
            is_wanted[kind] = true;
    }
    free(text);
    return e;
}

/* Without a list of commands nobody can ask for one. */
static bool has_work(const struct settings *settings, int kind)
{
    return kind != KIND_ID_command || settings->commands_file[0];
}

enum err programs_choose_kinds(const struct settings *settings, const struct programs *programs,
                               bool is_wanted[KIND_COUNT], struct fault *why)
{
    bool     is_all = settings->kinds[0] == '\0', is_any = false;
    enum err e = read_names(settings->kinds, is_wanted, why);

    for (int i = 0; i < KIND_COUNT && !e; i++) {
        enum program_id program = kind_programs[i];

        is_wanted[i] |= is_all;
        if (is_all && !has_work(settings, i))
            is_wanted[i] = false;
        if (!is_wanted[i] || (programs->is_there[program] && has_work(settings, i))) {
            is_any |= is_wanted[i];
            continue;
        }
        if (!has_work(settings, i))
            return fault_set(why, ERR_CONFIG, "MILLRACE_KINDS names 'command', and MILLRACE_COMMANDS_FILE no commands");
        if (!is_all)
            return fault_set(why, ERR_CONFIG, "MILLRACE_KINDS names '%s', whose program %.160s is not there",
                             kinds[i]->name, programs->path[program]);
        is_wanted[i] = false;
        log_event(EVENT_KIND_NOT_SERVED, LOG_TEXT("kind", kinds[i]->name), LOG_TEXT("path", programs->path[program]));
    }
    if (e || is_any)
        return e;
    return fault_set(why, ERR_CONFIG, is_all ? "the program of no kind is there" : "MILLRACE_KINDS names no kind");
}
