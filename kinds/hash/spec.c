/* SPDX-License-Identifier: Apache-2.0 */
/* hash: SHA-512 over the body, then over its own digest, N times in all. The
 * raw result is the last digest: 64 bytes.
 *
 * An input beyond inline_max is a blob: {"blobs":["ID"],"size":N}, without a body.
 */
#include "kinds/kind.h"
#include "kinds/render.h"

#include <jansson.h>
#include <math.h>

#define DIGEST_BYTES 64
#define INPUT_MAX (16 << 20) /* bytes */

static const struct param params[] = {
    {"iterations", PARAM_INT, 1, 1e12, true, NAN, "", "how often SHA-512 is applied"},
    {.type = PARAM_END},
};

/* Bytes of the input: of the body, or of the one blob that stands for it. False: refs that say nothing of the kind. */
static bool read_size(const struct input *in, uint64_t *bytes)
{
    json_t *doc = *in->refs ? json_loads(in->refs, JSON_REJECT_DUPLICATES, NULL) : NULL;
    json_t *size = json_object_get(doc, "size");
    bool    is_fine = !*in->refs || (!in->body_len && json_array_size(json_object_get(doc, "blobs")) == 1 &&
                                  json_is_integer(size) && json_integer_value(size) >= 0);

    *bytes = *in->refs ? (uint64_t)json_integer_value(size) : in->body_len;
    json_decref(doc);
    return is_fine;
}

static enum err check(const struct args *args, const struct input *in, const struct limits *limits,
                      uint64_t *result_bytes, struct fault *why)
{
    bool     is_blob = *in->refs;
    size_t   most = limits->has_blobs || is_blob ? INPUT_MAX : limits->inline_max; /* of any input */
    size_t   here = is_blob ? INPUT_MAX : limits->inline_max;                      /* of one that comes like this */
    uint64_t bytes;

    (void)args;
    if (!read_size(in, &bytes))
        return fault_set(why, ERR_BODY, "the input's references do not name one blob and its size");
    if (!bytes)
        return fault_set(why, ERR_BODY, "the body is empty; hash takes 1 to %zu bytes", most);
    if (bytes > here)
        return fault_set(why, ERR_TOO_LARGE, "the body has %llu bytes; the limit is %zu bytes",
                         (unsigned long long)bytes, here);
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
