/* SPDX-License-Identifier: Apache-2.0 */
/* test_map_state.c - the journal of a run: torn at every byte, and what is taken from it. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/map_batch.h"
#include "cli/map_state.h"
#include "common/buf.h"
#include "tests/unit/check.h"

#define FILES 3

static char root[] = "/tmp/millrace-state-XXXXXX";

static int make_root(void **state)
{
    (void)state;
    strcpy(root + sizeof root - 7, "XXXXXX");
    return !mkdtemp(root);
}

static int remove_root(void **state)
{
    char command[64];

    (void)state;
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static const char *journal_path(void)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/.millrace/journal", root);
    return path;
}

static void open_state(struct state *st, struct plan *p)
{
    struct fault why = {0};

    plan_init(p);
    if (state_open(xstrdup(root), false, st, p, &why))
        fail_msg("%s", why.detail);
}

static void close_state(struct state *st, struct plan *p)
{
    state_close(st);
    plan_free(p);
}

static void end_file(struct state *st, struct plan *p, size_t index, bool is_done)
{
    struct ending end = {.is_done = is_done,
                         .started_ms = 1700000000000,
                         .run_us = 1500,
                         .worker = "w\t1",
                         .bytes = 77,
                         .output = "out\nname",
                         .code = "timeout",
                         .detail = "too \\ long"};

    state_note_end(st, p, index, &end);
}

static void begin(struct state *st, const struct plan *p, const char *dataset)
{
    st->dataset = xstrdup(dataset);
    st->target = xstrdup("hash?iterations=1");
    assert_int_equal(state_begin(st, p, NULL), ERR_OK);
}

/* A run of three files: one done, one failed and begun again, one failed. */
static void write_run(void)
{
    struct state st;
    struct plan  p;

    open_state(&st, &p);
    plan_add(&p, "a", 1, 10);
    plan_add(&p, "tab\tnewline\nbackslash\\n\xff", 2, 20);
    plan_add(&p, "c", 3, 30);
    plan_set_base(&p, 2, "base of c");
    begin(&st, &p, "/data \t set");
    state_note_limits(&st, &(struct try_limits){2, 30});
    state_note_session(&st, 1234);
    state_note_group(&st, "group-1");
    end_file(&st, &p, 0, true);
    end_file(&st, &p, 1, false);
    state_note_position(&st, 5);
    state_note_again(&st, &p, 1);
    end_file(&st, &p, 2, false);
    assert_int_equal(state_save(&st, true, NULL), ERR_OK);
    close_state(&st, &p);
}

static char *slurp(size_t *len)
{
    struct stat st;
    int         fd = open(journal_path(), O_RDONLY);
    char       *text;

    assert_true(fd >= 0 && !fstat(fd, &st));
    text = xmalloc((size_t)st.st_size + 1);
    assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
    text[st.st_size] = '\0';
    close(fd);
    *len = (size_t)st.st_size;
    return text;
}

