/* SPDX-License-Identifier: Apache-2.0 */
/* hash: SHA-512 over the body, then over its own digest, N times in all. The
 * raw result is the last digest: 64 bytes.
 */
#include "kinds/kind.h"
#include "kinds/render.h"

#include <math.h>

#define DIGEST_BYTES 64
#define INPUT_MAX (16 << 20) /* bytes */

static const struct param params[] = {
    {"iterations", PARAM_INT, 1, 1e12, true, NAN, "", "how often SHA-512 is applied"},
    {.type = PARAM_END},
};

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    (void)args;
    *result_bytes = DIGEST_BYTES;
    return input_check_raw(&hash_spec, in, limits, why);
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

static enum err open_json(const struct result_face *face, const char *rows, const char *cols, void **stream,
                          uint64_t *size, struct fault *why)
{
    return render_open_whole(face, rows, cols, render_json, stream, size, why);
}

static const struct intake intakes[] = {{0}};

static const struct rendering renderings[] = {
    {"application/json", true, open_json, render_read_whole, render_close_whole},
    {"application/octet-stream", true, render_open_raw, render_read_raw, render_close_raw},
    {0},
};

const struct kind_spec hash_spec = {
    .name = "hash",
    .help = "SHA-512 applied many times: first to the body, then to each digest",
    .params = params,
    .intakes = intakes,
    .raw_max = INPUT_MAX,
    .renderings = renderings,
    .result_type = "application/octet-stream",
    .is_pulled = true,
    .takes_body = true,
    .check = check,
};
