/* SPDX-License-Identifier: Apache-2.0 */
/* test_map_names.c - plans of datasets: what outputs are called, and what a later look at the dataset changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/map_names.h"
#include "cli/map_target.h"
#include "cli/map_walk.h"
#include "tests/unit/check.h"

static void plan_of(struct plan *p, const char *const *names)
{
    plan_init(p);
    for (; *names; names++)
        plan_add(p, *names, 1, 1);
    plan_sort(p);
    names_assign(p, 0);
}

static char *output_of(const struct plan *p, size_t index, const char *type)
{
    struct buf out = {0};

    names_output(plan_name(p, index), plan_base(p, index), type, &out);
    return buf_detach(&out);
}

static void check_output(const struct plan *p, const char *name, const char *type, const char *expected)
{
    for (size_t i = 0; i < p->count; i++)
        if (!strcmp(plan_name(p, i), name)) {
            char *output = output_of(p, i, type);

            assert_string_equal(output, expected);
            free(output);
            return;
        }
    fail_msg("%s is not in the plan", name);
}

static void names__follow_the_type_of_the_result(void **state)
{
    static const char *const names[] = {"a/oak.jpg", "b.JPEG", "c.tar.gz", "d",       "e.f/g",
                                        "dots/.h.x", "i.",     "j.tiff",   "k k.png", NULL};
    struct plan              p;

    (void)state;
    plan_of(&p, names);
    check_output(&p, "a/oak.jpg", "image/webp", "a/oak.webp");
    check_output(&p, "a/oak.jpg", "image/jpeg", "a/oak.jpg");
    check_output(&p, "a/oak.jpg", "IMAGE/PNG; x=y", "a/oak.png");
    check_output(&p, "b.JPEG", "image/jpeg", "b.JPEG");
    check_output(&p, "c.tar.gz", "text/plain", "c.tar.txt");
    check_output(&p, "d", "application/json", "d.json");
    check_output(&p, "e.f/g", "application/json", "e.f/g.json");
    check_output(&p, "i.", "application/json", "i..json");
    check_output(&p, "j.tiff", "image/tiff", "j.tiff");
    check_output(&p, "k k.png", "application/octet-stream", "k k.png");
    check_output(&p, "k k.png", "", "k k.png");
    plan_free(&p);
}

static void names__that_would_meet_are_kept_apart(void **state)
{
    static const char *const names[] = {"oak.jpg", "oak.png", "elm.jpg", "x/oak.jpg", NULL};
    struct plan              p;

    (void)state;
    plan_of(&p, names);
    check_output(&p, "oak.jpg", "image/webp", "oak.jpg.webp");
    check_output(&p, "oak.png", "image/webp", "oak.png.webp");
    check_output(&p, "oak.jpg", "image/jpeg", "oak.jpg");
    check_output(&p, "elm.jpg", "image/webp", "elm.webp");
    check_output(&p, "x/oak.jpg", "image/webp", "x/oak.webp");
    plan_free(&p);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Whatever types the results have, no two outputs are the same. */
static void check_distinct(const struct plan *p)
{
    static const char *const types[] = {"image/jpeg", "image/png", "image/webp", "", "application/json"};
    char                    *outputs[64];
    size_t                   all = 1;

    for (size_t i = 0; i < p->count; i++)
        all *= 5;
    for (size_t choice = 0; choice < all; choice++) {
        size_t rest = choice;

        for (size_t i = 0; i < p->count; i++, rest /= 5)
            outputs[i] = output_of(p, i, types[rest % 5]);
        qsort(outputs, p->count, sizeof *outputs, by_text);
        for (size_t i = 1; i < p->count; i++)
            assert_string_not_equal(outputs[i - 1], outputs[i]);
        for (size_t i = 0; i < p->count; i++)
            free(outputs[i]);
    }
}

