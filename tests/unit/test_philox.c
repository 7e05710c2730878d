/* SPDX-License-Identifier: Apache-2.0 */
/* test_philox.c - the generator's published vectors, and runs of numbers against single ones. */
#include <stdlib.h>
#include <string.h>

#include "kinds/matrix/philox.h"
#include "tests/unit/check.h"

/* kat_vectors of Random123, philox4x32 with 10 rounds. */
static void philox__gives_the_published_blocks(void **state)
{
    static const uint32_t known[][3][4] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t out[4];

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        philox_block(known[i][0], known[i][1], out);
        assert_memory_equal(out, known[i][2], sizeof out);
    }
}

static double single(uint64_t seed, uint64_t counter)
{
    uint32_t out[4];

    philox_block((uint32_t[]){(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0},
                 (uint32_t[]){(uint32_t)seed, (uint32_t)(seed >> 32)}, out);
    return (double)((out[0] | (uint64_t)out[1] << 32) >> 11) / 9007199254740992.0;
}

static void fill__is_what_single_numbers_are(void **state)
{
    static const uint64_t counters[] = {0, 1, 0xfffffff0, 0xffffffffffffffc0};
    static const uint64_t seeds[] = {0, 7, 0x123456789abcdef0, UINT64_MAX};
    double                out[203];

    (void)state;
    for (size_t c = 0; c < 4; c++)
        for (size_t s = 0; s < 4; s++)
            for (size_t count = 0; count <= 200; count++) {
                out[count + 1] = -1;
                philox_fill(seeds[s], counters[c], out + 1, count);
                assert_true(out[count + 1] == -1);
                for (size_t i = 0; i < count; i++)
                    assert_true(out[i + 1] == single(seeds[s], counters[c] + i));
            }
}

static void fill__is_uniform(void **state)
{
    enum { COUNT = 1 << 16, BINS = 64 };
    static double numbers[COUNT];
    int           bins[BINS] = {0};

    (void)state;
    philox_fill(1, 0, numbers, COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_true(numbers[i] >= 0 && numbers[i] < 1);
        bins[(int)(numbers[i] * BINS)]++;
    }
    for (int i = 0; i < BINS; i++)
        assert_in_range(bins[i], COUNT / BINS * 8 / 10, COUNT / BINS * 12 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox__gives_the_published_blocks),
        cmocka_unit_test(fill__is_what_single_numbers_are),
        cmocka_unit_test(fill__is_uniform),
    };

    return cmocka_run_group_tests_name("philox", tests, NULL, NULL);
}
