/* SPDX-License-Identifier: Apache-2.0 */
/* floor_hash.c - SHA-512 over its own digest, as bare as each way of calling libcrypto allows.
 *
 * Usage: floor_hash FORM ROUNDS. The forms:
 *   transform  the compression function on a block with the padding already in it: the fastest chain
 *   evp        the EVP interface with the digest fetched once and one context
 *   oneshot    SHA512(), which fetches the digest each time
 * Prints one JSON line with the time and the last digest; all forms give the same.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "loadtest/tool.h"

static void chain_transform(unsigned char digest[SHA512_DIGEST_LENGTH], long rounds)
{
    SHA512_CTX fresh, state;
    uint64_t   block[16] = {[8] = htobe64(1ULL << 63), [15] = htobe64(8 * SHA512_DIGEST_LENGTH)};

    SHA512_Init(&fresh);
    state = fresh;
    memcpy(block, digest, SHA512_DIGEST_LENGTH);
    while (rounds--) {
        memcpy(state.h, fresh.h, sizeof state.h);
        SHA512_Transform(&state, (const unsigned char *)block);
        for (int i = 0; i < 8; i++)
            block[i] = htobe64(state.h[i]);
    }
    memcpy(digest, block, SHA512_DIGEST_LENGTH);
}

static void chain_evp(unsigned char digest[SHA512_DIGEST_LENGTH], long rounds)
{
    EVP_MD     *sha = EVP_MD_fetch(NULL, "SHA512", NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (!sha || !ctx || EVP_DigestInit_ex(ctx, sha, NULL) != 1)
        tool_die("no SHA-512");
    while (rounds--) {
        EVP_DigestInit_ex(ctx, NULL, NULL);
        EVP_DigestUpdate(ctx, digest, SHA512_DIGEST_LENGTH);
        EVP_DigestFinal_ex(ctx, digest, NULL);
    }
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(sha);
}

static void chain_oneshot(unsigned char digest[SHA512_DIGEST_LENGTH], long rounds)
{
    while (rounds--)
        SHA512(digest, SHA512_DIGEST_LENGTH, digest);
}

static const struct form {
    const char *name;
    void (*chain)(unsigned char digest[SHA512_DIGEST_LENGTH], long rounds);
} forms[] = {{"transform", chain_transform}, {"evp", chain_evp}, {"oneshot", chain_oneshot}};

int main(int argc, char **argv)
{
    unsigned char digest[SHA512_DIGEST_LENGTH];
    int64_t       start_us;
    double        cpu, seconds;
    long          rounds;
    size_t        i = 0;

    if (argc != 3)
        tool_die("usage: floor_hash FORM ROUNDS");
    while (strcmp(forms[i].name, argv[1]) != 0)
        if (++i == sizeof forms / sizeof *forms)
            tool_die("FORM is transform, evp or oneshot, not '%s'", argv[1]);
    rounds = tool_number("ROUNDS", argv[2], 1, 1000000000000);
    SHA512((const unsigned char *)"millrace", 8, digest);
    cpu = tool_cpu_seconds();
    start_us = tool_mono_us();
    forms[i].chain(digest, rounds - 1); /* the first round was over the input */
    seconds = (double)(tool_mono_us() - start_us) / 1e6;
    cpu = tool_cpu_seconds() - cpu;
    printf("{\"form\":\"%s\",\"rounds\":%ld,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"ns_per_round\":%.2f,\"value\":\"",
           forms[i].name, rounds, seconds, cpu, seconds / (double)rounds * 1e9);
    for (size_t b = 0; b < sizeof digest; b++)
        printf("%02x", digest[b]);
    puts("\"}");
    return 0;
}
