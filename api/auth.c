/* SPDX-License-Identifier: Apache-2.0 */
/* auth.c - libcrypto for the hash and the comparison. */
#include "api/auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"

#define HEX_BYTES 64

struct auth {
    int count;
    char (*hashes)[HEX_BYTES + 1]; /* owned, lower-case hex */
};

void digest_hex(const struct digest_part *parts, int count, char out[65])
{
    EVP_MD_CTX   *ctx = EVP_MD_CTX_new();
    unsigned char raw[32];

    if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha256(), NULL))
        abort(); /* no memory, or a libcrypto without SHA-256 */
    for (int i = 0; i < count; i++)
        EVP_DigestUpdate(ctx, parts[i].bytes, parts[i].len);
    EVP_DigestFinal_ex(ctx, raw, NULL);
    EVP_MD_CTX_free(ctx);
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

/* Adds the key of one line; false when the line is not NAME:SHA256HEX. */
static bool add_line(struct auth *a, char *line)
{
    char *hash;

    line[strcspn(line, "\r\n")] = 0;
    if (!*line || *line == '#')
        return true;
    hash = strchr(line, ':');
    if (!hash || hash == line)
        return false;
    hash++;
    if (strlen(hash) != HEX_BYTES || strspn(hash, "0123456789abcdefABCDEF") != HEX_BYTES)
        return false;
    a->hashes = xrealloc(a->hashes, (size_t)(a->count + 1) * sizeof *a->hashes);
    for (int i = 0; i <= HEX_BYTES; i++)
        a->hashes[a->count][i] = (char)(hash[i] >= 'A' && hash[i] <= 'F' ? hash[i] + 32 : hash[i]);
    a->count++;
    return true;
}

enum err auth_load(const char *path, struct auth **out, struct fault *why)
{
    FILE        *file = fopen(path, "re");
    struct auth *a = NULL;
    char        *line = NULL;
    size_t       room = 0;
    enum err     e = ERR_OK;

    if (!file)
        return fault_set(why, ERR_CONFIG, "MILLRACE_API_KEY_FILE %.120s: %s", path, strerror(errno));
    a = xcalloc(1, sizeof *a);
    for (int number = 1; !e && getline(&line, &room, file) > 0; number++)
        if (!add_line(a, line))
            e = fault_set(why, ERR_CONFIG, "MILLRACE_API_KEY_FILE %.120s, line %d: not NAME:SHA256HEX", path, number);
    if (!e && !a->count)
        e = fault_set(why, ERR_CONFIG, "MILLRACE_API_KEY_FILE %.120s holds no key", path);
    free(line);
    fclose(file);
    if (e) {
        auth_free(a);
        return e;
    }
    *out = a;
    return ERR_OK;
}

void auth_free(struct auth *a)
{
    if (!a)
        return;
    free(a->hashes);
    free(a);
}

bool auth_allows(const struct auth *a, const char *authorization)
{
    char hash[65];
    int  found = 0;

    if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
        return false;
    authorization += 7;
    digest_hex(&(struct digest_part){authorization, strlen(authorization)}, 1, hash);
    for (int i = 0; i < a->count; i++)
        found |= CRYPTO_memcmp(hash, a->hashes[i], HEX_BYTES) == 0;
    return found;
}
