# SPDX-License-Identifier: Apache-2.0
"""Kind image against Pillow: sizes, pixels, metadata, and what is refused. Every run is in the jail."""

import io
import os
import random
import resource
import struct
import subprocess
import zlib

import numpy
import pytest
from PIL import Image, ImageCms, ImageOps, IptcImagePlugin, PngImagePlugin, features

from harness import BUILD

DRIVER = os.path.join(BUILD, "image_driver")
MEMORY_MAX = 1 << 30
ROOM_MAX = 64 << 20
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "TIFF": "image/tiff"}
LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}
ORIENTATION = 0x0112
MAKE = 0x010f
IPTC, PHOTOSHOP_TAG = 33723, 34377


class Refused(Exception):
    pass


def run(tmp_path, body, ops=None, memory_max=MEMORY_MAX, room_max=ROOM_MAX, jailed=True, **params):
    """The result's bytes; raises Refused with the sentence. run.words: what the driver said about it."""
    (tmp_path / "in").write_bytes(body)
    if ops is not None:
        params["ops"] = ops
    done = subprocess.run([DRIVER, "jailed" if jailed else "free", tmp_path / "in", tmp_path / "out", str(memory_max),
                           str(room_max), *(f"{name}={value}" for name, value in params.items())],
                          capture_output=True, text=True, timeout=60)
    if done.returncode == 1:
        raise Refused(done.stderr.strip())
    assert done.returncode == 0, (done.returncode, done.stderr)
    run.words = done.stdout.split()
    return (tmp_path / "out").read_bytes()


@pytest.fixture
def image(tmp_path):
    """image(body, ops, ...) -> a loaded Pillow image."""
    def call(body, ops=None, **params):
        out = Image.open(io.BytesIO(run(tmp_path, body, ops, **params)))
        assert run.words[1] == FORMATS[out.format]
        out.load()
        return out
    return call


@pytest.fixture
def refusal(tmp_path):
    def call(body, ops=None, **params):
        with pytest.raises(Refused) as caught:
            run(tmp_path, body, ops, **params)
        return str(caught.value)
    return call


def draw(width=96, height=64, mode="RGB", noise=0):
    """Smooth, and different in every corner."""
    y, x = numpy.mgrid[0:height, 0:width]
    bands = [x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) * 255 // max(1, width + height - 2),
             255 - x * 200 // max(1, width - 1)]
    count = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    pixels = numpy.stack(bands[:count], axis=2).astype(numpy.int64)
    if noise:
        pixels += numpy.random.default_rng(1).integers(-noise, noise, pixels.shape)
    pixels = pixels.clip(0, 255).astype(numpy.uint8)
    return Image.fromarray(pixels[:, :, 0] if count == 1 else pixels, mode)


def save(picture, format, **options):
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def array(picture):
    return numpy.asarray(picture).astype(numpy.int64)


def distance(a, b):
    assert a.size == b.size and a.mode == b.mode, (a.size, b.size, a.mode, b.mode)
    return numpy.abs(array(a) - array(b)).mean()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("ops, size", [
    ("", (96, 64)), ("rotate:90", (64, 96)), ("rotate:-180", (96, 64)), ("rotate:45", (113, 113)), ("scale:0.5", (48, 32)),
    ("scale:2", (192, 128)), ("fit:48", (48, 32)), ("fit:1000x16", (24, 16)), ("fit:1000", (96, 64)),
    ("thumbnail:32", (32, 32)), ("thumbnail:200x10", (200, 10)), ("thumbnail:7x50", (7, 50)), ("crop:10x20+86+44", (10, 20)),
    ("flip:h", (96, 64)), ("flip:v", (96, 64)), ("gray", (96, 64)), ("blur:2", (96, 64)), ("sharpen", (96, 64)), ("sharpen:2", (96, 64)),
    ("rotate:30,scale:0.5,crop:20x20+5+5,blur:1,rotate:10,gray,flip:v,rotate:90", (23, 23))])
def test_sizes(image, format, ops, size):
    out = image(save(draw(), format), ops)
    assert (out.format, out.size) == (format, size)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 9])
