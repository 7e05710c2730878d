/* SPDX-License-Identifier: Apache-2.0 */
/* test_blob.c - blobs of a directory: as they were written, whole or not there. */
#include "tests/unit/blob_bench.h"

#define BUFFER (256 * 1024) /* of a writer */

/* ---- names ------------------------------------------------------------------------------ */

static void blob__a_name_is_a_uuid_with_numbers_and_nothing_else(void **state)
{
    static const char *const good[] = {UUID, UUID "-1", UUID "-1693526400123456789", UUID "-0-7"};
    static const char *const bad[] = {"",
                                      "..",
                                      "../../etc/passwd",
                                      "/" UUID,
                                      UUID "/x",
                                      UUID ".sum",
                                      UUID "-",
                                      UUID "--1",
                                      UUID "-1-",
                                      UUID "-a",
                                      UUID "-1-2-3",
                                      UUID " ",
                                      "01934000-0000-7000-8000-0000000000AB",
                                      "01934000-0000-7000-8000-0000000000a",
                                      "01934000x0000-7000-8000-0000000000ab",
                                      UUID "-11111111111111111111111111111-22222222222222222222222222222"};
    char                     name[BLOB_NAME_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(blob_name_is_valid(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(blob_name_is_valid(bad[i]));
    blob_name_result(name, UUID, -1, INT64_MAX);
    assert_string_equal(name, UUID "-9223372036854775807");
    assert_true(blob_name_is_valid(name));
    blob_name_result(name, UUID, 12, 7);
    assert_string_equal(name, UUID "-12-7");
    blob_name_result(name, UUID, INT64_MAX, INT64_MAX);
    assert_true(blob_name_is_valid(name));
}

static void blob__a_name_that_is_none_is_not_found(void **state)
{
    struct bench       *t = *state;
    struct answer       a = {0};
    struct blob_writer *none = NULL;
    struct blob_info    info;
    struct fault        why;
    int                 fd;

    assert_int_equal(blob_create(t->store, "../" UUID, 1, 0, &none, &why), ERR_PARAM);
    assert_int_equal(blob_open(t->store, "../tmp", &fd, &info, &why), ERR_NO_BLOB);
    assert_int_equal(blob_delete(t->store, "../tmp", &why), ERR_NO_BLOB);
    blob_fetch(t->store, "..", on_opened, &a);
    assert_int_equal(wait_for(t, &a)->e, ERR_NO_BLOB);
    a = (struct answer){0};
    blob_list(t->store, "../", on_names, &a);
    assert_int_equal(wait_for(t, &a)->e, ERR_PARAM);
}

/* ---- writing and reading ------------------------------------------------------------------- */

static void round_trip(struct bench *t, size_t len, size_t piece, bool is_announced)
{
    char             name[JOB_ID_BYTES], sum[CHECKSUM_BYTES], *bytes = random_bytes(len);
    struct blob_info info;
    struct fault     why;
    struct answer    a;
    int              fd;

    job_id_new(name);
    struct blob_writer *w = create(t, name, is_announced ? (int64_t)len : -1, 0);
    for (size_t at = 0; at < len; at += piece)
        append(w, bytes + at, len - at < piece ? len - at : piece);
    assert_string_equal(blob_writer_name(w), name);
    assert_int_equal(blob_writer_size(w), len);
    assert_int_equal(blob_open(t->store, name, &fd, &info, &why), ERR_NO_BLOB);
    a = seal(t, w, NULL, NULL, NULL);
    sum_of(bytes, len, "", 0, sum);
    assert_int_equal(a.e, ERR_OK);
    assert_string_equal(a.info.sum, sum);

    assert_int_equal(blob_open(t->store, name, &fd, &info, &why), ERR_OK);
    assert_int_equal(info.size, len);
    assert_int_equal(info.head, 0);
    assert_string_equal(info.sum, sum);
    assert_true(llabs(info.sealed_ms - a.info.sealed_ms) < 2000);
    assert_bytes(fd, bytes, len);
    close(fd);
    free(bytes);
}

static void blob__comes_back_as_it_was_written(void **state)
{
    static const size_t sizes[] = {0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 2 * BUFFER, 2 * BUFFER + 5, 40u * 1024 * 1024};
    static const size_t pieces[] = {1000, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++)
            round_trip(*state, sizes[i], pieces[k], (i + k) % 2);
}

static void blob__announced_longer_than_it_became_has_its_real_size(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w = create(t, UUID, 1 << 20, 0);
    struct answer       a;

    append(w, "short", 5);
    a = seal(t, w, NULL, NULL, NULL);
    assert_int_equal(a.e, ERR_OK);
    assert_int_equal(a.info.size, 5);
    assert_int_equal(blob_usage(t->store).bytes, 5);
}

static void blob__head_is_filled_in_at_the_end_and_summed_last(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w = create(t, UUID, -1, 8);
    char                sum[CHECKSUM_BYTES];
    struct blob_info    info;
    struct fault        why;
    int                 fd;

    append(w, "the rest", 8);
    assert_int_equal(blob_writer_size(w), 16);
    assert_int_equal(seal(t, w, "in front", NULL, NULL).e, ERR_OK);
    sum_of("the rest", 8, "in front", 8, sum);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_OK);
    assert_string_equal(info.sum, sum);
    assert_int_equal(info.head, 8);
    assert_int_equal(info.size, 16);
    assert_bytes(fd, "in frontthe rest", 16);
    close(fd);
}

static void blob__written_through_the_descriptor_has_the_sum_of_its_writer(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w = create(t, UUID, 4096, 0);
    char                sum[CHECKSUM_BYTES], bytes[4096];
    struct stat         st;
    struct answer       a;
    struct blob_info    info;
    struct fault        why;
    int                 fd;

    assert_int_equal(fstat(blob_writer_fd(w), &st), 0);
    assert_int_equal(st.st_size, 4096);
    memset(bytes, 'x', sizeof bytes);
    assert_int_equal(pwrite(blob_writer_fd(w), bytes, sizeof bytes, 0), sizeof bytes);
    sum_of(bytes, sizeof bytes, "", 0, sum);
    a = seal(t, w, NULL, sum, NULL);
    assert_int_equal(a.e, ERR_OK);
    assert_int_equal(a.info.size, 4096);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_OK);
    assert_string_equal(info.sum, sum);
    close(fd);
}

static void blob__what_is_no_checksum_is_refused(void **state)
{
    struct bench *t = *state;
    struct answer a = seal(t, create(t, UUID, 4096, 0), NULL, "\",0", NULL);

    assert_int_equal(a.e, ERR_DIGEST);
    assert_int_equal(files_in(t), 0);
}

static void blob__aborted_leaves_nothing(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *w = create(t, UUID, 40 << 20, 0);
    char               *bytes = random_bytes(40u << 20);

    append(w, bytes, 40u << 20); /* some of it is on its way to the disk by now */
    assert_true(files_in(t) > 0);
    blob_abort(w);
    empties(t);
    assert_int_equal(files_in(t), 0);
    assert_int_equal(blob_usage(t->store).bytes, 0);
    free(bytes);
}

static void blob__a_name_is_sealed_once(void **state)
{
    struct bench    *t = *state;
    struct blob_info info;
    struct fault     why;
    struct answer    a;
    int              fd;

    assert_int_equal(put(t, UUID, "first", 5).e, ERR_OK);
    a = put(t, UUID, "second", 6);
    assert_int_equal(a.e, ERR_WRONG_STATE);
    assert_non_null(strstr(a.detail, UUID));
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_OK);
    assert_bytes(fd, "first", 5);
    close(fd);
    assert_int_equal(files_in(t), 2);
    assert_int_equal(blob_usage(t->store).count, 1);
}

