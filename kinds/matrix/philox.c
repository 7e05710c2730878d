/* SPDX-License-Identifier: Apache-2.0 */
/* philox.c - ten rounds of two 32 x 32 bit products each.
 *
 * A vector holds one block per 64-bit lane, a word of it in the lane's low half; what gathers in the high halves
 * is never looked at, since the multiplication reads the low ones alone. Four vectors go side by side: each
 * round waits for the one before. The vector units' widening product has no name in C, so it is called by that
 * of the instruction, once for each width.
 */
#include "kinds/matrix/philox.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define ROUNDS 10
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define STEP_0 0x9E3779B9u /* the key moves on with each round */
#define STEP_1 0xBB67AE85u

/* x: the counter, and in its place the block. */
static inline void scramble(uint32_t x[4], uint32_t k0, uint32_t k1)
{
    for (int r = 0; r < ROUNDS; r++, k0 += STEP_0, k1 += STEP_1) {
        uint64_t p0 = (uint64_t)x[0] * MULTIPLIER_0, p1 = (uint64_t)x[2] * MULTIPLIER_1;

        x[0] = (uint32_t)(p1 >> 32) ^ x[1] ^ k0;
        x[1] = (uint32_t)p1;
        x[2] = (uint32_t)(p0 >> 32) ^ x[3] ^ k1;
        x[3] = (uint32_t)p0;
    }
}

void philox_block(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t x[4];

    memcpy(x, counter, sizeof x);
    scramble(x, key[0], key[1]);
    memcpy(out, x, sizeof x);
}

static void fill_plain(uint64_t seed, uint64_t counter, double *out, size_t count)
{
    for (size_t i = 0; i < count; i++, counter++) {
        uint32_t x[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0};

        scramble(x, (uint32_t)seed, (uint32_t)(seed >> 32));
        out[i] = (double)((x[0] | (uint64_t)x[1] << 32) >> 11) * 0x1p-53;
    }
}

#if defined(__x86_64__)

#define SIDE_BY_SIDE 4

/* Fills whole groups of vectors and returns how many numbers that were. The 53 bits become a double in two
 * halves, each put into the mantissa of a power of two that is then taken away: exact, and on any width. */
#define DEFINE_FILL(name, features, BYTES, MULTIPLY)                                                                   \
    __attribute__((target(features))) static size_t name(uint64_t seed, uint64_t counter, double *out, size_t count)   \
    {                                                                                                                  \
        typedef uint64_t words __attribute__((vector_size(BYTES)));                                                    \
        typedef double   reals __attribute__((vector_size(BYTES)));                                                    \
        enum { LANES = (BYTES) / 8, GROUP = LANES * SIDE_BY_SIDE };                                                    \
        const words low = (words){0} + 0xffffffffu, m0 = (words){0} + MULTIPLIER_0, m1 = (words){0} + MULTIPLIER_1;    \
        size_t      done = 0;                                                                                          \
                                                                                                                       \
        for (; count - done >= GROUP; done += GROUP) {                                                                 \
            words    x0[SIDE_BY_SIDE], x1[SIDE_BY_SIDE], x2[SIDE_BY_SIDE] = {{0}}, x3[SIDE_BY_SIDE] = {{0}};           \
            uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);                                                 \
                                                                                                                       \
            for (int v = 0; v < SIDE_BY_SIDE; v++) {                                                                   \
                for (int i = 0; i < LANES; i++)                                                                        \
                    x0[v][i] = counter + done + (size_t)(v * LANES + i);                                               \
                x1[v] = x0[v] >> 32;                                                                                   \
            }                                                                                                          \
            for (int r = 0; r < ROUNDS; r++, k0 += STEP_0, k1 += STEP_1)                                               \
                _Pragma("GCC unroll 4") for (int v = 0; v < SIDE_BY_SIDE; v++)                                         \
                {                                                                                                      \
                    words p0 = (words)MULTIPLY(x0[v], m0), p1 = (words)MULTIPLY(x2[v], m1);                            \
                                                                                                                       \
                    x0[v] = (p1 >> 32) ^ x1[v] ^ (uint64_t)k0;                                                         \
                    x1[v] = p1;                                                                                        \
                    x2[v] = (p0 >> 32) ^ x3[v] ^ (uint64_t)k1;                                                         \
                    x3[v] = p0;                                                                                        \
                }                                                                                                      \
            for (int v = 0; v < SIDE_BY_SIDE; v++) {                                                                   \
                words u = (x1[v] << 32 | (x0[v] & low)) >> 11;                                                         \
                reals lower = (reals)((u & low) | 0x4330000000000000u) - 0x1p52;                                       \
                reals upper = (reals)(u >> 32 | 0x4530000000000000u) - 0x1p84;                                         \
                reals y = (upper + lower) * 0x1p-53;                                                                   \
                                                                                                                       \
                memcpy(out + done + v * LANES, &y, sizeof y);                                                          \
            }                                                                                                          \
        }                                                                                                              \
        return done;                                                                                                   \
    }

#define MULTIPLY_512(a, b) _mm512_mul_epu32((__m512i)(a), (__m512i)(b))
#define MULTIPLY_256(a, b) _mm256_mul_epu32((__m256i)(a), (__m256i)(b))

DEFINE_FILL(fill_avx512, "avx512f", 64, MULTIPLY_512)
DEFINE_FILL(fill_avx2, "avx2", 32, MULTIPLY_256)

static size_t fill_wide(uint64_t seed, uint64_t counter, double *out, size_t count)
{
    if (__builtin_cpu_supports("avx512f"))
        return fill_avx512(seed, counter, out, count);
    return __builtin_cpu_supports("avx2") ? fill_avx2(seed, counter, out, count) : 0;
}

#else

static size_t fill_wide(uint64_t seed, uint64_t counter, double *out, size_t count)
{
    (void)seed, (void)counter, (void)out, (void)count;
    return 0;
}

#endif

void philox_fill(uint64_t seed, uint64_t counter, double *out, size_t count)
{
    size_t done = fill_wide(seed, counter, out, count);

    fill_plain(seed, counter + done, out + done, count - done);
}
