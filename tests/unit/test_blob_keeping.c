/* SPDX-License-Identifier: Apache-2.0 */
/* test_blob_keeping.c - blobs have bounds, and nothing is left behind: not by a full disk, a crash or a close. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/unit/blob_bench.h"

/* ---- bounds --------------------------------------------------------------------------------- */

static void blob__quota_counts_what_is_there_and_what_is_coming(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w, *none = NULL;
    struct fault        why;
    char                bytes[600] = {0};

    close_store(t);
    open_store(t, 1000);
    w = create(t, UUID, 600, 0);
    assert_int_equal(blob_create(t->store, UUID "-1", 600, 0, &none, &why), ERR_DISK_FULL);
    assert_non_null(strstr(why.detail, "600 more bytes"));
    assert_non_null(strstr(why.detail, "600 of the 1000"));
    append(w, bytes, 600);
    assert_int_equal(seal(t, w, NULL, NULL, NULL).e, ERR_OK);

    w = create(t, UUID "-1", -1, 0);
    append(w, bytes, 400);
    assert_int_equal(blob_append(w, bytes, 1, &why), ERR_DISK_FULL);
    blob_abort(w);
    w = create(t, UUID "-1", 400, 0); /* what the other one took is free again */
    blob_abort(w);

    close_store(t);
    open_store(t, 1000); /* what was there before counts */
    assert_int_equal(blob_usage(t->store).bytes, 600);
    assert_int_equal(blob_usage(t->store).count, 1);
    assert_int_equal(blob_create(t->store, UUID "-1", 401, 0, &none, &why), ERR_DISK_FULL);
    assert_int_equal(blob_delete(t->store, UUID, &why), ERR_OK);
    w = create(t, UUID "-1", 1000, 0);
    blob_abort(w);
}

static void blob__a_file_that_grew_through_its_descriptor_counts_at_the_seal(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w;
    struct answer       a;
    char                bytes[600] = {0}, sum[CHECKSUM_BYTES];

    close_store(t);
    open_store(t, 1000);
    sum_of(bytes, sizeof bytes, NULL, 0, sum);
    w = create(t, UUID, -1, 0);
    assert_int_equal(write(blob_writer_fd(w), bytes, sizeof bytes), sizeof bytes);
    a = seal(t, w, NULL, sum, NULL);
    assert_int_equal(a.e, ERR_OK);
    assert_int_equal(a.info.size, 600);
    assert_int_equal(blob_usage(t->store).bytes, 600);

    w = create(t, UUID "-1", -1, 0);
    assert_int_equal(write(blob_writer_fd(w), bytes, sizeof bytes), sizeof bytes);
    a = seal(t, w, NULL, sum, NULL);
    assert_int_equal(a.e, ERR_DISK_FULL);
    assert_non_null(strstr(a.detail, "600 more bytes"));
    w = create(t, UUID "-1", 400, 0); /* what it would have taken is free again */
    blob_abort(w);
    for (int i = 0; i < 10000 && files_in(t) > 2; i++)
        uv_run(&t->loop, UV_RUN_NOWAIT);
    assert_int_equal(files_in(t), 2); /* the first one and its sum */
}

static void blob__longer_than_a_file_may_be_is_no_room(void **state)
{
    struct bench       *t = *state;
    struct rlimit       old, small;
    struct blob_writer *w = create(t, UUID, -1, 0), *none = NULL;
    struct fault        why, early;
    char               *bytes = random_bytes(2u << 20);
    enum err            e, announced;

    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 1 << 20;
    setrlimit(RLIMIT_FSIZE, &small);
    e = blob_append(w, bytes, 2u << 20, &why);
    announced = blob_create(t->store, UUID "-1", 2 << 20, 0, &none, &early);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(e, ERR_DISK_FULL);
    assert_int_equal(announced, ERR_DISK_FULL);
    blob_abort(w);
    empties(t);
    assert_int_equal(files_in(t), 0);
    free(bytes);
}

/* A file system of its own over the directory, seen by this process alone. */
static bool mount_over(const struct bench *t, const char *type, const char *options)
{
    return !unshare(CLONE_NEWNS) && !mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
           !mount(type, t->dir, type, 0, options);
}

static void blob__file_system_that_sets_no_room_aside_will_do(void **state)
{
    struct bench *t = *state;
    struct answer a;

    if (!mount_over(t, "ramfs", NULL)) {
        print_message("no ramfs can be mounted here: left out\n");
        skip();
    }
    close_store(t);
    open_store(t, 0);
    a = put(t, UUID, "bytes", 5);
    assert_int_equal(a.e, ERR_OK);
    assert_int_equal(files_in(t), 2);
    close_store(t);
    assert_int_equal(umount(t->dir), 0);
    open_store(t, 0);
}