def test_what_is_thin_may_be_made_much_smaller(image, format, side):
    for width, height in ((side, 300), (300, side)):
        body = save(draw(width, height), format)
        for ops, factor in (("scale:0.01", 0.01), ("scale:0.1", 0.1), ("scale:0.2", 0.2), ("fit:7", 7 / 300)):
            size = tuple(max(1, int(factor * length + 0.5)) for length in (width, height))
            assert image(body, ops).size == size, (width, height, ops)
        assert image(body, "thumbnail:1").size == (1, 1)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_every_format_becomes_every_other(image, source, target, mode):
    if source == "JPEG" and mode == "RGBA":
        pytest.skip("JPEG has no transparency")
    before = draw(mode=mode)
    out = image(save(before, source), f"convert:{target.lower()}")
    assert out.format == target
    want = Image.open(io.BytesIO(save(before, source))).convert(mode)
    if mode == "RGBA" and target == "JPEG":
        want = Image.alpha_composite(Image.new("RGBA", want.size, (255, 255, 255, 255)), want).convert("RGB")
    assert distance(out.convert(want.mode), want) < (4 if target in ("JPEG", "WEBP") else 1)


@pytest.mark.parametrize("format", LOSSLESS)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_turns_flips_and_crops_keep_each_pixel(image, format, mode):
    if format == "WEBP" and mode == "L":
        pytest.skip("WebP has no gray")
    before = draw(97, 51, mode, noise=20)
    for ops, want in [("rotate:90", before.transpose(Image.ROTATE_270)), ("rotate:180", before.transpose(Image.ROTATE_180)),
                      ("rotate:270", before.transpose(Image.ROTATE_90)), ("rotate:-90", before.transpose(Image.ROTATE_90)),
                      ("flip:h", before.transpose(Image.FLIP_LEFT_RIGHT)), ("flip:v", before.transpose(Image.FLIP_TOP_BOTTOM)),
                      ("rotate:90,flip:v,rotate:90",
                       before.transpose(Image.ROTATE_270).transpose(Image.FLIP_TOP_BOTTOM).transpose(Image.ROTATE_270)),
                      ("crop:31x17+5+9", before.crop((5, 9, 36, 26)))]:
        out = image(save(before, format, **LOSSLESS[format]), ops)
        assert (array(out) == array(want)).all(), ops


def test_a_lossy_webp_is_written_with_loss_and_a_quality_has_its_way(tmp_path):
    before = draw(256, 256, noise=60)
    lossless = save(before, "WEBP", lossless=True)
    sizes = [len(run(tmp_path, lossless, "flip:h")), len(run(tmp_path, lossless, "flip:h", quality=90)),
             len(run(tmp_path, lossless, "flip:h", quality=10)), len(run(tmp_path, save(before, "WEBP"), "flip:h"))]
    assert sizes[0] > sizes[1] > sizes[3] > sizes[2]


# ---- JPEG without loss ------------------------------------------------------

def tagged(picture, orientation, **options):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKE] = "Camera"
    return save(picture, "JPEG", exif=exif.tobytes(), **options)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("ops", ["rotate:90", "rotate:180", "rotate:270", "flip:h", "flip:v", "rotate:90,flip:h"])
def test_a_jpeg_comes_back_from_its_turns_bit_by_bit(tmp_path, subsampling, ops):
    file = save(draw(96, 64, noise=30), "JPEG", quality=80, subsampling=subsampling)
    for _ in range(4):
        file = run(tmp_path, file, ops)
    first = Image.open(io.BytesIO(save(draw(96, 64, noise=30), "JPEG", quality=80, subsampling=subsampling)))
    assert (array(Image.open(io.BytesIO(file))) == array(first)).all()


