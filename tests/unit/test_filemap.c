/* SPDX-License-Identifier: Apache-2.0 */
/* test_filemap.c - a range of a file as memory, wherever it begins. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/filemap.h"
#include "tests/unit/check.h"

#define FILE_BYTES (3 * 4096 + 17)

static void filemap__gives_any_range(void **state)
{
    static const size_t at[] = {0, 1, 4095, 4096, 4097, 3 * 4096, FILE_BYTES - 1, FILE_BYTES};
    unsigned char       bytes[FILE_BYTES];
    char                path[] = "/tmp/millrace-map-XXXXXX";
    int                 fd = mkstemp(path);
    struct filemap      m;
    struct fault        why;

    (void)state;
    unlink(path);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 256);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        for (size_t k = i; k < sizeof at / sizeof at[0]; k++) {
            assert_int_equal(filemap_open(fd, at[i], at[k] - at[i], &m, &why), ERR_OK);
            assert_non_null(m.bytes);
            assert_int_equal(m.len, at[k] - at[i]);
            assert_memory_equal(m.bytes, bytes + at[i], m.len);
            filemap_close(&m);
            assert_null(m.pages);
        }
    close(fd);
}

static void filemap__outlives_its_descriptor(void **state)
{
    char           path[] = "/tmp/millrace-map-XXXXXX";
    int            fd = mkstemp(path);
    struct filemap m;
    struct fault   why;

    (void)state;
    unlink(path);
    assert_int_equal(write(fd, "bytes", 5), 5);
    assert_int_equal(filemap_open(fd, 1, 3, &m, &why), ERR_OK);
    close(fd);
    assert_memory_equal(m.bytes, "yte", 3);
    filemap_close(&m);
}

static void filemap__refuses_what_cannot_be(void **state)
{
    struct filemap m;
    struct fault   why;

    (void)state;
    assert_int_equal(filemap_open(0, UINT64_MAX - 5, 10, &m, &why), ERR_IO);
    assert_int_equal(filemap_open(-1, 0, 10, &m, &why), ERR_IO);
}

static void filemap__close_takes_null(void **state)
{
    (void)state;
    filemap_close(NULL);
    filemap_close(&(struct filemap){0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filemap__gives_any_range),
        cmocka_unit_test(filemap__outlives_its_descriptor),
        cmocka_unit_test(filemap__refuses_what_cannot_be),
        cmocka_unit_test(filemap__close_takes_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
