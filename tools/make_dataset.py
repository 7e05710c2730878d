#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A folder of pictures of plants that nobody photographed: make_dataset.py FOLDER [--count N] [--side PIXELS].

Every plant is drawn from its number alone, so two runs give the same files.
They come as datasets do: several formats and sizes, subfolders, names with
blanks and letters beyond ASCII, orientations that only the metadata tell, and,
unless --count says how many plants are wanted and nothing else, a file that is
cut short, one that is empty, and one that was never a picture.
"""

import argparse
import math
import os
import random

from PIL import Image, ImageDraw, ImageFilter

ORIENTATION = 0x0112  # the tag of EXIF
GREENS = ((46, 110, 62), (74, 140, 70), (110, 150, 60), (30, 90, 80), (140, 170, 90))
BLOSSOMS = ((214, 72, 90), (240, 190, 60), (180, 110, 200), (250, 250, 240), (240, 130, 60))

# name, format, width, height, what saving takes, orientation
FILES = (
    ("oak.jpg", "JPEG", 640, 480, {"quality": 90}, 1),
    ("elm.jpeg", "JPEG", 480, 640, {"quality": 75}, 1),
    ("turned/fern.jpg", "JPEG", 600, 400, {"quality": 88}, 6),
    ("turned/ivy.jpg", "JPEG", 400, 600, {"quality": 88}, 3),
    ("turned/reed.jpg", "JPEG", 500, 400, {"quality": 88}, 8),
    ("herbs/mint.png", "PNG", 320, 320, {}, 1),
    ("herbs/mint.webp", "WEBP", 320, 320, {"quality": 80}, 1),
    ("herbs/sage leaf.png", "PNG", 500, 300, {}, 1),
    ("herbs/thyme.webp", "WEBP", 700, 500, {"quality": 70}, 1),
    ("Blüten/Gänseblümchen.jpg", "JPEG", 512, 512, {"quality": 92}, 1),
    ("Blüten/椿 camellia.webp", "WEBP", 480, 480, {"quality": 85}, 1),
    ("scans/moss.tif", "TIFF", 400, 300, {"compression": "tiff_lzw"}, 1),
    ("scans/lichen.tiff", "TIFF", 300, 400, {}, 1),
    ("large/meadow.jpg", "JPEG", 2400, 1600, {"quality": 85}, 1),
    ("small/seed.png", "PNG", 24, 24, {}, 1),
    ("small/spore.jpg", "JPEG", 16, 12, {"quality": 80}, 1),
)


def draw(number, width, height):
    """The plant of this number: a sky, a ground, stems that bend, leaves and blossoms."""
    chance = random.Random(number)
    image = Image.new("RGB", (width, height))
    pencil = ImageDraw.Draw(image)
    top, bottom = [tuple(chance.randrange(low, 256) for low in lows) for lows in ((150, 180, 200), (200, 200, 170))]
    for y in range(height):
        share = y / height
        pencil.line((0, y, width, y), tuple(int(a + (b - a) * share) for a, b in zip(top, bottom)))
    pencil.rectangle((0, height * 7 // 8, width, height), (96, 76, 52))
    for _ in range(chance.randrange(3, 7)):
        _stem(pencil, chance, width, height)
    return image.filter(ImageFilter.GaussianBlur(max(0.4, width / 1600)))


def _stem(pencil, chance, width, height):
    x, y = width * chance.uniform(0.15, 0.85), height * 0.9
    angle, green = math.radians(chance.uniform(-100, -80)), chance.choice(GREENS)
    step = height / 40
    for part in range(chance.randrange(14, 28)):
        angle += math.radians(chance.uniform(-9, 9))
        nx, ny = x + step * math.cos(angle), y + step * math.sin(angle)
        pencil.line((x, y, nx, ny), green, max(1, int(step / 3)))
        x, y = nx, ny
        if part > 2 and chance.random() < 0.6:
            _leaf(pencil, x, y, angle + chance.choice((-1, 1)) * chance.uniform(0.5, 1.2), step * 2.6, green)
    blossom, size = chance.choice(BLOSSOMS), step * chance.uniform(0.8, 1.8)
    for petal in range(8):
        _leaf(pencil, x, y, petal * math.pi / 4, size * 2, blossom)
    pencil.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), (120, 80, 30))


def _leaf(pencil, x, y, angle, length, colour):
    points = []
    for side in (1, -1):
        sides = [(0, 0), (0.3, 0.18), (0.6, 0.2), (1, 0)]
        for along, across in sides if side == 1 else reversed(sides):
            along, across = along * length, across * length * side
            points.append((x + along * math.cos(angle) - across * math.sin(angle),
                           y + along * math.sin(angle) + across * math.cos(angle)))
    pencil.polygon(points, colour)


def speckled(image, number):
    """With the grain of a camera, which makes files as large as those of photographs."""
    noise = Image.frombytes("L", image.size, random.Random(number).randbytes(image.width * image.height))
    return Image.blend(image, Image.merge("RGB", (noise, noise, noise)), 0.1)


def save(path, image, kind, orientation=1, **more):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if orientation != 1:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        more["exif"] = exif
    image.save(path, kind, **more)


def make_mixed(folder):
    for number, (name, kind, width, height, more, orientation) in enumerate(FILES):
        save(os.path.join(folder, name), draw(number, width, height), kind, orientation, **more)
    with open(os.path.join(folder, "oak.jpg"), "rb") as file:
        whole = file.read()
    for name, content in (("herbs/cut short.jpg", whole[:len(whole) // 3]), ("empty.jpg", b""),
                          ("small/notes.png", b"Not a picture: the notes of a walk.\n")):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


def make_equal(folder, count, side):
    """JPEGs alone: each number's own plant up to the 16th, then those once more."""
    known = []
    for number in range(count):
        path = os.path.join(folder, f"{number // 100:02}", f"plant-{number:05}.jpg")
        if number < 16:
            save(path, speckled(draw(number, side, side * 3 // 4), number), "JPEG", quality=88)
            with open(path, "rb") as file:
                known.append(file.read())
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(known[number % 16])


def main():
    parser = argparse.ArgumentParser(description="Draws a folder of plants.")
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, help="so many JPEGs of one size, instead of a mixture")
    parser.add_argument("--side", type=int, default=2200, help="with --count: their width (2200: about 1 MB)")
    chosen = parser.parse_args()
    os.makedirs(chosen.folder, exist_ok=True)
    if chosen.count:
        make_equal(chosen.folder, chosen.count, chosen.side)
    else:
        make_mixed(chosen.folder)


if __name__ == "__main__":
    main()
