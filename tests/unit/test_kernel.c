/* SPDX-License-Identifier: Apache-2.0 */
/* test_kernel.c - which kernels are worthy, and which is chosen when an executor (here a script) measures them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "worker/kernel.h"

static char script[] = "/tmp/test_kernel_XXXXXX";

/* An executor whose library takes `core` by itself, and has these speeds ("SkylakeX) 98" is a branch of a case). */
static void write_script(const char *core, const char *speeds)
{
    FILE *f = fopen(script, "w");

    assert_non_null(f);
    fprintf(f,
            "#!/bin/sh\n[ \"$1\" = --kernel ] || exit 1\ncore=${OPENBLAS_CORETYPE:-%s}\ncase $core in\n%s\n"
            "*) speed=1;; esac\n"
            "echo '{\"library\":\"openblas\",\"core\":\"'$core'\",\"threads\":1,\"gflops\":'$speed'}'\n",
            core, speeds);
    fclose(f);
    chmod(script, 0700);
}

static int set_up(void **state)
{
    int fd = mkstemp(script);

    (void)state;
    unsetenv("OPENBLAS_CORETYPE");
    return fd < 0 || close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(script);
}

static void kernel__is_worthy_when_it_uses_what_the_cpu_has(void **state)
{
    (void)state;
    assert_true(kernel_is_worthy("openblas SkylakeX", KERNEL_AVX512));
    assert_true(kernel_is_worthy("openblas Cooperlake", KERNEL_AVX512));
    assert_false(kernel_is_worthy("openblas Haswell", KERNEL_AVX512));
    assert_false(kernel_is_worthy("openblas Zen", KERNEL_AVX512));
    assert_false(kernel_is_worthy("openblas Prescott", KERNEL_AVX512));
    assert_true(kernel_is_worthy("openblas Haswell", KERNEL_AVX2));
    assert_true(kernel_is_worthy("openblas zen", KERNEL_AVX2));
    assert_false(kernel_is_worthy("openblas Prescott", KERNEL_AVX2));
    assert_true(kernel_is_worthy("openblas Prescott", KERNEL_PLAIN));
    assert_false(kernel_is_worthy("blis generic", KERNEL_AVX512));
    assert_true(kernel_is_worthy("blis skx", KERNEL_AVX512));
    assert_true(kernel_is_worthy("blis zen3", KERNEL_AVX2));
    assert_true(kernel_is_worthy("another Thing", KERNEL_AVX512));
    assert_true(kernel_is_worthy("", KERNEL_AVX512));
}

static void kernel__that_the_environment_names_is_doubtful(void **state)
{
    (void)state;
    assert_false(kernel_is_doubtful("another Thing"));
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    assert_true(kernel_is_doubtful("openblas SkylakeX"));
    assert_false(kernel_is_doubtful("another Thing"));
    unsetenv("OPENBLAS_CORETYPE");
}

static struct kernel_choice choose(const char *core, const char *speeds, const char *forced)
{
    struct kernel_choice choice;
    char                 name[64];

    if (forced)
        setenv("OPENBLAS_CORETYPE", forced, 1);
    if (speeds)
        write_script(core, speeds);
    snprintf(name, sizeof name, "openblas %s", core);
    kernel_choose(speeds ? script : "/nowhere/executor", name, KERNEL_AVX512, &choice);
    unsetenv("OPENBLAS_CORETYPE");
    return choice;
}

static void kernel__the_fastest_is_chosen(void **state)
{
    struct kernel_choice c =
        choose("Prescott", "Prescott) speed=18.5;; SkylakeX) speed=98;; Haswell) speed=55;;", NULL);

    (void)state;
    assert_string_equal(c.setting, "OPENBLAS_CORETYPE=SkylakeX");
    assert_string_equal(c.sentence, "executors use SkylakeX, no other is clearly faster (GFLOP/s: Prescott (by itself) 18.5, "
                                    "SkylakeX 98.0, Haswell 55.0)");
    assert_false(c.is_warning);
}