def test_a_jpeg_that_ends_within_a_block_is_decoded_and_encoded(image):
    file = save(draw(97, 51), "JPEG", quality=95)
    out = image(file, "rotate:90")
    assert out.size == (51, 97)
    assert distance(out, Image.open(io.BytesIO(file)).transpose(Image.ROTATE_270)) < 2
    assert out.quantization != Image.open(io.BytesIO(file)).quantization


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(96, 64), (97, 51)], ids=["blocks", "odd"])
@pytest.mark.parametrize("ops", ["", "rotate:90", "flip:v", "scale:0.5", "rotate:20", "thumbnail:10"])
def test_orientation_is_respected_and_reset(image, orientation, size, ops):
    before = draw(*size)
    file = tagged(before, orientation, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    out = image(file, ops)
    exif = out.getexif()
    assert exif.get(ORIENTATION, 1) == 1 and exif[MAKE] == "Camera"
    want = {"": upright, "rotate:90": upright.transpose(Image.ROTATE_270), "flip:v": upright.transpose(Image.FLIP_TOP_BOTTOM),
            "scale:0.5": upright.resize(out.size, Image.LANCZOS), "rotate:20": out,
            "thumbnail:10": ImageOps.fit(upright, (10, 10), Image.LANCZOS)}[ops]
    assert distance(out, want) < (8 if out.size == (10, 10) else 5)
    if ops == "rotate:20":
        middle = upright.getpixel((upright.width // 2, upright.height // 2))
        assert numpy.abs(numpy.subtract(out.getpixel((out.width // 2, out.height // 2)), middle)).max() < 10


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_orientation_of_other_formats(image, format):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    file = save(draw(), format, exif=exif, **LOSSLESS[format]) if format != "TIFF" else save(draw(), format, tiffinfo={ORIENTATION: 6})
    out = image(file, "")
    assert (array(out) == array(draw().transpose(Image.ROTATE_270))).all()
    assert out.getexif().get(ORIENTATION, 1) == 1


# ---- metadata ---------------------------------------------------------------

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("ops", ["rotate:90", "scale:0.5", "convert:png", "convert:webp", "convert:tiff"])
def test_metadata_is_kept_unless_it_is_to_be_stripped(image, ops):
    file = tagged(draw(), 1, icc_profile=SRGB)
    kept, stripped = image(file, ops), image(file, ops, strip=1)
    assert kept.info["icc_profile"] == stripped.info["icc_profile"] == SRGB
    if kept.format != "TIFF":  # libvips writes no EXIF into TIFF
        assert kept.getexif()[MAKE] == "Camera"
    assert MAKE not in stripped.getexif()
    assert array(kept).tobytes() == array(stripped).tobytes()


def test_stripping_alone_keeps_the_coefficients(tmp_path, image):
    file = tagged(draw(noise=30), 1, comment=b"secret words")
    assert b"secret words" in run(tmp_path, file, "") and b"Camera" in run(tmp_path, file, "")
    out = run(tmp_path, file, "", strip=1)
    assert b"secret words" not in out and b"Camera" not in out
    assert (array(Image.open(io.BytesIO(out))) == array(Image.open(io.BytesIO(file)))).all()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", "secret words")
    file = save(draw(), "PNG", pnginfo=texts)
    assert image(file, "flip:h").text == {"Comment": "secret words"}
    assert image(file, "flip:h", strip=1).text == {}


def jpeg_with(*segments):
    """A JPEG with further segments (code, bytes) behind JFIF's."""
    file = save(draw(), "JPEG")
    added = b"".join(bytes((0xff, code)) + struct.pack(">H", len(content) + 2) + content for code, content in segments)
    return file[:20] + added + file[20:]


@pytest.mark.parametrize("ops", ["", "rotate:90", "scale:0.5"])
@pytest.mark.parametrize("code, mark", [(0xe0, b"JFXX\0\x10"), (0xe0, b"CIFF"), (0xee, b"Notes"), (0xe2, b"MPF\0")])
def test_stripping_leaves_no_segment_of_an_application(tmp_path, ops, code, mark):
    assert b"secret" not in run(tmp_path, jpeg_with((code, mark + b"secret words")), ops, strip=1)


CAPTION = b"\x1c\x02\x78\0\x07a plant"  # one field of IPTC
PHOTOSHOP = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(CAPTION)) + CAPTION


def test_iptc_goes_along_or_is_left_out(image):
    file = jpeg_with((0xed, b"Photoshop 3.0\0" + PHOTOSHOP))
    assert IptcImagePlugin.getiptcinfo(image(file, "scale:0.5")) == {(2, 120): b"a plant"}
    assert IPTC not in image(file, "convert:tiff").tag_v2
    file = save(draw(), "TIFF", tiffinfo={IPTC: CAPTION, PHOTOSHOP_TAG: PHOTOSHOP})
    out = image(file, "scale:0.5")
    assert IPTC not in out.tag_v2 and out.tag_v2[PHOTOSHOP_TAG] == PHOTOSHOP
    assert "APP13" not in dict(image(file, "convert:jpeg").applist)


# ---- what the operations do -------------------------------------------------

def test_rotation_turns_clockwise_and_shows_the_background(image):
    before = Image.new("RGB", (101, 101), (0, 0, 255))
    before.paste((255, 0, 0), (45, 0, 56, 20))  # a mark on top
    out = image(save(before, "PNG"), "rotate:45", background="00ff00")
    assert out.getpixel((1, 1)) == (0, 255, 0)
    centre = out.width // 2
    assert out.getpixel((centre + 30, centre - 30)) == (255, 0, 0)  # the mark is to the right of the top
    assert image(save(before, "PNG"), "rotate:45").getpixel((1, 1)) == (255, 255, 255)
    assert image(save(before, "JPEG"), "rotate:45", background="202020").getpixel((1, 1)) == (32, 32, 32)
    assert image(save(before.convert("L"), "PNG"), "rotate:45", background="808080").getpixel((1, 1)) == 128
    assert image(save(before.convert("RGBA"), "PNG"), "rotate:45").getpixel((1, 1))[3] == 0


def test_a_rotation_is_pillows(image):
    before = draw(200, 100)
    for angle in (10, 45, 123.4, -200):
        out = image(save(before, "PNG"), f"rotate:{angle}", background="000000")
        want = before.rotate(-angle, Image.BILINEAR, expand=True)
        assert abs(out.width - want.width) <= 2 and abs(out.height - want.height) <= 2
        side = 40
        def middle(picture):
            x, y = (picture.width - side) // 2, (picture.height - side) // 2
            return picture.crop((x, y, x + side, y + side))
        assert distance(middle(out), middle(want)) < 3


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_scaling_is_pillows(image, mode):
    before = draw(300, 200, mode)
    for ops, size in [("scale:0.5", (150, 100)), ("scale:0.1", (30, 20)), ("scale:1.7", (510, 340)), ("fit:77", (77, 51))]:
        out = image(save(before, "PNG"), ops)
        assert out.size == size and distance(out, before.resize(size, Image.LANCZOS)) < 2


def test_a_thumbnail_shows_the_middle(image):
    before = draw(300, 100)
    out = image(save(before, "PNG"), "thumbnail:50")
    assert distance(out, ImageOps.fit(before, (50, 50), Image.LANCZOS)) < 2


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(image):
    before = draw(2000, 1500)
    for ops, size in [("scale:0.05", (100, 75)), ("fit:90", (90, 68)), ("thumbnail:64", (64, 64))]:
        out = image(save(before, "JPEG", quality=95), ops)
        want = ImageOps.fit(before, size, Image.LANCZOS) if "thumb" in ops else before.resize(size, Image.LANCZOS)
        assert out.size == size and distance(out, want) < 3


def test_transparent_pixels_do_not_shine_through(image):
    before = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    before.paste((0, 255, 0, 0), (0, 0, 32, 64))  # green, but not to be seen
    for ops in ("scale:0.5", "blur:3", "rotate:30"):
        out = array(image(save(before, "PNG"), ops))
        assert out[out[:, :, 3] > 8][:, 1].max() <= 2, ops


def test_gray_blur_and_sharpen(image):
    before = draw(noise=40)
    gray = image(save(before, "PNG"), "gray")
    assert gray.mode == "L" and distance(gray, before.convert("L")) < 12  # the weights differ a little
    assert array(image(save(before, "PNG"), "blur:3")).std() < array(before).std() < array(image(save(before, "PNG"), "sharpen:1")).std()


def test_depth_and_other_colours(image):
    deep = Image.fromarray((numpy.arange(64 * 64, dtype=numpy.uint16).reshape(64, 64) * 16))
    out = image(save(deep, "PNG"), "rotate:90")
    assert out.mode.startswith("I") and array(out).max() == 4095 * 16
    assert image(save(deep, "PNG"), "rotate:45,convert:jpeg").mode == "L"
    cmyk = draw().convert("CMYK")
    for ops in ("rotate:45", "convert:png", "convert:webp", "gray"):
        assert image(save(cmyk, "JPEG"), ops).mode in ("RGB", "L")
    assert distance(image(save(cmyk, "JPEG", quality=95), "convert:png"), draw()) < 60
    assert image(save(draw().convert("P"), "PNG"), "scale:0.5").mode == "RGB"
    assert image(save(draw().convert("1"), "TIFF"), "scale:0.5").size == (48, 32)


# ---- where the result goes --------------------------------------------------

@pytest.mark.parametrize("ops", ["rotate:90", "rotate:45", "convert:png", "convert:webp", "convert:tiff"])
def test_a_large_result_is_a_file_with_the_same_bytes(tmp_path, ops):
    file = save(draw(320, 320, noise=60), "JPEG")
    small = run(tmp_path, file, ops, jailed=False)
    assert run.words[0] == "room"
    large = run(tmp_path, file, ops, room_max=4096, jailed=False)
    assert run.words[0] == "file" and len(run.words[2]) == 32
    assert small == large


def test_a_result_without_room_is_refused(refusal):
    assert refusal(save(draw(320, 320, noise=60), "PNG"), "rotate:45", room_max=4096).startswith("result-too-large: ")


# ---- what is refused --------------------------------------------------------

@pytest.mark.parametrize("ops, words", [("crop:10x10+90+0", "operation 1, crop:10x10+90+0, reaches beyond an image of 96 x 64"),
                                        ("gray,crop:97x1+0+0", "operation 2"), ("scale:100,scale:100", "operation 2, scale, makes"),
                                        ("thumbnail:60000x60000", "makes 90000 x 60000 pixels"), ("scale:100,scale:4,rotate:45", "operation 2"),
                                        ("crop:96x2+0+0,thumbnail:20000x10,convert:webp", "20000 x 10 pixels is more than webp can hold")])
def test_sizes_that_cannot_be_are_refused_by_name(refusal, ops, words):
    told = refusal(save(draw(), "PNG"), ops)
    assert told.startswith("bad-parameter: ") and words in told


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_bomb(width, height):
    packed = zlib.compressobj(9)
    rows = packed.compress(bytes(1 << 20)) + packed.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + \
        chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def jpeg_bomb():
    file = bytearray(save(draw(), "JPEG"))
    at = file.index(b"\xff\xc0") + 5
    file[at:at + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(file)


def tiff_bomb():
    return save(draw(), "TIFF").replace(struct.pack("<HHII", 257, 4, 1, 64), struct.pack("<HHII", 257, 4, 1, 5_000_000))


@pytest.mark.parametrize("file, size", [(png_bomb(50000, 50000), "50000 x 50000"), (jpeg_bomb(), "65500 x 65500"),
                                        (tiff_bomb(), "96 x 5000000")], ids=["png", "jpeg", "tiff"])
@pytest.mark.parametrize("ops", ["", "scale:0.01", "rotate:90"])
def test_a_bomb_is_refused_by_its_head(refusal, file, size, ops):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert refusal(file, ops) == f"bad-body: the image says it has {size} pixels; the limit is 100000000"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 1
    assert len(file) < 20000


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("ops", ["", "rotate:90", "rotate:45", "scale:0.5"])
def test_a_file_that_is_cut_is_refused(refusal, format, ops):
    file = save(draw(160, 120, noise=50), format)
    for eighth in range(1, 8):
        told = refusal(file[:len(file) * eighth // 8], ops)
        assert told.startswith("bad-body: not an image that can be read: ") and len(told) > 45, (eighth, told)


@pytest.mark.parametrize("body", [b"x", b"GIF89a" + bytes(100), b"%PDF-1.4", b"<svg/>", os.urandom(5000)])
def test_what_is_no_image_is_refused(refusal, body):
    assert refusal(body) == "bad-body: not an image that can be read: it begins like none of JPEG, PNG, WebP and TIFF"


@pytest.mark.parametrize("head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\1\0\0WEBPVP8 ", b"II*\0", b"MM\0*\0\0\0\x08"])
def test_noise_behind_a_head_is_refused(refusal, head):
    noise = random.Random(7)
    for length in (0, 1, 30, 2000):
        assert refusal(head + noise.randbytes(length), "rotate:45").startswith("bad-body: not an image that can be read: ")


def test_an_empty_file_is_refused(refusal):
    assert "the body is empty" in refusal(b"")


def test_more_than_one_page_is_refused(refusal):
    pages = [draw(), draw(), draw()]
    told = "bad-body: the file holds 3 pages or frames; only files of one are taken"
    assert refusal(save(pages[0], "TIFF", save_all=True, append_images=pages[1:])) == told
    if features.check("webp_anim"):
        pages = [draw(noise=n) for n in (1, 20, 40)]
        assert refusal(save(pages[0], "WEBP", save_all=True, append_images=pages[1:])) == told


@pytest.mark.parametrize("ops", ["rotate:45", "rotate:90", "flip:v", "convert:webp", "convert:tiff"])
def test_memory_is_bounded_and_says_so(refusal, ops):
    file = save(draw(3000, 2000), "PNG")
    assert refusal(file, ops, memory_max=16 << 20).startswith("out-of-memory: this image takes ")


def test_long_images_need_little_memory(image):
    file = save(draw(4000, 8000), "PNG")  # 92 MiB of pixels, line by line
    assert image(file, "scale:0.1,blur:1,convert:jpeg", memory_max=64 << 20).size == (400, 800)


def test_a_chain_takes_no_more_time_than_its_operations(tmp_path):
    file = save(draw(800, 600, noise=90), "JPEG")

    def seconds(count):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(tmp_path, file, ",".join(["blur:20"] * count))
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime

    start = min(seconds(0) for _ in range(3))
    assert seconds(8) - start < 14 * (min(seconds(1) for _ in range(3)) - start)
