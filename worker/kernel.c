/* SPDX-License-Identifier: Apache-2.0 */
/* kernel.c - names that are known, trials, and the choice between them. */
#include "worker/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"

#define TRIAL_MS 3000
#define TRIALS_MAX 6
#define CORE_BYTES 32
#define WORTH_WHILE 1.08 /* times faster than what comes by itself: less may be the noise of the moment */

/* For each library: the variable that names a kernel, the cores that use what a class has, and the values to try,
 * by rising class. BLIS wants numbers; those of its enum arch_t, version 0.9. */
static const struct library {
    const char *name, *variable;
    const char *worthy[3][9];
    const char *values[3][4];
} libraries[] = {
    {"openblas",
     "OPENBLAS_CORETYPE",
     {[KERNEL_AVX2] = {"Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids"},
      [KERNEL_AVX512] = {"SkylakeX", "Cooperlake", "SapphireRapids"}},
     {[KERNEL_AVX2] = {"Haswell", "Zen"}, [KERNEL_AVX512] = {"SkylakeX", "Haswell"}}},
    {"blis",
     "BLIS_ARCH_TYPE",
     {[KERNEL_AVX2] = {"haswell", "zen", "zen2", "zen3", "zen4", "zen5", "skx"},
      [KERNEL_AVX512] = {"skx", "zen4", "zen5"}},
     {[KERNEL_AVX2] = {"3"}, [KERNEL_AVX512] = {"0", "3"}}},
};
#define LIBRARY_COUNT (sizeof libraries / sizeof *libraries)

/* One kernel, asked for by a value of the variable. */
struct trial {
    const char *value;            /* "": what the library takes by itself */
    char        core[CORE_BYTES]; /* what that came to */
    double      gflops;           /* 0: it could not be measured */
};

enum kernel_class kernel_class_of_cpu(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return KERNEL_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return KERNEL_AVX2;
#endif
    return KERNEL_PLAIN;
}

/* The row of the library that "LIBRARY CORE" begins with, and *core; NULL when it is not known. */
static const struct library *find_library(const char *name, const char **core)
{
    size_t len = strcspn(name, " ");

    *core = name[len] ? name + len + 1 : "";
    for (size_t i = 0; i < LIBRARY_COUNT; i++)
        if (strlen(libraries[i].name) == len && !strncmp(libraries[i].name, name, len))
            return &libraries[i];
    return NULL;
}

bool kernel_is_worthy(const char *name, enum kernel_class class)
{
    const char           *core;
    const struct library *l = find_library(name, &core);
    const char *const    *worthy = l ? l->worthy[class] : NULL;

    if (!worthy || !worthy[0])
        return true;
    while (*worthy && strcasecmp(*worthy, core) != 0)
        worthy++;
    return *worthy;
}

bool kernel_is_doubtful(const char *name)
{
    const char           *core;
    const struct library *l = find_library(name, &core);

    return (l && getenv(l->variable)) || !kernel_is_worthy(name, kernel_class_of_cpu());
}

/* ---- trials -------------------------------------------------------------------- */

/* Starts `path --kernel` with the setting (NULL: none) and nothing else that matters; *out: its standard output.
 * Returns the process, or -1. */
static pid_t start_trial(const char *path, const char *setting, int *out)
{
    static const char *const   passed[] = {"PATH", "LD_LIBRARY_PATH"};
    char                      *argv[] = {(char *)path, "--kernel", NULL}, *environment[4] = {NULL};
    int                        ends[2], count = 0;
    posix_spawn_file_actions_t files;
    pid_t                      pid;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        const char *value = getenv(passed[i]);

        if (value && asprintf(&environment[count], "%s=%s", passed[i], value) >= 0)
            count++;
    }
    environment[count] = (char *)setting;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
    if (posix_spawn(&pid, path, &files, NULL, argv, environment) != 0)
        pid = -1;
    posix_spawn_file_actions_destroy(&files);
    while (count > 0)
        free(environment[--count]);
    close(ends[1]);
    if (pid < 0)
        close(ends[0]);
    *out = ends[0];
    return pid;
}

/* Reads until the other end closes; false when the time is over. */
static bool read_all(int fd, char *text, size_t room)
{
    int64_t end_ms = mono_ms() + TRIAL_MS, left_ms;
    size_t  len = 0;

    while (len + 1 < room && (left_ms = end_ms - mono_ms()) > 0) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        ssize_t       got = poll(&wait, 1, (int)left_ms) > 0 ? read(fd, text + len, room - 1 - len) : -1;

        if (got > 0)
            len += (size_t)got;
        text[len] = 0;
        if (got == 0)
            return true;
    }
    return false;
}