static void kernel__what_comes_by_itself_stays_when_nothing_is_clearly_faster(void **state)
{
    struct kernel_choice c = choose("Zen", "Zen) speed=95;; SkylakeX) speed=98;; Haswell) speed=94;;", NULL);

    (void)state;
    assert_string_equal(c.setting, "");
    assert_string_equal(c.sentence,
                        "executors use Zen, no other is clearly faster (GFLOP/s: Zen (by itself) 95.0, SkylakeX 98.0, "
                        "Haswell 94.0)");
    assert_false(c.is_warning);
}

static void kernel__a_library_without_a_worthy_one_is_warned_of(void **state)
{
    struct kernel_choice c = choose("Generic", "*) core=Generic; speed=18;;", NULL);

    (void)state;
    assert_string_equal(c.setting, "");
    assert_string_equal(c.sentence, "executors use Generic, which is slow for this CPU, and nothing better was found "
                                    "(GFLOP/s: Generic (by itself) 18.0, Generic 18.0, Generic 18.0)");
    assert_true(c.is_warning);
}

static void kernel__a_slow_one_in_the_environment_is_warned_of(void **state)
{
    struct kernel_choice c =
        choose("Cooperlake", "Cooperlake) speed=99;; SkylakeX) speed=98;; Haswell) speed=55;;", "Haswell");

    (void)state;
    assert_string_equal(c.setting, "");
    assert_true(c.is_warning);
    assert_string_equal(c.sentence, "OPENBLAS_CORETYPE=Haswell in the environment is slow here and is not passed on; "
                                    "executors use Cooperlake (GFLOP/s: Cooperlake (by itself) 99.0, Haswell 55.0, "
                                    "SkylakeX 98.0)");
}

static void kernel__a_fast_one_in_the_environment_is_used(void **state)
{
    struct kernel_choice c = choose("Haswell", "Haswell) speed=55;; SkylakeX) speed=98;; New) speed=120;;", "New");

    (void)state;
    assert_string_equal(c.setting, "OPENBLAS_CORETYPE=New");
    assert_false(c.is_warning);
}

static void kernel__trials_that_fail_change_nothing(void **state)
{
    struct kernel_choice c = choose("Prescott", NULL, NULL);

    (void)state;
    assert_string_equal(c.setting, "");
    assert_true(c.is_warning);
    assert_string_equal(c.sentence, "executors use Prescott, which is slow for this CPU, and nothing better was found "
                                    "(GFLOP/s: by itself failed, SkylakeX failed, Haswell failed)");
    c = choose("Prescott", "Prescott) speed=18.5;; SkylakeX) exit 3;; Haswell) echo nonsense; exit;;", NULL);
    assert_string_equal(c.setting, "");
    c = choose("Cooperlake", "Cooperlake) speed=99;; Hang) exec sleep 60;; SkylakeX) speed=20;;", "Hang");
    assert_string_equal(c.setting, "");
    assert_true(c.is_warning);
    assert_non_null(strstr(c.sentence, "Hang failed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel__is_worthy_when_it_uses_what_the_cpu_has),
        cmocka_unit_test(kernel__that_the_environment_names_is_doubtful),
        cmocka_unit_test(kernel__the_fastest_is_chosen),
        cmocka_unit_test(kernel__what_comes_by_itself_stays_when_nothing_is_clearly_faster),
        cmocka_unit_test(kernel__a_library_without_a_worthy_one_is_warned_of),
        cmocka_unit_test(kernel__a_slow_one_in_the_environment_is_warned_of),
        cmocka_unit_test(kernel__a_fast_one_in_the_environment_is_used),
        cmocka_unit_test(kernel__trials_that_fail_change_nothing),
    };

    return cmocka_run_group_tests_name("kernel", tests, set_up, tear_down);
}
