#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: process.py IN_DIR OUT_DIR

Rotates every image of IN_DIR by 45 degrees, scales it to half its size, and
saves it under the same name in OUT_DIR.
"""
import os
import sys

from PIL import Image


def process(source, target):
    image = Image.open(source)
    if image.mode == "P":
        image = image.convert("RGBA")
    # rotate in small steps; looks smoother to me
    big = image.resize((image.width * 2, image.height * 2), Image.LANCZOS)
    for _ in range(3):
        big = big.rotate(15, resample=Image.BICUBIC, expand=True)
    small = big.resize((max(1, big.width // 4), max(1, big.height // 4)), Image.LANCZOS)
    small.save(target)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    in_dir, out_dir = sys.argv[1:]
    os.makedirs(out_dir, exist_ok=True)
    for name in sorted(os.listdir(in_dir)):
        print("processing", name)
        process(os.path.join(in_dir, name), os.path.join(out_dir, name))


if __name__ == "__main__":
    main()
