/* SPDX-License-Identifier: Apache-2.0 */
/* test_hash.c - the chain of digests against the plain form of it, and its two renderings. */
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kinds/task.h"
#include "tests/unit/check.h"

static enum err run(const void *input, size_t len, int64_t iterations, unsigned char out[64], double *progress)
{
    struct args    args = {.integer = {iterations}, .real = {(double)iterations}};
    _Atomic double shown = 0;
    struct task    task = {.args = &args,
                           .input = input,
                           .input_len = len,
                           .output = out,
                           .output_max = 64,
                           .output_fd = -1,
                           .refs = "",
                           .threads = 1,
                           .progress = &shown};
    enum err       e = hash_run(&task);

    assert_int_equal(task.output_len, 64);
    *progress = shown;
    return e;
}

static void expect_chain(const void *input, size_t len, int64_t iterations)
{
    unsigned char wanted[64], got[64];
    double        progress;

    SHA512(input, len, wanted);
    for (int64_t i = 1; i < iterations; i++)
        SHA512(wanted, sizeof(wanted), wanted);
    assert_int_equal(run(input, len, iterations, got, &progress), ERR_OK);
    assert_memory_equal(got, wanted, sizeof(wanted));
    assert_true(iterations == 1 || progress == 1.0);
}

static void hash__is_sha512_applied_so_often(void **state)
{
    char input[1000];

    (void)state;
    memset(input, 'x', sizeof(input));
    for (size_t len = 1; len < 300; len++)
        expect_chain(input, len, 1);
    expect_chain(input, sizeof(input), 2);
    expect_chain(input, 64, 3);
    expect_chain("a", 1, 65535);
    expect_chain("a", 1, 65536);
    expect_chain("a", 1, 65537);
    expect_chain("a", 1, 65538);
}

static void hash__of_a_blob_is_that_of_its_bytes(void **state)
{
    enum { LEN = 3 * 4096 + 5 };
    static unsigned char bytes[LEN], inline_digest[64], digest[64];
    struct args          args = {.integer = {3}, .real = {3}};
    _Atomic double       progress = 0;
    double               shown;
    struct task          task = {.args = &args,
                                 .refs = "{\"blobs\":[\"one\"],\"size\":12293}",
                                 .blob_count = 1,
                                 .blob_fds = {memfd_create("input", 0)},
                                 .blob_bytes = {LEN},
                                 .output = digest,
                                 .output_max = 64,
                                 .output_fd = -1,
                                 .threads = 1,
                                 .progress = &progress};

    (void)state;
    for (int i = 0; i < LEN; i++)
        bytes[i] = (unsigned char)(i * 7);
    assert_int_equal(write(task.blob_fds[0], bytes, LEN), LEN);
    assert_int_equal(hash_run(&task), ERR_OK);
    assert_int_equal(run(bytes, LEN, 3, inline_digest, &shown), ERR_OK);
    assert_memory_equal(digest, inline_digest, 64);
    close(task.blob_fds[0]);
    assert_int_equal(hash_run(&task), ERR_IO);
    assert_string_equal(task.why.detail, "12293 bytes of a file cannot be mapped: Bad file descriptor");
}

static void hash__an_empty_body_is_refused(void **state)
{
    struct args  args;
    struct fault why = {0};
    uint64_t     bytes = 0;

    (void)state;
    args_init(&args);
    assert_int_equal(
        hash_spec.check(&args, &(struct input){NULL, 0, ""}, &(struct limits){.inline_max = 1024}, &bytes, &why),
        ERR_BODY);
    assert_int_equal(why.err, ERR_BODY);
    assert_int_equal(
        hash_spec.check(&args, &(struct input){NULL, 1024, ""}, &(struct limits){.inline_max = 1024}, &bytes, &why),
        ERR_OK);
    assert_int_equal(bytes, 64);
    assert_int_equal(
        hash_spec.check(&args, &(struct input){NULL, 1025, ""}, &(struct limits){.inline_max = 1024}, &bytes, &why),
        ERR_TOO_LARGE);
}

