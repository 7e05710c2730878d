/* SPDX-License-Identifier: Apache-2.0 */
/* test_image.c - what can be said about an image without a library: operations as text, and JPEG's metadata. */
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "kinds/image/jpeg.h"
#include "kinds/image/ops.h"
#include "kinds/image/sniff.h"
#include "kinds/kind.h"
#include "tests/unit/check.h"

static struct image_plan plan;

static void read_ops(const char *ops)
{
    struct fault why;

    if (image_ops_read(ops, &plan, &why))
        fail_msg("%s: %s", ops, why.detail);
}

static void refuses(const char *ops, const char *words)
{
    struct fault why = {0};

    if (image_ops_read(ops, &plan, &why) != ERR_PARAM || !strstr(why.detail, words))
        fail_msg("%s: not refused as '%s' but '%s'", ops, words, why.detail);
}

static void ops__are_read_in_their_order(void **state)
{
    (void)state;
    read_ops(
        "rotate:-12.5,scale:0.25,fit:640x480,thumbnail:128,crop:1x2+3+4,flip:v,flip:h,gray,blur:3,sharpen,sharpen:2");
    assert_int_equal(plan.count, 11);
    assert_int_equal(plan.format, IMAGE_SAME);
    assert_true(plan.ops[0].code == OP_ROTATE && plan.ops[0].number == -12.5);
    assert_true(plan.ops[1].code == OP_SCALE && plan.ops[1].number == 0.25);
    assert_true(plan.ops[2].code == OP_FIT && plan.ops[2].width == 640 && plan.ops[2].height == 480);
    assert_true(plan.ops[3].code == OP_THUMBNAIL && plan.ops[3].width == 128 && plan.ops[3].height == 128);
    assert_true(plan.ops[4].code == OP_CROP && plan.ops[4].width == 1 && plan.ops[4].height == 2);
    assert_true(plan.ops[4].x == 3 && plan.ops[4].y == 4);
    assert_true(plan.ops[5].code == OP_FLIP && plan.ops[5].is_vertical);
    assert_true(plan.ops[6].code == OP_FLIP && !plan.ops[6].is_vertical);
    assert_true(plan.ops[7].code == OP_GRAY && plan.ops[8].code == OP_BLUR && plan.ops[8].number == 3);
    assert_true(plan.ops[9].code == OP_SHARPEN && plan.ops[9].number == 0.5);
    assert_true(plan.ops[10].code == OP_SHARPEN && plan.ops[10].number == 2);
    read_ops("");
    assert_int_equal(plan.count, 0);
}

static void ops__convert_is_no_step(void **state)
{
    static const struct {
        const char       *ops;
        enum image_format format;
    } cases[] = {{"convert:jpeg", IMAGE_JPEG},      {"convert:jpg", IMAGE_JPEG}, {"convert:png,gray", IMAGE_PNG},
                 {"gray,convert:webp", IMAGE_WEBP}, {"convert:tif", IMAGE_TIFF}, {"convert:tiff", IMAGE_TIFF}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_ops(cases[i].ops);
        assert_int_equal(plan.format, cases[i].format);
        assert_int_equal(plan.count, strstr(cases[i].ops, "gray") != NULL);
    }
    refuses("convert:png,convert:png", "more than once");
}

/* The query of a URL has a blank for each plus that is not escaped. */
static void ops__a_crop_may_have_blanks_for_its_pluses(void **state)
{
    (void)state;
    read_ops("crop:10x20 3 4");
    assert_int_equal(plan.ops[0].width, 10);
    assert_int_equal(plan.ops[0].height, 20);
    assert_int_equal(plan.ops[0].x, 3);
    assert_int_equal(plan.ops[0].y, 4);
    refuses("crop:10x20  3 4", "must be crop:WxH+X+Y");
}

static void ops__what_cannot_be_read_is_named(void **state)
{
    (void)state;
    refuses(",", "operation 1, ''");
    refuses("gray,", "operation 2, ''");
    refuses("gray,Gray", "operation 2, 'Gray', is none of rotate");
    refuses("gray ", "operation 1, 'gray '");
    refuses("gray:", "operation 1, 'gray:', must be gray: it");
    refuses("gray:1", "must be gray: it");
    refuses("rotate", "must be rotate:ANGLE: it turns clockwise");
    refuses("rotate:", "must be rotate:ANGLE");
    refuses("rotate:361", "must be rotate:ANGLE");
    refuses("rotate:1e1", "must be rotate:ANGLE");
    refuses("rotate:nan", "must be rotate:ANGLE");
    refuses("rotate:+1", "must be rotate:ANGLE");
    refuses("rotate:1.", "must be rotate:ANGLE");
    refuses("rotate:.5", "must be rotate:ANGLE");
    refuses("rotate:--1", "must be rotate:ANGLE");
    refuses("scale:0", "must be scale:FACTOR");
    refuses("scale:-1", "must be scale:FACTOR");
    refuses("scale:100.1", "must be scale:FACTOR");
    refuses("fit:0", "must be fit:WxH or N");
    refuses("fit:1x", "must be fit:WxH or N");
    refuses("fit:x1", "must be fit:WxH or N");
    refuses("fit:1x2x3", "must be fit:WxH or N");
    refuses("fit:65536", "must be fit:WxH or N");
    refuses("fit:99999999999999999999x1", "must be fit:WxH or N");
    refuses("crop:1x1", "must be crop:WxH+X+Y");
    refuses("crop:0x1+0+0", "must be crop:WxH+X+Y");
    refuses("crop:1x1+0+-1", "must be crop:WxH+X+Y");
    refuses("crop:1x1+0+0+0", "must be crop:WxH+X+Y");
    refuses("flip:x", "must be flip:h or v");
    refuses("flip:hv", "must be flip:h or v");
    refuses("blur:0", "must be blur:SIGMA");
    refuses("sharpen:11", "must be sharpen:[SIGMA]");
    refuses("convert:gif", "must be convert:FORMAT");
    refuses("rotate:1:2", "must be rotate:ANGLE");
    refuses("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', is");
    refuses("gray,gray,gray,gray,gray,gray,gray,gray,gray,gray,gray,gray,gray,gray,gray,gray,gray", "more than 16");
}