static void blob__full_disk_is_told_and_nothing_is_left(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w = NULL;
    struct fault        why;
    char               *bytes = random_bytes(2u << 20);
    enum err            announced, appended, after;

    if (!mount_over(t, "tmpfs", "size=1m")) {
        free(bytes);
        print_message("no small tmpfs can be mounted here: left out\n");
        skip();
    }
    close_store(t);
    open_store(t, 0);
    announced = blob_create(t->store, UUID, 2 << 20, 0, &w, &why);
    assert_int_equal(announced, ERR_DISK_FULL);
    assert_non_null(strstr(why.detail, "2097152"));
    assert_int_equal(files_in(t), 0);
    w = create(t, UUID, -1, 0);
    appended = blob_append(w, bytes, 2u << 20, &why);
    assert_int_equal(appended, ERR_DISK_FULL);
    blob_abort(w);
    empties(t);
    assert_int_equal(files_in(t), 0);
    after = put(t, UUID, bytes, 1 << 19).e; /* what still fits is taken */
    assert_int_equal(after, ERR_OK);
    free(bytes);
    close_store(t);
    assert_int_equal(umount(t->dir), 0);
    open_store(t, 0);
}

static void blob__directory_that_cannot_be_had_is_a_bad_setting(void **state)
{
    struct bench      *t = *state;
    struct blob_config config = {.dir = "/nowhere/at/all", .key = ""};
    struct blob_store *none = NULL;
    struct fault       why;
    char               file[100];

    assert_int_equal(blob_store_open(&t->loop, &config, &none, &why), ERR_CONFIG);
    assert_non_null(strstr(why.detail, "/nowhere/at/all"));
    snprintf(file, sizeof file, "%s/file", t->dir);
    close(open(file, O_CREAT | O_WRONLY, 0600));
    config.dir = file;
    assert_int_equal(blob_store_open(&t->loop, &config, &none, &why), ERR_CONFIG);
    config.dir = t->dir;
    config.url = "ftp://example.org";
    assert_int_equal(blob_store_open(&t->loop, &config, &none, &why), ERR_CONFIG);
    assert_null(none);
}

/* ---- keeping house ----------------------------------------------------------------------------- */

static void blob__sweep_names_the_old_up_to_a_limit(void **state)
{
    struct bench *t = *state;
    struct answer a = {0};
    char          name[BLOB_NAME_BYTES], path[200], first[BLOB_NAME_BYTES];

    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "01934000-0000-7000-8000-0000000000%02x", 16 * i);
        put(t, name, "12345", 5);
        path_of(path, name, "");
        if (i > 0)
            age(t, path, 500);
    }
    blob_sweep(t->store, 400 * 1000, 10, on_names, &a);
    assert_int_equal(wait_for(t, &a)->name_count, 3);
    assert_int_equal(blob_usage(t->store).bytes, 20);
    assert_int_equal(blob_usage(t->store).count, 4);
    a = (struct answer){0};
    blob_sweep(t->store, 400 * 1000, 1, on_names, &a);
    assert_int_equal(wait_for(t, &a)->name_count, 1);
    strcpy(first, a.names[0]);
    a = (struct answer){0};
    blob_sweep(t->store, 400 * 1000, 1, on_names, &a); /* goes on behind it */
    assert_int_equal(wait_for(t, &a)->name_count, 1);
    assert_string_not_equal(a.names[0], first);
}

static void blob__sweep_removes_what_crashes_left(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w = create(t, UUID, -1, 0);
    struct answer       a = {0};
    char                path[300], orphan[200];

    append(w, "x", 1);
    snprintf(path, sizeof path, "%s/tmp/old", t->dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    age(t, "tmp/old", 3700);
    path_of(orphan, UUID "-5", ".sum");
    snprintf(path, sizeof path, "%s/%s", t->dir, orphan);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    age(t, orphan, 3700);
    put(t, UUID "-6", "kept", 4);
    path_of(orphan, UUID "-6", ".sum");
    age(t, orphan, 3700); /* but its blob is there */
    assert_int_equal(files_in(t), 5);
    blob_sweep(t->store, 3600 * 1000, 10, on_names, &a);
    assert_int_equal(wait_for(t, &a)->e, ERR_OK);
    assert_int_equal(a.name_count, 0);
    assert_int_equal(files_in(t), 3);
    assert_int_equal(seal(t, w, NULL, NULL, NULL).e, ERR_OK); /* what is being written was left alone */
}

static void blob__closing_answers_everything_and_leaves_nothing(void **state)
{
    enum { MANY = 24 };
    struct bench *t = *state;
    struct answer seals[MANY] = {0}, fetches[MANY] = {0}, names[2] = {0};
    char          name[BLOB_NAME_BYTES], *bytes = random_bytes(1u << 20);

    assert_int_equal(put(t, UUID, "there", 5).e, ERR_OK);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, UUID "-%d", i);
        struct blob_writer *w = create(t, name, -1, 0);
        append(w, bytes, 1u << 20);
        blob_seal(w, NULL, NULL, NULL, on_done, &seals[i]);
        blob_fetch(t->store, UUID, on_opened, &fetches[i]);
    }
    blob_list(t->store, UUID, on_names, &names[0]);
    blob_sweep(t->store, 0, 10, on_names, &names[1]);
    while (!seals[0].count) /* some have ended, some run, some wait */
        uv_run(&t->loop, UV_RUN_ONCE);
    blob_store_close(t->store);
    t->store = NULL;
    int sealed = 0;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(seals[i].count, 1);
        assert_int_equal(fetches[i].count, 1);
        assert_true(seals[i].e == ERR_OK || seals[i].e == ERR_IO);
        sealed += seals[i].e == ERR_OK;
        if (!fetches[i].e)
            close(fetches[i].fd);
    }
    assert_true(sealed < MANY);
    assert_int_equal(names[0].count, 1);
    assert_int_equal(names[1].count, 1);
    assert_int_equal(files_in(t), 2 * (sealed + 1));
    uv_run(&t->loop, UV_RUN_DEFAULT);
    free(bytes);
}

