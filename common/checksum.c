/* SPDX-License-Identifier: Apache-2.0 */
/* checksum.c - libxxhash, and nobody else knows it. */
#include "common/checksum.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

struct checksum *checksum_new(void)
{
    XXH3_state_t *state = XXH3_createState();

    if (!state)
        abort(); /* out of memory */
    XXH3_128bits_reset(state);
    return (struct checksum *)state;
}

void checksum_add(struct checksum *c, const void *bytes, size_t len)
{
    XXH3_128bits_update((XXH3_state_t *)c, bytes, len);
}

void checksum_hex(const struct checksum *c, char out[CHECKSUM_BYTES])
{
    XXH128_hash_t h = XXH3_128bits_digest((const XXH3_state_t *)c);

    snprintf(out, CHECKSUM_BYTES, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}

void checksum_free(struct checksum *c) { XXH3_freeState((XXH3_state_t *)c); }
