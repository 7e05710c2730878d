/* SPDX-License-Identifier: Apache-2.0 */
/* test_raw.c - the input of raw bytes, and a result that grows: into its room, and out of it into a file. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kinds/raw.h"
#include "tests/unit/check.h"

#define ROOM 100

static char room[ROOM + 1]; /* the last byte is not to be touched */

static struct task with_room(int output_fd, uint64_t output_max)
{
    memset(room, '#', sizeof room);
    return (struct task){.output = room, .room_max = ROOM, .output_fd = output_fd, .output_max = output_max};
}

static int new_file(void) { return memfd_create("output", MFD_CLOEXEC); }

static void expect_file(const struct task *task, const char *bytes, size_t len)
{
    struct checksum *c = checksum_new();
    char             sum[CHECKSUM_BYTES], *got = malloc(len + 1);

    checksum_add(c, bytes, len);
    checksum_hex(c, sum);
    checksum_free(c);
    assert_int_equal(task->output_len, len);
    assert_int_equal(pread(task->output_fd, got, len + 1, 0), len);
    assert_memory_equal(got, bytes, len);
    assert_string_equal(task->sum, sum);
    free(got);
}

static void raw__a_result_that_fits_stays_in_its_room(void **state)
{
    int           fd = new_file();
    struct task   task = with_room(fd, 1000);
    struct outlet o;

    (void)state;
    outlet_open(&o, &task);
    for (int i = 0; i < ROOM; i++)
        assert_int_equal(outlet_write(&o, "x", 1), ERR_OK);
    assert_int_equal(outlet_write(&o, "", 0), ERR_OK);
    outlet_close(&o, "text/plain");
    assert_false(task.is_file);
    assert_int_equal(task.output_len, ROOM);
    assert_int_equal(strspn(room, "x"), ROOM);
    assert_int_equal(room[ROOM], '#');
    assert_string_equal(task.type, "text/plain");
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    close(fd);
}

static void raw__a_result_that_outgrows_its_room_goes_into_its_file(void **state)
{
    int           fd = new_file();
    struct task   task = with_room(fd, 1000);
    struct outlet o;
    char          bytes[1000];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i % 251);
    outlet_open(&o, &task);
    for (size_t at = 0; at < sizeof bytes; at += 40)
        assert_int_equal(outlet_write(&o, bytes + at, 40), ERR_OK);
    outlet_close(&o, "");
    assert_true(task.is_file);
    assert_string_equal(task.type, "");
    assert_int_equal(room[ROOM], '#');
    expect_file(&task, bytes, sizeof bytes);
    close(fd);
}

static void raw__more_than_may_be_kept_is_refused_for_good(void **state)
{
    int           fd = new_file();
    struct task   task = with_room(fd, 1000);
    struct outlet o;
    char          bytes[1001] = {0};

    (void)state;
    outlet_open(&o, &task);
    assert_int_equal(outlet_write(&o, bytes, 1001), ERR_RESULT_LARGE);
    assert_int_equal(err_class(task.why.err), ERR_CLASS_PERMANENT);
    assert_non_null(strstr(task.why.detail, "more than 1000 bytes"));
    assert_int_equal(outlet_write(&o, bytes, 1000), ERR_OK);
    assert_int_equal(outlet_write(&o, bytes, 1), ERR_RESULT_LARGE);
    outlet_drop(&o);
    close(fd);
}

static void raw__without_a_file_the_room_is_all_there_is(void **state)
{
    struct task   task = with_room(-1, 1000);
    struct outlet o;
    char          bytes[ROOM] = {0};

    (void)state;
    outlet_open(&o, &task);
    assert_int_equal(outlet_write(&o, bytes, ROOM), ERR_OK);
    assert_int_equal(outlet_write(&o, bytes, 1), ERR_RESULT_LARGE);
    assert_non_null(strstr(task.why.detail, "no directory"));
    outlet_close(&o, "");
    assert_int_equal(task.output_len, ROOM);
}

static void raw__the_kind_may_allow_less_than_the_room_holds(void **state)
{
    struct task   task = with_room(new_file(), 10);
    struct outlet o;

    (void)state;
    outlet_open(&o, &task);
    assert_int_equal(outlet_write(&o, "0123456789", 10), ERR_OK);
    assert_int_equal(outlet_write(&o, "0", 1), ERR_RESULT_LARGE);
    outlet_drop(&o);
    close(task.output_fd);
}

static void raw__a_full_disk_may_be_better_later(void **state)
{
    struct task   task = with_room(open("/dev/full", O_WRONLY | O_CLOEXEC), 1000);
    struct outlet o;
    char          bytes[ROOM + 1] = {0};

    (void)state;
    outlet_open(&o, &task);
    assert_int_equal(outlet_write(&o, bytes, sizeof bytes), ERR_DISK_FULL);
    assert_int_equal(err_class(task.why.err), ERR_CLASS_TRANSIENT);
    outlet_drop(&o);
    close(task.output_fd);
}

static void raw__the_input_is_the_body_or_the_one_blob(void **state)
{
    int            fd = new_file();
    struct task    task = {.input = "body", .input_len = 4};
    struct filemap map;

    (void)state;
    assert_int_equal(raw_input(&task, &map), ERR_OK);
    assert_int_equal(map.len, 4);
    assert_memory_equal(map.bytes, "body", 4);
    filemap_close(&map);
    assert_int_equal(write(fd, "of a blob", 9), 9);
    task = (struct task){.blob_count = 1, .blob_fds = {fd}, .blob_bytes = {9}};
    assert_int_equal(raw_input(&task, &map), ERR_OK);
    assert_int_equal(map.len, 9);
    assert_memory_equal(map.bytes, "of a blob", 9);
    filemap_close(&map);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw__a_result_that_fits_stays_in_its_room),
        cmocka_unit_test(raw__a_result_that_outgrows_its_room_goes_into_its_file),
        cmocka_unit_test(raw__more_than_may_be_kept_is_refused_for_good),
        cmocka_unit_test(raw__without_a_file_the_room_is_all_there_is),
        cmocka_unit_test(raw__the_kind_may_allow_less_than_the_room_holds),
        cmocka_unit_test(raw__a_full_disk_may_be_better_later),
        cmocka_unit_test(raw__the_input_is_the_body_or_the_one_blob),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
