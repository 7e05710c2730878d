/* SPDX-License-Identifier: Apache-2.0 */
/* test_cpus.c - CPU quotas, read from control group trees made for the purpose. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "worker/cpus.h"

/* Writes root + path, with all folders on the way. */
static void put(const char *root, const char *path, const char *text)
{
    char full[PATH_MAX];
    int  len = snprintf(full, sizeof full, "%s%s", root, path);

    assert_true(len > 0 && (size_t)len < sizeof full);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state)
{
    static char root[] = "/tmp/millrace-cpus-XXXXXX";

    strcpy(strrchr(root, '-') + 1, "XXXXXX");
    *state = mkdtemp(root);
    return *state ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[PATH_MAX];

    snprintf(command, sizeof command, "rm -rf '%s'", (const char *)*state);
    return system(command);
}

static void cpus__without_control_groups_there_is_no_quota(void **state)
{
    assert_int_equal(cpus_by_quota(*state), -1);
    assert_int_equal(cpus_usable(*state), cpus_by_affinity());
}

static void cpus__v2_quota_of_the_own_group(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/pod/one\n");
    put(*state, "/sys/fs/cgroup/pod/one/cpu.max", "250000 100000\n");
    assert_int_equal(cpus_by_quota(*state), 2500);
}

static void cpus__v2_max_is_no_quota(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/\n");
    put(*state, "/sys/fs/cgroup/cpu.max", "max 100000\n");
    assert_int_equal(cpus_by_quota(*state), -1);
}

static void cpus__the_smallest_quota_on_the_way_up_counts(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/pod/one\n");
    put(*state, "/sys/fs/cgroup/pod/one/cpu.max", "max 100000\n");
    put(*state, "/sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
    put(*state, "/sys/fs/cgroup/cpu.max", "400000 100000\n");
    assert_int_equal(cpus_by_quota(*state), 1500);
}

static void cpus__v2_path_of_the_host_falls_back_to_the_top_of_the_mount(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/kubepods/pod1234/abc\n");
    put(*state, "/sys/fs/cgroup/cpu.max", "100000 100000\n");
    assert_int_equal(cpus_by_quota(*state), 1000);
}

static void cpus__v1_quota_in_each_of_its_places(void **state)
{
    put(*state, "/proc/self/cgroup", "9:name=systemd:/\n4:cpuset:/x\n3:cpu,cpuacct:/docker/abc\n0::/\n");
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "300000\n");
    put(*state, "/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_by_quota(*state), 3000);
    put(*state, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    put(*state, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_by_quota(*state), 500);
}

static void cpus__v1_minus_one_is_no_quota(void **state)
{
    put(*state, "/proc/self/cgroup", "1:cpu:/\n");
    put(*state, "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    put(*state, "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_by_quota(*state), -1);
}

static void cpus__groups_of_other_controllers_do_not_count(void **state)
{
    put(*state, "/proc/self/cgroup", "2:cpuacct:/tight\n1:cpu:/\n");
    put(*state, "/sys/fs/cgroup/cpu/tight/cpu.cfs_quota_us", "10000\n");
    put(*state, "/sys/fs/cgroup/cpu/tight/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_by_quota(*state), -1);
}

static void cpus__are_at_least_one_and_rounded_down(void **state)
{
    put(*state, "/proc/self/cgroup", "0::/\n");
    put(*state, "/sys/fs/cgroup/cpu.max", "10000 100000\n");
    assert_int_equal(cpus_usable(*state), 1);
    put(*state, "/sys/fs/cgroup/cpu.max", "199000 100000\n");
    assert_int_equal(cpus_usable(*state), 1);
}

static void cpus__nonsense_in_the_files_is_no_quota(void **state)
{
    put(*state, "/proc/self/cgroup", "nonsense\n\n0::\n1:cpu\n0::/x\n");
    put(*state, "/sys/fs/cgroup/x/cpu.max", "\n");
    put(*state, "/sys/fs/cgroup/cpu.max", "100000 0\n");
    assert_int_equal(cpus_by_quota(*state), -1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(cpus__without_control_groups_there_is_no_quota),
        TEST(cpus__v2_quota_of_the_own_group),
        TEST(cpus__v2_max_is_no_quota),
        TEST(cpus__the_smallest_quota_on_the_way_up_counts),
        TEST(cpus__v2_path_of_the_host_falls_back_to_the_top_of_the_mount),
        TEST(cpus__v1_quota_in_each_of_its_places),
        TEST(cpus__v1_minus_one_is_no_quota),
        TEST(cpus__groups_of_other_controllers_do_not_count),
        TEST(cpus__are_at_least_one_and_rounded_down),
        TEST(cpus__nonsense_in_the_files_is_no_quota),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
