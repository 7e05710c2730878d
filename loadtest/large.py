# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of large jobs share: files of operands, their blobs, and a disk at rest."""

import os

import numpy

import drive

BLOCK_NUMBERS = 1 << 22  # made at a time
NPY, JSON = "application/x-npy", "application/json"


def write_npy(path, rows, cols, seed):
    """A .npy of random float64, and its path. Never in memory as a whole."""
    dice = numpy.random.default_rng(seed)
    with open(path, "wb") as file:
        numpy.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (rows, cols)})
        left = rows * cols
        while left:
            count = min(left, BLOCK_NUMBERS)
            file.write(dice.random(count).data)
            left -= count
    return path


def file_of(rig, name):
    """A path that goes away with the rig, on the same disk as its blobs."""
    return os.path.join(rig.path, name)


def put_blob(rig, path):
    """The id of an uploaded file."""
    return drive.run("load_large", rig.port, "blob", path)["id"]


def get(rig, path, accept):
    """A large GET, its body thrown away: the line of load_large."""
    return drive.run("load_large", rig.port, "get", path, accept)


def clear_blobs(rig):
    """Removes what no later round needs, behind the gateway's back, and lets the disk come to rest."""
    for folder, _, names in os.walk(rig.blobs):
        for name in names:
            os.unlink(os.path.join(folder, name))
    os.sync()