static void blob__of_two_seals_at_once_one_wins_whole(void **state)
{
    struct bench       *t = *state;
    struct blob_writer *one = create(t, UUID, -1, 0), *two = create(t, UUID, -1, 0);
    struct answer       a = {0}, b = {0};
    struct blob_info    info;
    struct fault        why;
    int                 fd;

    append(one, "one", 3);
    append(two, "two, longer", 11);
    blob_seal(one, NULL, NULL, NULL, on_done, &a);
    blob_seal(two, NULL, NULL, NULL, on_done, &b);
    wait_for(t, &a);
    wait_for(t, &b);
    assert_true((a.e == ERR_OK) != (b.e == ERR_OK));
    assert_int_equal(a.e ? a.e : b.e, ERR_WRONG_STATE);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_OK);
    assert_int_equal(info.size, a.e ? 11 : 3);
    close(fd);
}

static void blob__a_sum_left_by_a_crash_does_not_keep_the_name(void **state)
{
    struct bench *t = *state;
    char          from[200], to[300];
    struct fault  why;

    assert_int_equal(put(t, UUID, "x", 1).e, ERR_OK);
    path_of(from, UUID, "");
    snprintf(to, sizeof to, "%s/%s", t->dir, from);
    assert_int_equal(unlink(to), 0);
    assert_int_equal(put(t, UUID, "y", 1).e, ERR_WRONG_STATE); /* it may be just coming */
    path_of(from, UUID, ".sum");
    age(t, from, 120);
    assert_int_equal(put(t, UUID, "y", 1).e, ERR_OK);
    assert_int_equal(blob_delete(t->store, UUID, &why), ERR_OK);
    assert_int_equal(files_in(t), 0);
}