/* An input that is a blob, and what check says of it. */
static enum err check_blob(const char *refs, size_t body, struct fault *why)
{
    struct args args;
    uint64_t    bytes = 0;

    args_init(&args);
    return hash_spec.check(&args, &(struct input){NULL, body, refs},
                           &(struct limits){.inline_max = 1024, .has_blobs = true}, &bytes, why);
}

static void hash__a_blob_has_up_to_16_mib(void **state)
{
    struct fault why = {0};

    (void)state;
    assert_int_equal(hash_spec.raw_max, 16 << 20);
    assert_int_equal(check_blob("{\"blobs\":[\"x\"],\"size\":16777216}", 0, &why), ERR_OK);
    assert_int_equal(check_blob("{\"blobs\":[\"x\"],\"size\":16777217}", 0, &why), ERR_TOO_LARGE);
    assert_string_equal(why.detail, "the body has 16777217 bytes; the limit is 16777216 bytes");
    assert_int_equal(check_blob("", 1025, &why), ERR_TOO_LARGE); /* the gateway makes a blob of it */
    assert_string_equal(why.detail, "the body has 1025 bytes; the limit is 1024 bytes");
    assert_int_equal(check_blob("{\"blobs\":[\"x\"],\"size\":0}", 0, &why), ERR_BODY);
    assert_string_equal(why.detail, "the body is empty; hash takes 1 to 16777216 bytes");
    for (int i = 0; i < 5; i++) {
        static const char *const refs[] = {"{\"blobs\":[\"x\"]}", "{\"blobs\":[],\"size\":5}", "[]",
                                           "{\"blobs\":[\"x\"],\"size\":-1}", "{\"blobs\":[\"x\",\"y\"],\"size\":5}"};

        assert_int_equal(check_blob(refs[i], 0, &why), ERR_BODY);
    }
    assert_int_equal(check_blob("{\"blobs\":[\"x\"],\"size\":5}", 1, &why), ERR_BODY);
}

static size_t piece_len;

static uint64_t piece_size(void *ctx, int64_t piece)
{
    (void)ctx, (void)piece;
    return piece_len;
}

static bool read_piece(void *ctx, int64_t piece, uint64_t offset, void *out, size_t len)
{
    (void)piece;
    memcpy(out, (const char *)ctx + offset, len);
    return true;
}

/* The first form of a raw result, as the gateway would send it. */
static enum err render(void *raw, size_t len, struct buf *out, struct fault *why)
{
    const struct rendering  *form = &hash_spec.renderings[0];
    const struct result_face face = {raw, "", 1, piece_size, read_piece};
    void                    *stream;
    uint64_t                 size;
    enum err                 e;

    piece_len = len;
    e = form->open(&face, NULL, NULL, &stream, &size, why);
    if (e)
        return e;
    out->len += (size_t)form->read(stream, 0, buf_reserve(out, size), size, why);
    form->close(stream);
    return ERR_OK;
}

static void hash__renders_lower_case_hex(void **state)
{
    unsigned char digest[64];
    struct buf    out = {0};
    struct fault  why;
    char         *text;

    (void)state;
    for (int i = 0; i < 64; i++)
        digest[i] = (unsigned char)(i * 4 + 3);
    assert_string_equal(hash_spec.renderings[0].content_type, "application/json");
    assert_int_equal(render(digest, 64, &out, &why), ERR_OK);
    text = buf_detach(&out);
    assert_int_equal(strlen(text), 12 - 1 + 128 + 2 - 1);
    assert_memory_equal(text, "{\"value\":\"03070b0f1317", 22);
    assert_string_equal(text + strlen(text) - 6, "fbff\"}");
    free(text);
    assert_int_equal(render(digest, 63, &out, &why), ERR_INTERNAL);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash__is_sha512_applied_so_often),
        cmocka_unit_test(hash__of_a_blob_is_that_of_its_bytes),
        cmocka_unit_test(hash__an_empty_body_is_refused),
        cmocka_unit_test(hash__a_blob_has_up_to_16_mib),
        cmocka_unit_test(hash__renders_lower_case_hex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