static void names__of_two_files_never_meet(void **state)
{
    static const char *const datasets[][8] = {
        {"a.jpg", "a.png", "a.jpg.png", "a.jpg.webp", "a", NULL},
        {"a", "a.jpg", "a~2", "a~2.png", "a.jpg~2", NULL},
        {"a.jpg", "a.jpg.jpg", "a.jpg.jpg.jpg", "a.png", "a.jpg~2.webp", NULL},
        {"b.png.webp", "b.png", "b.webp", "b.jpg.webp", "b.jpg", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof datasets / sizeof *datasets; i++) {
        struct plan p;

        plan_of(&p, datasets[i]);
        check_distinct(&p);
        plan_free(&p);
    }
}

static void nothing(void *ctx, size_t index)
{
    (void)index;
    ++*(size_t *)ctx;
}

static void names__of_files_that_come_later_spare_those_before(void **state)
{
    static const char *const first[] = {"a.jpg", "b.png", "c.jpg", "c.png", NULL};
    static const char *const later[] = {"a.jpg", "a.png", "b.png.jpg", "c.jpg", "c.jpg.webp", NULL};
    struct plan              p, found;
    size_t                   changed = 0;

    (void)state;
    plan_of(&p, first);
    plan_of(&found, later);
    plan_merge(&p, &found, nothing, &changed);
    names_assign(&p, 4);
    assert_int_equal(p.count, 7);
    assert_int_equal(changed, 3);
    assert_true(p.files[1].is_gone && p.files[3].is_gone);
    check_output(&p, "a.jpg", "image/png", "a.png"); /* as before */
    check_output(&p, "a.png", "image/png", "a.png~2.png");
    check_distinct(&p);
    plan_free(&p);
    plan_free(&found);
}

static void plan__a_changed_file_is_to_be_done_again(void **state)
{
    struct plan p, found;
    size_t      changed = 0;

    (void)state;
    plan_init(&p);
    plan_init(&found);
    for (int i = 0; i < 3; i++) {
        size_t index = plan_add(&p, (char[]){(char)('a' + i), 0}, 10, 20);

        p.files[index].state = PLAN_DONE;
    }
    plan_add(&found, "a", 11, 20);
    plan_add(&found, "b", 10, 21);
    plan_add(&found, "c", 10, 20);
    plan_merge(&p, &found, nothing, &changed);
    assert_int_equal(changed, 2);
    assert_int_equal(p.files[0].state, PLAN_TO_DO);
    assert_int_equal(p.files[1].state, PLAN_TO_DO);
    assert_int_equal(p.files[1].again, 1);
    assert_int_equal(p.files[2].state, PLAN_DONE);
    assert_int_equal(plan_count(&p).to_do, 2);
    plan_free(&p);
    plan_free(&found);
}

static void nameset__grows_and_finds(void **state)
{
    struct plan p;
    char        name[32];

    (void)state;
    plan_init(&p);
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "%d.jpg", i / 2);
        if (i % 2)
            snprintf(name, sizeof name, "%d.png", i / 2);
        plan_add(&p, name, 1, 1);
    }
    names_assign(&p, 0);
    for (size_t i = 0; i < p.count; i++)
        assert_string_equal(plan_base(&p, i), plan_name(&p, i));
    plan_free(&p);
}

