# SPDX-License-Identifier: Apache-2.0
"""Products that are too large for a message, in a real executor and its jail: numpy is the oracle."""

import io
import json
import math
import os
import subprocess

import numpy
import pytest

import test_executor
from harness import BUILD, eventually
from test_executor import IS_SANITIZED, MATRIX, start  # noqa: F401 (a fixture)

HEADER = 128
TYPES = {"f8": numpy.float64, "f4": numpy.float32, "i8": numpy.int64, "i4": numpy.int32}


def philox(seed, counter):
    """Philox4x32-10 of arrays of counters, as kinds/matrix/matrix.h defines a random operand's numbers."""
    mask = numpy.uint64(0xFFFFFFFF)
    half = numpy.uint64(32)
    x = [counter & mask, counter >> half, numpy.zeros_like(counter), numpy.zeros_like(counter)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p0, p1 = x[0] * numpy.uint64(0xD2511F53), x[2] * numpy.uint64(0xCD9E8D57)
        x = [(p1 >> half) ^ x[1] ^ numpy.uint64(key[0]), p1 & mask,
             (p0 >> half) ^ x[3] ^ numpy.uint64(key[1]), p0 & mask]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return ((x[0] | x[1] << half) >> numpy.uint64(11)).astype(numpy.float64) * 2.0**-53


def random_part(seed, cols, rows_of, cols_of):
    row = numpy.arange(*rows_of, dtype=numpy.uint64)[:, None]
    return philox(seed, row * numpy.uint64(cols) + numpy.arange(*cols_of, dtype=numpy.uint64))


def blob_of(folder, name, matrix, order):
    """The file that numpy writes, and the description of where its numbers are."""
    path = folder / name
    numpy.save(path, numpy.asarray(matrix, order=order))
    with open(path, "rb") as f:
        numpy.lib.format.read_magic(f)
        _, is_fortran, _ = numpy.lib.format.read_array_header_1_0(f)
        offset = f.tell()
    return os.open(path, os.O_RDONLY), {"at": "blob", "offset": offset, "dtype": matrix.dtype.str[1:],
                                        "order": "F" if is_fortran else "C"}


def run(executor, folder, sides, operands, blobs=(), body=b"", tile=None):
    """One product to a file; returns the frame and the file's bytes."""
    rows, cols = (sides[0], sides[2]) if tile is None else tile[:2]
    room = HEADER + rows * cols * 8
    path = folder / "result"
    output = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    refs = {"blobs": [f"name-{i}" for i in range(len(blobs))], "A": operands[0], "B": operands[1]}
    executor.send_job(MATRIX, (*sides, *(tile or ())), body, blobs, refs, output, room)
    executor.socket.settimeout(60)
    done, _ = executor.receive_done()
    os.close(output)
    return done, path.read_bytes()[:done.output_len]


@pytest.mark.parametrize("order", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize("types", [(a, b) for a in TYPES for b in TYPES])
def test_products_of_files_are_numpys(start, tmp_path, types, order):  # noqa: F811
    random = numpy.random.default_rng(3)
    executor = start()
    a = (random.standard_normal((150, 611)) * 50).astype(TYPES[types[0]])
    b = (random.standard_normal((611, 93)) * 50).astype(TYPES[types[1]])
    blobs, operands = [], []
    for name, matrix, letter in (("a.npy", a, order[0]), ("b.npy", b, order[1])):
        fd, operand = blob_of(tmp_path, name, matrix, letter)
        operands.append({**operand, "blob": len(blobs)})
        blobs.append(fd)
    done, file = run(executor, tmp_path, (150, 611, 93), operands, blobs)
    assert done.err == 0, done.detail
    c, wanted = numpy.load(io.BytesIO(file)), a @ b
    assert c.dtype == wanted.dtype
    if c.dtype.kind == "i":
        assert (c == wanted).all()
    else:
        scale = numpy.finfo(c.dtype).eps * 611 * (abs(a).astype(float) @ abs(b).astype(float))
        assert (abs(c - wanted) <= scale).all()
    verified = json.loads(done.verified)
    assert verified["method"] == "freivalds" and verified["probes"] == 2 and "unchecked" not in verified
    assert len(done.sum) == 32 and executor.progress() == 1
    for fd in blobs:
        os.close(fd)


def test_a_tile_of_random_operands_keeps_to_its_memory(start, tmp_path):  # noqa: F811
    side, tile, memory = 20000, 1000, 40 << 20
    executor = start(memory_max=memory)
    before = int(executor.status()["VmHWM"].split()[0]) << 10
    operands = [{"at": "random", "seed": 7}, {"at": "random", "seed": 1 << 33}]
    number = side // tile * 3 + 2  # a row of tiles has 20
    done, file = run(executor, tmp_path, (side, side, side), operands, tile=(tile, tile, number))
    assert done.err == 0, done.detail
    c = numpy.load(io.BytesIO(file))
    assert c.shape == (tile, tile)
    rows, cols = (3000, 3004), (2996, 3000)  # the last columns of the tile, its first rows
    wanted = random_part(7, side, rows, (0, side)) @ random_part(1 << 33, side, (0, side), cols)
    assert numpy.allclose(c[:4, -4:], wanted, rtol=1e-12)
    if not IS_SANITIZED:
        assert (int(executor.status()["VmHWM"].split()[0]) << 10) - before <= memory


def test_a_tile_that_needs_more_memory_is_refused_and_the_next_one_is_not(start, tmp_path):  # noqa: F811
    executor = start(memory_max=8 << 20)
    operands = [{"at": "random", "seed": 1}, {"at": "random", "seed": 2}]
    done, _ = run(executor, tmp_path, (2000, 100, 2000), operands)
    assert done.detail.decode() == ("2000 x 2000 numbers of C take at least 32870528 bytes of memory; there are 8388608: "
                                    "ask for smaller tiles by tile_m and tile_n")
    done, file = run(executor, tmp_path, (2000, 100, 2000), operands, tile=(700, 700, 8))
    assert done.err == 0, done.detail
    assert numpy.load(io.BytesIO(file)).shape == (600, 600)


def test_progress_is_told_while_blocks_are_taken(start, tmp_path):  # noqa: F811
    executor = start()
    output = os.open(tmp_path / "result", os.O_RDWR | os.O_CREAT)
    operands = {"blobs": [], "A": {"at": "random", "seed": 1}, "B": {"at": "random", "seed": 2}}
    executor.send_job(MATRIX, (500, 200000, 500), b"", (), operands, output, HEADER + 500 * 500 * 8)
    seen = set()
    eventually(lambda: seen.add(executor.progress()) or len(seen) > 5, every=0.001)
    executor.process.kill()
    os.close(output)


def test_a_file_that_is_full_fails_the_job_alone(start, tmp_path):  # noqa: F811
    executor = start()
    operands = {"blobs": [], "A": {"at": "random", "seed": 1}, "B": {"at": "random", "seed": 2}}
    full = os.open("/dev/full", os.O_WRONLY)
    executor.send_job(MATRIX, (50, 40, 30), b"", (), operands, full, 1 << 20)
    done, _ = executor.receive_done()
    assert done.detail.decode() == "no room for the product behind byte 0"
    os.close(full)
    assert (executor.multiply(numpy.eye(9), numpy.eye(9)) == numpy.eye(9)).all()


def test_integers_that_overflow_are_refused(start, tmp_path):  # noqa: F811
    executor = start()
    body = numpy.full((3, 3), 2**40).tobytes() + numpy.full((3, 3), 2**40).tobytes()
    operands = [{"at": "body", "offset": 0, "dtype": "i8", "order": "C"},
                {"at": "body", "offset": 72, "dtype": "i8", "order": "C"}]
    done, _ = run(executor, tmp_path, (3, 3, 3), operands, body=body)
    assert done.detail.decode() == "the product overflows int64 in row 0, column 0 of C"


class TestWrongProduct:
    @pytest.fixture
    def flipping(self, start, monkeypatch):  # noqa: F811
        monkeypatch.setattr(test_executor, "EXECUTOR", os.path.join(BUILD, "millrace-exec-flip"))
        return start()

    @pytest.mark.parametrize("side", [1, 3, 50, 127])
    def test_is_found_and_the_next_one_is_right(self, flipping, side):
        a = numpy.random.default_rng(side).standard_normal((side, side))
        body = a.tobytes() + a.tobytes()
        done, _ = flipping.run(MATRIX, (side, side, side), body)
        assert done.err == done.why_err != 0
        assert done.detail.decode().startswith(f"row {side * side // 2 // side} of C is off by ")
        assert numpy.allclose(flipping.multiply(a, a), a @ a)

    @pytest.mark.parametrize("kind", TYPES)
    def test_of_any_type_is_found(self, flipping, tmp_path, kind):
        a = numpy.arange(1, 61 * 61 + 1).reshape(61, 61).astype(TYPES[kind])
        fd, operand = blob_of(tmp_path, "a.npy", a, "C")
        operands = [{**operand, "blob": 0}, {**operand, "blob": 0}]
        done, _ = run(flipping, tmp_path, (61, 61, 61), operands, [fd])
        assert done.detail.decode().startswith("row 30 of C is ")
        done, file = run(flipping, tmp_path, (61, 61, 61), operands, [fd])
        assert done.err == 0 and numpy.allclose(numpy.load(io.BytesIO(file)), a @ a)
        os.close(fd)


def test_each_executor_names_its_kernel(start):  # noqa: F811
    assert start().ready.kernel.decode().split(" ")[0] in ("openblas", "blis")


def test_the_kernel_is_measured_on_demand():
    done = subprocess.run([test_executor.EXECUTOR, "--kernel"], capture_output=True, text=True, check=True)
    kernel = json.loads(done.stdout)
    assert kernel["library"] in ("openblas", "blis") and kernel["core"] and kernel["threads"] == 1
    assert math.isfinite(kernel["gflops"]) and kernel["gflops"] > 0