/* So large that the pool removes it. */
static void put_large(struct bench *t, const char *name)
{
    const int64_t       size = 32 << 20;
    struct blob_writer *w = create(t, name, size, 0);
    char                sum[CHECKSUM_BYTES];

    sum_of("any", 3, "", 0, sum);
    assert_int_equal(seal(t, w, NULL, sum, NULL).e, ERR_OK);
}

static void blob__large_files_are_removed_later_and_by_a_closing_store(void **state)
{
    enum { MANY = 6 };
    struct bench    *t = *state;
    struct blob_info info;
    struct fault     why;
    char             name[BLOB_NAME_BYTES];
    int              fd;

    put_large(t, UUID);
    assert_int_equal(blob_delete(t->store, UUID, &why), ERR_OK);
    assert_int_equal(blob_delete(t->store, UUID, &why), ERR_NO_BLOB);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_NO_BLOB);
    assert_int_equal(blob_usage(t->store).bytes, 0);
    put_large(t, UUID); /* its name is free at once */
    assert_int_equal(blob_delete(t->store, UUID, &why), ERR_OK);
    empties(t);
    assert_int_equal(files_in(t), 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, UUID "-%d", i);
        put_large(t, name);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, UUID "-%d", i);
        assert_int_equal(blob_delete(t->store, name, &why), ERR_OK);
        blob_abort(create(t, UUID, 32 << 20, 0));
    }
    close_store(t);
    assert_int_equal(files_in(t), 0);
    open_store(t, 0);
}

/* Listens, and never says a word. */
static int silent_gateway(char url[64])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(url, 64, "http://127.0.0.1:%d", ntohs(at.sin_port));
    return fd;
}

static void blob__transfers_that_hang_leave_the_pool_to_others(void **state)
{
    enum { MANY = 8 };
    struct bench      *t = *state;
    char               url[64], name[BLOB_NAME_BYTES];
    int                gateway = silent_gateway(url);
    struct blob_config config = {.dir = t->dir, .url = url, .key = ""};
    struct answer      fetches[MANY] = {0}, swept = {0};
    struct fault       why;

    close_store(t);
    assert_int_equal(blob_store_open(&t->loop, &config, &t->store, &why), ERR_OK);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, UUID "-%d", i);
        blob_fetch(t->store, name, on_opened, &fetches[i]);
    }
    blob_sweep(t->store, 0, 10, on_names, &swept);
    assert_int_equal(wait_for(t, &swept)->e, ERR_OK);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(fetches[i].count, 0);
    blob_store_close(t->store);
    t->store = NULL;
    for (int i = 0; i < MANY; i++)
        assert_int_equal(fetches[i].e, ERR_IO);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    close(gateway);
    open_store(t, 0);
}

static void blob__destructors_take_null(void **state)
{
    (void)state;
    blob_store_close(NULL);
    blob_abort(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blob__quota_counts_what_is_there_and_what_is_coming),
        TEST(blob__a_file_that_grew_through_its_descriptor_counts_at_the_seal),
        TEST(blob__longer_than_a_file_may_be_is_no_room),
        TEST(blob__file_system_that_sets_no_room_aside_will_do),
        TEST(blob__full_disk_is_told_and_nothing_is_left),
        TEST(blob__directory_that_cannot_be_had_is_a_bad_setting),
        TEST(blob__sweep_names_the_old_up_to_a_limit),
        TEST(blob__sweep_removes_what_crashes_left),
        TEST(blob__closing_answers_everything_and_leaves_nothing),
        TEST(blob__large_files_are_removed_later_and_by_a_closing_store),
        TEST(blob__transfers_that_hang_leave_the_pool_to_others),
        cmocka_unit_test(blob__destructors_take_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