static void spill(const char *text, size_t len)
{
    int fd = open(journal_path(), O_WRONLY | O_TRUNC);

    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

static void state__comes_back_as_it_was(void **state)
{
    struct state  st;
    struct plan   p;
    struct buf    memory = {0};
    struct ending end;

    (void)state;
    write_run();
    open_state(&st, &p);
    assert_string_equal(st.dataset, "/data \t set");
    assert_string_equal(st.target, "hash?iterations=1");
    assert_string_equal(st.group, "group-1");
    assert_int_equal(st.limits.attempts, 2);
    assert_int_equal(st.limits.timeout_s, 30);
    assert_int_equal(st.position, 5);
    assert_int_equal(p.count, FILES);
    assert_string_equal(plan_name(&p, 1), "tab\tnewline\nbackslash\\n\xff");
    assert_null(plan_base(&p, 0));
    assert_string_equal(plan_base(&p, 2), "base of c");
    assert_int_equal(p.files[0].state, PLAN_DONE);
    assert_int_equal(p.files[1].state, PLAN_TO_DO);
    assert_int_equal(p.files[1].again, 1);
    assert_int_equal(p.files[2].state, PLAN_FAILED);
    assert_true(state_read_end(&st, &p, 0, &memory, &end));
    assert_true(end.is_done && end.bytes == 77 && end.run_us == 1500 && end.started_ms == 1700000000000);
    assert_string_equal(end.output, "out\nname");
    assert_string_equal(end.worker, "w\t1");
    assert_true(state_read_end(&st, &p, 2, &memory, &end));
    assert_string_equal(end.code, "timeout");
    assert_string_equal(end.detail, "too \\ long");
    assert_false(state_is_of_session(&st, &p.files[2]));
    buf_free(&memory);
    close_state(&st, &p);
}

static size_t count_lines(const char *text, size_t len, const char *word)
{
    size_t count = 0;

    for (const char *at = text, *end; (end = memchr(at, '\n', (size_t)(text + len - at))); at = end + 1)
        count += !strncmp(at, word, strlen(word));
    return count;
}

/* The journal holds len bytes of a whole one: what is read is what its whole lines say, and it can be gone on with. */
static void check_torn(const char *text, size_t len)
{
    struct state st;
    struct plan  p;

    spill(text, len);
    open_state(&st, &p);
    assert_int_equal(p.count, count_lines(text, len, "file\t"));
    assert_int_equal(*st.group != '\0', count_lines(text, len, "group\t"));
    assert_int_equal(st.position, count_lines(text, len, "position\t") ? 5 : 0);
    assert_int_equal(plan_count(&p).done, count_lines(text, len, "done\t"));
    assert_int_equal(plan_count(&p).failed,
                     count_lines(text, len, "failed\t") - (count_lines(text, len, "again\t") ? 1 : 0));
    if (p.count == FILES) {
        end_file(&st, &p, 2, true);
        assert_int_equal(state_save(&st, true, NULL), ERR_OK);
        close_state(&st, &p);
        open_state(&st, &p);
        assert_int_equal(p.files[2].state, PLAN_DONE);
        assert_int_equal(p.count, FILES);
    }
    close_state(&st, &p);
}

static void state__torn_at_any_byte_is_gone_on_with(void **state)
{
    size_t len, head;
    char  *text;

    (void)state;
    write_run();
    text = slurp(&len);
    head = (size_t)(strstr(text, "\nfile\t") + 1 - text); /* before, it is no journal: a rename brings the plan whole */
    for (size_t cut = head; cut <= len; cut++)
        check_torn(text, cut);
    free(text);
}

static void state__a_tail_of_zeros_is_cut_off(void **state)
{
    struct state st;
    struct plan  p;
    size_t       len;
    char        *text;

    (void)state;
    write_run();
    text = slurp(&len);
    text = xrealloc(text, len + 100);
    memset(text + len, 0, 99);
    text[len + 99] = '\n';
    spill(text, len + 100);
    open_state(&st, &p);
    assert_int_equal(st.size, len);
    assert_int_equal(plan_count(&p).failed, 1);
    close_state(&st, &p);
    free(text);
}

static void state__what_is_no_journal_is_refused(void **state)
{
    struct state st;
    struct plan  p;
    struct fault why;

    (void)state;
    write_run();
    spill("millrace-map\t2\n", 15);
    plan_init(&p);
    assert_int_equal(state_open(xstrdup(root), false, &st, &p, &why), ERR_IO);
    assert_non_null(strstr(why.detail, "no journal of this version"));
    close_state(&st, &p);
}

static void state__is_locked_while_it_is_open(void **state)
{
    struct state st, other;
    struct plan  p, q;
    struct fault why;

    (void)state;
    open_state(&st, &p);
    plan_init(&q);
    assert_int_equal(state_open(xstrdup(root), false, &other, &q, &why), ERR_BUSY);
    close_state(&other, &q);
    close_state(&st, &p);
    open_state(&st, &p);
    close_state(&st, &p);
}

static void put_file(const char *name, const char *content)
{
    struct buf path = {0};
    FILE      *file;

    buf_printf(&path, "%s/%s", root, name);
    buf_append(&path, "", 1);
    file = fopen(path.data, "w");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
    buf_free(&path);
}

static void batch__recovers_renames_and_begins_lost_outputs_anew(void **state)
{
    static const char *const outputs[FILES] = {"there", "waiting", "lost"};
    struct state             st;
    struct plan              p;
    struct stat              found;
    char                     path[128];

    (void)state;
    open_state(&st, &p);
    for (int i = 0; i < FILES; i++)
        plan_add(&p, outputs[i], 1, 1);
    begin(&st, &p, "/d");
    for (size_t i = 0; i < FILES; i++) {
        struct ending end = {.is_done = true, .worker = "w", .bytes = 4, .output = outputs[i]};

        state_note_end(&st, &p, i, &end);
    }
    assert_int_equal(state_save(&st, true, NULL), ERR_OK);
    put_file("there", "1234");
    put_file(".millrace/tmp/1", "5678"); /* killed between journal and rename */
    put_file("lost", "123");             /* another size */
    batch_recover(&st, &p, false);
    assert_int_equal(p.files[0].state, PLAN_DONE);
    assert_int_equal(p.files[1].state, PLAN_DONE);
    assert_int_equal(p.files[2].state, PLAN_TO_DO);
    snprintf(path, sizeof path, "%s/waiting", root);
    assert_true(!stat(path, &found) && found.st_size == 4);
    close_state(&st, &p);
}

/* Both have the size that the journal says, and are not the output: a folder that has its name. */
static void batch__takes_no_folder_for_an_output(void **state)
{
    static const char *const outputs[] = {"older", "none"};
    struct state             st;
    struct plan              p;
    struct stat              found;
    char                     path[128];

    (void)state;
    open_state(&st, &p);
    for (size_t i = 0; i < 2; i++) {
        plan_add(&p, outputs[i], 1, 1);
        snprintf(path, sizeof path, "%s/%s", root, outputs[i]);
        assert_int_equal(mkdir(path, 0777) | stat(path, &found), 0);
    }
    begin(&st, &p, "/d");
    for (size_t i = 0; i < 2; i++) {
        struct ending end = {.is_done = true, .worker = "w", .bytes = (uint64_t)found.st_size, .output = outputs[i]};

        state_note_end(&st, &p, i, &end);
    }
    assert_int_equal(state_save(&st, true, NULL), ERR_OK);
    put_file(".millrace/tmp/0", "");
    snprintf(path, sizeof path, "%s/.millrace/tmp/0", root);
    assert_int_equal(truncate(path, found.st_size), 0);
    batch_recover(&st, &p, false);
    assert_int_equal(p.files[0].state, PLAN_TO_DO);
    assert_int_equal(p.files[1].state, PLAN_TO_DO);
    close_state(&st, &p);
}

static void count_ended(void *ctx, size_t index, const struct ending *end)
{
    (void)index;
    (void)end;
    ++*(int *)ctx;
}

/* The journal takes so many bytes more, then the disk is full; then there is room again. */
static void check_full(rlim_t more)
{
    struct state  st;
    struct plan   p;
    int           ended = 0;
    struct batch  b = {.plan = &p, .state = &st, .ended = count_ended, .ctx = &ended};
    struct rlimit limit, whole;
    struct fault  why;
    enum err      e;

    open_state(&st, &p);
    for (int i = 0; i < FILES; i++)
        plan_add(&p, (char[]){(char)('a' + i), 0}, 1, 1);
    begin(&st, &p, "/d");
    for (size_t i = 0; i < FILES; i++) {
        char name[32];

        snprintf(name, sizeof name, ".millrace/tmp/%zu", i);
        put_file(name, "1234");
        batch_add(&b, i, 4, "application/json", &(struct record){.worker = "w"});
    }
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &whole), 0);
    limit = (struct rlimit){st.size + more, whole.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    e = batch_commit(&b, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &whole), 0);
    if (e) { /* nothing has its name, so nothing is called done */
        assert_int_equal(ended, 0);
        assert_int_equal(plan_count(&p).to_do, FILES);
        assert_int_equal(batch_commit(&b, &why), ERR_OK);
        assert_int_equal(plan_count(&p).to_do, FILES);
    }
    close_state(&st, &p);
    open_state(&st, &p);
    assert_int_equal(plan_count(&p).done, FILES);
    batch_recover(&st, &p, false);
    assert_int_equal(plan_count(&p).done, FILES);
    close_state(&st, &p);
}

static void batch__on_a_full_disk_calls_nothing_done_and_tears_no_line(void **state)
{
    char command[96];

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    snprintf(command, sizeof command, "rm -r %s/*.json %s/.millrace", root, root);
    for (rlim_t more = 0; more < 100; more++) {
        check_full(more);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(state__comes_back_as_it_was, make_root, remove_root),
        cmocka_unit_test_setup_teardown(state__torn_at_any_byte_is_gone_on_with, make_root, remove_root),
        cmocka_unit_test_setup_teardown(state__a_tail_of_zeros_is_cut_off, make_root, remove_root),
        cmocka_unit_test_setup_teardown(state__what_is_no_journal_is_refused, make_root, remove_root),
        cmocka_unit_test_setup_teardown(state__is_locked_while_it_is_open, make_root, remove_root),
        cmocka_unit_test_setup_teardown(batch__recovers_renames_and_begins_lost_outputs_anew, make_root, remove_root),
        cmocka_unit_test_setup_teardown(batch__takes_no_folder_for_an_output, make_root, remove_root),
        cmocka_unit_test_setup_teardown(batch__on_a_full_disk_calls_nothing_done_and_tears_no_line, make_root,
                                        remove_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
