/* SPDX-License-Identifier: Apache-2.0 */
/* hash: the chain of digests. The first one is of the body, or of the one blob that stands for it.
 *
 * From the second round on every message is 64 bytes, so message, padding and
 * length are one 128-byte block of which only the first half changes. Calling
 * the compression function on it directly is the fastest form of one chain
 * that libcrypto has (the benchmark `kernels` compares). That function is
 * deprecated since OpenSSL 3.0 without a successor, hence the next line.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "kinds/raw.h"

#define ARG_ITERATIONS 0
#define ROUNDS_PER_PROGRESS 65536

struct block {
    uint64_t digest[8]; /* big-endian, as hashed */
    uint64_t padding[7];
    uint64_t bits;
};

static_assert(sizeof(struct block) == SHA512_CBLOCK, "one block of the compression function");

static void compress(SHA512_CTX *state, const SHA512_CTX *fresh, struct block *block)
{
    memcpy(state->h, fresh->h, sizeof(state->h));
    SHA512_Transform(state, (const unsigned char *)block);
    for (int i = 0; i < 8; i++)
        block->digest[i] = htobe64(state->h[i]);
}

/* The one-shot form would read openssl.cnf: not from a jail. */
static enum err digest_input(struct task *task, SHA512_CTX *state, unsigned char digest[SHA512_DIGEST_LENGTH])
{
    struct filemap map;
    enum err       e = raw_input(task, &map);

    if (e)
        return e;
    SHA512_Update(state, map.bytes, map.len);
    SHA512_Final(digest, state);
    filemap_close(&map);
    return ERR_OK;
}

enum err hash_run(struct task *task)
{
    int64_t      rounds = task->args->integer[ARG_ITERATIONS];
    struct block block = {.padding = {htobe64(1ULL << 63)}, .bits = htobe64(8 * sizeof(block.digest))};
    SHA512_CTX   fresh, state;
    enum err     e;

    if (!task->output || task->output_max < sizeof(block.digest))
        return fault_set(&task->why, ERR_INTERNAL, "no room for a digest");
    SHA512_Init(&fresh);
    state = fresh;
    e = digest_input(task, &state, (unsigned char *)block.digest);
    if (e)
        return e;
    state = fresh;
    for (int64_t done = 1; done < rounds;) {
        int64_t stop = rounds - done < ROUNDS_PER_PROGRESS ? rounds : done + ROUNDS_PER_PROGRESS;

        for (; done < stop; done++)
            compress(&state, &fresh, &block);
        atomic_store_explicit(task->progress, (double)done / (double)rounds, memory_order_relaxed);
    }
    memcpy(task->output, block.digest, sizeof(block.digest));
    task->output_len = sizeof(block.digest);
    return ERR_OK;
}
