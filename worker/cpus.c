/* SPDX-License-Identifier: Apache-2.0 */
/* cpus.c - reads the affinity mask, /proc/self/cgroup and the quota files.
 *
 * A container often sees its group's files at the top of the mount while
 * /proc/self/cgroup still names the path on the host; so files that are
 * missing are passed over, and the walk always ends at the top.
 */
#include "worker/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the cpu controller may be mounted, below root. */
static const char *const mounts_v1[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct",
                                        "/sys/fs/cgroup/cpuacct,cpu", NULL};
static const char *const mounts_v2[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL};

int cpus_by_affinity(void)
{
    cpu_set_t mask;

    if (sched_getaffinity(0, sizeof mask, &mask) != 0)
        return 1; /* more than 1024 CPUs: then MILLRACE_SLOTS has to say it */
    return CPU_COUNT(&mask) > 0 ? CPU_COUNT(&mask) : 1;
}

/* The first line of a small file; false when it cannot be read. */
static bool read_line(const char *path, char *line, int bytes)
{
    FILE *f = fopen(path, "re");
    bool  is_read = f && fgets(line, bytes, f);

    if (f)
        fclose(f);
    return is_read;
}

static long milli_cpus(long quota_us, long period_us)
{
    return quota_us > 0 && period_us > 0 ? (long)((double)quota_us * 1000 / (double)period_us) : -1;
}

/* The quota set in this very folder, or -1. */
static long quota_v1(const char *folder)
{
    char path[PATH_MAX], quota[64], period[64];

    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_line(path, quota, sizeof quota))
        return -1;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!read_line(path, period, sizeof period))
        return -1;
    return milli_cpus(atol(quota), atol(period));
}

/* The same; the file reads "200000 100000" or "max 100000". */
static long quota_v2(const char *folder)
{
    char path[PATH_MAX], line[128];
    long quota_us, period_us;

    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_line(path, line, sizeof line) || sscanf(line, "%ld %ld", &quota_us, &period_us) != 2)
        return -1;
    return milli_cpus(quota_us, period_us);
}

static long smaller(long a, long b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

/* The smallest quota from the group up to the mount's top. */
static long quota_upwards(const char *root, const char *mount, const char *group, long (*quota_in)(const char *folder))
{
    char folder[PATH_MAX];
    long least = -1;
    int  top = snprintf(folder, sizeof folder, "%s%s", root, mount);

    if (top + strlen(group) >= sizeof folder)
        return -1;
    strcat(folder, group);
    for (;;) {
        least = smaller(least, quota_in(folder));
        char *slash = strrchr(folder + top, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Whether a comma separated list has the word. */
static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ',') && (at[len] == '\0' || at[len] == ','))
            return true;
    return false;
}

long cpus_by_quota(const char *root)
{
    char  path[PATH_MAX], line[PATH_MAX];
    long  least = -1;
    FILE *f;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) { /* "4:cpu,cpuacct:/group" or "0::/group" */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *controllers++ = *group++ = '\0';
        bool is_v2 = *controllers == '\0';
        if (!is_v2 && !list_has(controllers, "cpu"))
            continue;
        for (const char *const *mount = is_v2 ? mounts_v2 : mounts_v1; *mount; mount++)
            least = smaller(least, quota_upwards(root, *mount, group, is_v2 ? quota_v2 : quota_v1));
    }
    if (f)
        fclose(f);
    return least;
}

int cpus_usable(const char *root)
{
    int  cpus = cpus_by_affinity();
    long milli = cpus_by_quota(root);

    if (milli >= 0 && milli / 1000 < cpus)
        cpus = (int)(milli / 1000);
    return cpus > 0 ? cpus : 1;
}