static void measure(const char *path, const struct library *l, struct trial *t)
{
    char        setting[KERNEL_SETTING_BYTES], text[512];
    int         fd;
    pid_t       pid;
    json_t     *doc;
    const char *core;

    snprintf(setting, sizeof setting, "%s=%s", l->variable, t->value);
    pid = start_trial(path, *t->value ? setting : NULL, &fd);
    if (pid < 0)
        return;
    if (!read_all(fd, text, sizeof text)) {
        kill(pid, SIGKILL);
        text[0] = 0;
    }
    close(fd);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    doc = json_loads(text, 0, NULL);
    core = json_string_value(json_object_get(doc, "core"));
    if (core) {
        snprintf(t->core, sizeof t->core, "%s", core);
        t->gflops = json_number_value(json_object_get(doc, "gflops"));
    }
    json_decref(doc);
}

/* ---- the choice ------------------------------------------------------------------ */

/* Itself first, then what the environment names, then what suits the class, each value once. */
static int list_trials(const struct library *l, enum kernel_class class, const char *forced, struct trial *trials)
{
    int count = 0;

    trials[count++] = (struct trial){.value = ""};
    if (forced && *forced)
        trials[count++] = (struct trial){.value = forced};
    for (const char *const *v = l->values[class]; *v; v++)
        if (!forced || strcasecmp(*v, forced) != 0)
            trials[count++] = (struct trial){.value = *v};
    return count;
}

static const struct trial *pick(const struct trial *trials, int count)
{
    const struct trial *best = trials;

    for (const struct trial *t = trials + 1; t < trials + count; t++)
        if (t->gflops > best->gflops * (best == trials ? WORTH_WHILE : 1))
            best = t;
    return best;
}

/* Whether one of the trials had a kernel that uses what the class has: else the library has none, or is deaf. */
static bool has_worthy(const struct library *l, enum kernel_class class, const struct trial *trials, int count)
{
    char name[64];

    for (const struct trial *t = trials; t < trials + count; t++) {
        snprintf(name, sizeof name, "%s %s", l->name, t->core);
        if (t->gflops > 0 && kernel_is_worthy(name, class))
            return true;
    }
    return false;
}

/* What all trials came to: "Haswell 55.1, SkylakeX 98.2". */
static void list_results(const struct trial *trials, int count, struct buf *out)
{
    for (int i = 0; i < count; i++) {
        if (trials[i].gflops > 0)
            buf_printf(out, "%s%s%s %.1f", i ? ", " : "", trials[i].core, i ? "" : " (by itself)", trials[i].gflops);
        else
            buf_printf(out, "%s%s failed", i ? ", " : "", *trials[i].value ? trials[i].value : "by itself");
    }
}

void kernel_choose(const char *path, const char *name, enum kernel_class class, struct kernel_choice *out)
{
    const char           *core;
    const struct library *l = find_library(name, &core);
    struct trial          trials[TRIALS_MAX];
    const struct trial   *best;
    const char           *forced = l ? getenv(l->variable) : NULL;
    struct buf            results = {0};
    char                 *text;
    int                   count;

    *out = (struct kernel_choice){.setting = ""};
    if (!l)
        return;
    count = list_trials(l, class, forced, trials);
    for (int i = 0; i < count; i++)
        measure(path, l, &trials[i]);
    best = pick(trials, count);
    list_results(trials, count, &results);
    text = buf_detach(&results);
    if (*best->value)
        snprintf(out->setting, sizeof out->setting, "%s=%s", l->variable, best->value);
    out->is_warning = !has_worthy(l, class, trials, count);
    if (forced && *forced && best->gflops > trials[1].gflops * WORTH_WHILE) {
        out->is_warning = true;
        snprintf(out->sentence, sizeof out->sentence,
                 "%s=%s in the environment is slow here and is not passed on; executors use %s (GFLOP/s: %s)",
                 l->variable, forced, best->core, text);
    } else {
        snprintf(
            out->sentence, sizeof out->sentence, "executors use %s, %s (GFLOP/s: %s)", *best->core ? best->core : core,
            out->is_warning ? "which is slow for this CPU, and nothing better was found" : "no other is clearly faster",
            text);
    }
    free(text);
}