static void blob__sha256_is_checked_where_it_is_wanted(void **state)
{
    static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    static const char wrong[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae";
    struct bench     *t = *state;

    struct blob_writer *w = create(t, UUID, 3, 0);
    append(w, "abc", 3);
    struct answer a = seal(t, w, NULL, NULL, wrong);
    assert_int_equal(a.e, ERR_DIGEST);
    assert_non_null(strstr(a.detail, abc));
    assert_int_equal(files_in(t), 0);

    w = create(t, UUID, 3, 0);
    append(w, "abc", 3);
    assert_int_equal(seal(t, w, NULL, NULL, abc).e, ERR_OK);
}

static void blob__cut_short_behind_our_back_is_an_error(void **state)
{
    struct bench    *t = *state;
    char             path[200], full[280];
    struct blob_info info;
    struct fault     why;
    int              fd;

    assert_int_equal(put(t, UUID, "whole", 5).e, ERR_OK);
    path_of(path, UUID, "");
    snprintf(full, sizeof full, "%s/%s", t->dir, path);
    assert_int_equal(truncate(full, 3), 0);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_IO);
    assert_non_null(strstr(why.detail, "3 bytes, not the 5"));
    path_of(path, UUID, ".sum");
    snprintf(full, sizeof full, "%s/%s", t->dir, path);
    assert_int_equal(truncate(full, 3), 0);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_IO);
    assert_int_equal(unlink(full), 0);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_IO);
}

static void blob__fetched_comes_later(void **state)
{
    struct bench *t = *state;
    struct answer a = {0}, none = {0};

    assert_int_equal(put(t, UUID, "bytes", 5).e, ERR_OK);
    blob_fetch(t->store, UUID, on_opened, &a);
    blob_fetch(t->store, UUID "-1", on_opened, &none);
    assert_int_equal(a.count + none.count, 0);
    assert_int_equal(wait_for(t, &a)->e, ERR_OK);
    assert_bytes(a.fd, "bytes", 5);
    close(a.fd);
    assert_int_equal(wait_for(t, &none)->e, ERR_NO_BLOB);
    assert_int_equal(none.fd, -1);
}

static void blob__deleted_is_gone_but_readers_read_on(void **state)
{
    struct bench    *t = *state;
    struct blob_info info;
    struct fault     why;
    int              fd, other;

    assert_int_equal(put(t, UUID, "bytes", 5).e, ERR_OK);
    assert_int_equal(blob_open(t->store, UUID, &fd, &info, &why), ERR_OK);
    assert_int_equal(blob_delete(t->store, UUID, &why), ERR_OK);
    assert_int_equal(blob_delete(t->store, UUID, &why), ERR_NO_BLOB);
    assert_int_equal(blob_open(t->store, UUID, &other, &info, &why), ERR_NO_BLOB);
    assert_bytes(fd, "bytes", 5);
    close(fd);
    assert_int_equal(blob_usage(t->store).bytes, 0);
    assert_int_equal(files_in(t), 0);
}

static void blob__list_names_what_begins_so(void **state)
{
    struct bench *t = *state;
    struct answer a = {0};

    put(t, UUID, "x", 1);
    put(t, UUID "-1-9", "x", 1);
    put(t, UUID "-11-9", "x", 1);
    put(t, "01934000-0000-7000-8000-0000000001ab", "x", 1); /* another one of the same folder */
    blob_list(t->store, UUID, on_names, &a);
    assert_int_equal(wait_for(t, &a)->name_count, 3);
    a = (struct answer){0};
    blob_list(t->store, UUID "-1-", on_names, &a);
    assert_int_equal(wait_for(t, &a)->name_count, 1);
    assert_string_equal(a.names[0], UUID "-1-9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blob__a_name_is_a_uuid_with_numbers_and_nothing_else),
        TEST(blob__a_name_that_is_none_is_not_found),
        TEST(blob__comes_back_as_it_was_written),
        TEST(blob__announced_longer_than_it_became_has_its_real_size),
        TEST(blob__head_is_filled_in_at_the_end_and_summed_last),
        TEST(blob__written_through_the_descriptor_has_the_sum_of_its_writer),
        TEST(blob__what_is_no_checksum_is_refused),
        TEST(blob__aborted_leaves_nothing),
        TEST(blob__a_name_is_sealed_once),
        TEST(blob__of_two_seals_at_once_one_wins_whole),
        TEST(blob__a_sum_left_by_a_crash_does_not_keep_the_name),
        TEST(blob__sha256_is_checked_where_it_is_wanted),
        TEST(blob__cut_short_behind_our_back_is_an_error),
        TEST(blob__fetched_comes_later),
        TEST(blob__deleted_is_gone_but_readers_read_on),
        TEST(blob__list_names_what_begins_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