static void walk__takes_files_and_links_to_files_in_order(void **state)
{
    char                 root[] = "/tmp/millrace-walk-XXXXXX", path[128];
    static const char   *files[] = {"b/2", "b/1", "a", ".no", "b/.no", "c d/e/f"};
    struct walk_left_out left_out;
    struct plan          p;

    (void)state;
    assert_non_null(mkdtemp(root));
    assert_int_equal(chdir(root), 0);
    mkdir("b", 0700);
    mkdir("c d", 0700);
    mkdir("c d/e", 0700);
    mkdir(".hidden", 0700);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        fclose(fopen(files[i], "w"));
    assert_int_equal(symlink("a", "z"), 0);
    assert_int_equal(symlink("b", "y"), 0);
    assert_int_equal(symlink("nowhere", "x"), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    plan_init(&p);
    assert_int_equal(walk_dataset(root, &p, &left_out, NULL), ERR_OK);
    assert_int_equal(p.count, 5);
    assert_string_equal(plan_name(&p, 0), "a");
    assert_string_equal(plan_name(&p, 1), "b/1");
    assert_string_equal(plan_name(&p, 3), "c d/e/f");
    assert_string_equal(plan_name(&p, 4), "z");
    assert_int_equal(left_out.hidden, 3);
    assert_int_equal(left_out.links, 2);
    assert_int_equal(left_out.others, 1);
    plan_free(&p);
    snprintf(path, sizeof path, "rm -r %s", root);
    assert_int_equal(system(path), 0);
}

static void check_target(const char *target, struct try_limits limits, const char *name, const char *expected)
{
    struct buf out = {0};

    target_put_file(target, &limits, "g", name, &out);
    buf_append(&out, "", 1);
    assert_string_equal(out.data, expected);
    buf_free(&out);
}

static void target__says_what_a_file_is_posted_to(void **state)
{
    static const char *const names[][2] = {
        {"oak.jpg", "oak.jpg"},
        {"herbs/sage leaf.png", "sage%20leaf.png"},
        {"Bl\xc3\xbcten/\xe6\xa4\xbf.webp", "%E6%A4%BF.webp"},
        {"a/-rf", "_rf"}, /* what an option parser or a terminal would take amiss */
        {"line\nbreak\x7f.txt", "line_break_.txt"},
        {"\xff\xc3.txt", "__.txt"},
        {"cut\xe6\xa4", "cut__"},
        {"a&b=c#d+e%", "a%26b%3Dc%23d%2Be%25"},
    };

    (void)state;
    check_target("hash", (struct try_limits){0, 0}, "a", "hash?group=g");
    check_target("hash?iterations=1", (struct try_limits){3, 60}, "a",
                 "hash?iterations=1&attempts=3&timeout=60&group=g");
    check_target("command?command=x&name=all", (struct try_limits){0, 0}, "a", "command?command=x&name=all&group=g");
    check_target("commander?x=name", (struct try_limits){0, 0}, "a", "commander?x=name&group=g");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf expected = {0};

        buf_printf(&expected, "command?command=x&group=g&name=%s", names[i][1]);
        buf_append(&expected, "", 1);
        check_target("command?command=x", (struct try_limits){0, 0}, names[i][0], expected.data);
        buf_free(&expected);
    }
}

static void target__tells_the_type_of_the_results(void **state)
{
    (void)state;
    assert_string_equal(target_result_type("hash?iterations=1"), "application/json");
    assert_string_equal(target_result_type("hasher"), "");
    assert_string_equal(target_result_type("image?ops=flip"), "");
    assert_string_equal(target_result_type("image?ops=flip,convert:webp,blur:1&quality=9"), "image/webp");
    assert_string_equal(target_result_type("image?ops=convert:tiff&strip=1"), "image/tiff");
    assert_string_equal(target_result_type("image?ops=convert:nonsense"), "");
    assert_string_equal(target_result_type("command?command=x&ops=convert:png"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names__follow_the_type_of_the_result),
        cmocka_unit_test(names__that_would_meet_are_kept_apart),
        cmocka_unit_test(names__of_two_files_never_meet),
        cmocka_unit_test(names__of_files_that_come_later_spare_those_before),
        cmocka_unit_test(target__says_what_a_file_is_posted_to),
        cmocka_unit_test(target__tells_the_type_of_the_results),
        cmocka_unit_test(plan__a_changed_file_is_to_be_done_again),
        cmocka_unit_test(nameset__grows_and_finds),
        cmocka_unit_test(walk__takes_files_and_links_to_files_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
