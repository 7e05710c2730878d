/* SPDX-License-Identifier: Apache-2.0 */
/* hash: SHA-512 over the body, then over its own digest, N times in all. The
 * raw result is the last digest: 64 bytes. */
#include "kinds/kind.h"

#include <math.h>

#define DIGEST_BYTES 64

static const struct param params[] = {
    {"iterations", PARAM_INT, 1, 1e12, true, NAN, "", "how often SHA-512 is applied"},
    {.type = PARAM_END},
};

static enum err check(const struct args *args, size_t input_len, size_t inline_max, size_t *result_bytes,
                      struct fault *why)
{
    (void)args;
    if (!input_len)
        return fault_set(why, ERR_BODY, "the body is empty; hash takes 1 to %zu bytes", inline_max);
    if (input_len > inline_max)
        return fault_set(why, ERR_TOO_LARGE, "the body has %zu bytes; the limit is %zu bytes", input_len, inline_max);
    *result_bytes = DIGEST_BYTES;
    return ERR_OK;
}

static enum err render_json(const void *raw, size_t len, struct buf *out, struct fault *why)
{
    const unsigned char *digest = raw;

    if (len != DIGEST_BYTES)
        return fault_set(why, ERR_INTERNAL, "a digest of %zu bytes", len);
    buf_text(out, "{\"value\":\"");
    for (size_t i = 0; i < len; i++) {
        char *hex = buf_reserve(out, 2);

        hex[0] = "0123456789abcdef"[digest[i] >> 4];
        hex[1] = "0123456789abcdef"[digest[i] & 15];
        out->len += 2;
    }
    buf_text(out, "\"}");
    return ERR_OK;
}

static const struct intake intakes[] = {{0}};

static const struct rendering renderings[] = {
    {"application/json", render_json},
    {"application/octet-stream", NULL},
    {0},
};

const struct kind_spec hash_spec = {
    .name = "hash",
    .help = "SHA-512 applied many times: first to the body, then to each digest",
    .params = params,
    .intakes = intakes,
    .renderings = renderings,
    .result_type = "application/octet-stream",
    .is_pulled = true,
    .takes_body = true,
    .check = check,
};