static void ops__quarter_turns(void **state)
{
    (void)state;
    assert_int_equal(image_quarter_turns(0), 0);
    assert_int_equal(image_quarter_turns(90), 1);
    assert_int_equal(image_quarter_turns(-90), 3);
    assert_int_equal(image_quarter_turns(-360), 0);
    assert_int_equal(image_quarter_turns(270), 3);
    assert_int_equal(image_quarter_turns(89.9), -1);
}

static void ops__colours(void **state)
{
    unsigned char rgb[3];
    struct fault  why;

    (void)state;
    assert_int_equal(image_colour_read("0aFf80", rgb, &why), ERR_OK);
    assert_memory_equal(rgb, "\x0a\xff\x80", 3);
    assert_int_equal(image_colour_read("0aff8", rgb, &why), ERR_PARAM);
    assert_int_equal(image_colour_read("#aff80", rgb, &why), ERR_PARAM);
}

static void spec__checks_all_texts_at_submit(void **state)
{
    struct limits limits = {.inline_max = 1024, .result_max = 4096};
    struct input  in = {.body = "x", .body_len = 1, .refs = ""};
    struct fault  why;
    struct args   args;
    uint64_t      bytes;

    (void)state;
    args_init(&args);
    assert_int_equal(args_complete(&image_spec, &args, &why), ERR_OK);
    assert_int_equal(image_spec.check(&args, &in, &limits, &bytes, &why), ERR_OK);
    assert_int_equal(bytes, limits.result_max);
    args_init(&args);
    assert_int_equal(args_set(&image_spec, &args, "background", "nocolr", &why), ERR_OK);
    assert_int_equal(image_spec.check(&args, &in, &limits, &bytes, &why), ERR_PARAM);
    args_init(&args);
    assert_int_equal(args_set(&image_spec, &args, "ops", "rotate:x", &why), ERR_OK);
    assert_int_equal(image_spec.check(&args, &in, &limits, &bytes, &why), ERR_PARAM);
    args_init(&args);
    in.body_len = 0;
    assert_int_equal(image_spec.check(&args, &in, &limits, &bytes, &why), ERR_BODY);
}

/* ---- JPEG ---------------------------------------------------------------- */

#define EXIF_LE "Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
#define EXIF_BE "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0\0\0\0\0"

static void add_segment(struct buf *b, int code, const void *bytes, size_t len)
{
    unsigned char head[4] = {0xff, (unsigned char)code, (unsigned char)((len + 2) >> 8), (unsigned char)(len + 2)};

    buf_append(b, head, sizeof head);
    buf_append(b, bytes, len);
}

static struct buf make_jpeg(const void *exif, size_t len)
{
    struct buf b = {0};

    buf_append(&b, "\xff\xd8", 2);
    add_segment(&b, 0xe0, "JFIF", 5);
    add_segment(&b, 0xfe, "secret", 6);
    add_segment(&b, 0xe1, exif, len);
    add_segment(&b, 0xe2, "ICC_PROFILE\0\1\1abc", 17);
    add_segment(&b, 0xe0, "JFXX\0\x10thumbnail", 15);
    add_segment(&b, 0xe2, "MPF\0", 4);
    add_segment(&b, 0xee, "words", 5);
    add_segment(&b, 0xee, "Adobe", 5);
    add_segment(&b, 0xdb, "tables", 6);
    buf_append(&b, "\xff\xda\0\x02\xff\xe1\0\x06Exif", 12);
    return b;
}

static void jpeg__orientation_in_both_orders_of_bytes(void **state)
{
    struct buf le = make_jpeg(EXIF_LE, sizeof EXIF_LE - 1), be = make_jpeg(EXIF_BE, sizeof EXIF_BE - 1);

    (void)state;
    assert_int_equal(jpeg_orientation((unsigned char *)le.data, le.len), 6);
    assert_int_equal(jpeg_orientation((unsigned char *)be.data, be.len), 8);
    jpeg_set_upright((unsigned char *)le.data, le.len);
    jpeg_set_upright((unsigned char *)be.data, be.len);
    assert_int_equal(jpeg_orientation((unsigned char *)le.data, le.len), 1);
    assert_int_equal(jpeg_orientation((unsigned char *)be.data, be.len), 1);
    buf_free(&le);
    buf_free(&be);
}

static void jpeg__any_damage_is_no_orientation(void **state)
{
    struct buf b = make_jpeg(EXIF_LE, sizeof EXIF_LE - 1);

    (void)state;
    for (size_t len = 0; len < b.len; len++) { /* as many bytes as there are: a sanitizer sees a step beyond */
        unsigned char *cut = xmemdup(b.data, len);

        assert_in_range(jpeg_orientation(cut, len), 1, 8);
        jpeg_set_upright(cut, len);
        assert_true(jpeg_strip(cut, len) <= len);
        free(cut);
    }
    for (size_t at = 0; at < b.len; at++)
        for (int value = 0; value < 256; value += 51) {
            unsigned char *bad = xmemdup(b.data, b.len);

            bad[at] = (unsigned char)value;
            assert_in_range(jpeg_orientation(bad, b.len), 1, 8);
            jpeg_set_upright(bad, b.len);
            jpeg_strip(bad, b.len);
            free(bad);
        }
    buf_free(&b);
}

static void jpeg__strip_leaves_profile_tables_and_pixels(void **state)
{
    struct buf b = make_jpeg(EXIF_LE, sizeof EXIF_LE - 1), want = {0};
    size_t     len = jpeg_strip((unsigned char *)b.data, b.len);

    (void)state;
    buf_append(&want, "\xff\xd8", 2);
    add_segment(&want, 0xe0, "JFIF", 5);
    add_segment(&want, 0xe2, "ICC_PROFILE\0\1\1abc", 17);
    add_segment(&want, 0xee, "Adobe", 5);
    add_segment(&want, 0xdb, "tables", 6);
    buf_append(&want, "\xff\xda\0\x02\xff\xe1\0\x06Exif", 12);
    assert_int_equal(len, want.len);
    assert_memory_equal(b.data, want.data, len);
    buf_free(&b);
    buf_free(&want);
}

/* ---- formats ------------------------------------------------------------- */

static void sniff__formats_by_their_first_bytes(void **state)
{
    static const struct {
        const char       *bytes;
        size_t            len;
        enum image_format format;
    } cases[] = {{"\xff\xd8\xff\xe0", 4, IMAGE_JPEG},
                 {"\x89PNG\r\n\x1a\n", 8, IMAGE_PNG},
                 {"RIFF\0\0\0\0WEBP", 12, IMAGE_WEBP},
                 {"II*\0", 4, IMAGE_TIFF},
                 {"MM\0*", 4, IMAGE_TIFF},
                 {"II+\0", 4, IMAGE_TIFF}};
    enum image_format format;
    struct fault      why;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned char *bytes = (const unsigned char *)cases[i].bytes;

        assert_int_equal(sniff_format(bytes, cases[i].len, &format, &why), ERR_OK);
        assert_int_equal(format, cases[i].format);
        for (size_t len = 0; len < cases[i].len - (i == 0); len++) {
            unsigned char *cut = xmemdup(bytes, len);

            assert_int_equal(sniff_format(cut, len, &format, &why), ERR_BODY);
            free(cut);
        }
    }
}

static void sniff__webp_without_loss(void **state)
{
    static const unsigned char plain[] = "RIFF....WEBPVP8L\x01\0\0\0x", lossy[] = "RIFF....WEBPVP8 \x01\0\0\0x",
                               wrapped[] = "RIFF....WEBPVP8X\x01\0\0\0x\0ALPH\0\0\0\0VP8L\x01\0\0\0x",
                               wild[] = "RIFF....WEBPVP8X\xff\xff\xff\xffVP8L";

    (void)state;
    assert_true(sniff_webp_lossless(plain, sizeof plain - 1));
    assert_true(sniff_webp_lossless(wrapped, sizeof wrapped - 1));
    assert_false(sniff_webp_lossless(lossy, sizeof lossy - 1));
    assert_false(sniff_webp_lossless(wild, sizeof wild - 1));
    assert_false(sniff_webp_lossless(plain, 12));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ops__are_read_in_their_order),
        cmocka_unit_test(ops__convert_is_no_step),
        cmocka_unit_test(ops__a_crop_may_have_blanks_for_its_pluses),
        cmocka_unit_test(ops__what_cannot_be_read_is_named),
        cmocka_unit_test(ops__quarter_turns),
        cmocka_unit_test(ops__colours),
        cmocka_unit_test(spec__checks_all_texts_at_submit),
        cmocka_unit_test(jpeg__orientation_in_both_orders_of_bytes),
        cmocka_unit_test(jpeg__any_damage_is_no_orientation),
        cmocka_unit_test(jpeg__strip_leaves_profile_tables_and_pixels),
        cmocka_unit_test(sniff__formats_by_their_first_bytes),
        cmocka_unit_test(sniff__webp_without_loss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
