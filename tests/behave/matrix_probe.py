# SPDX-License-Identifier: Apache-2.0
"""The intakes of matrices, asked through reader-probe, and what they make of a body.

The probe reads each body whole and in pieces of several sizes, and aborts when
they differ. Here its answers become arrays again, by the description that the
job would carry.
"""

import io
import json
import os
import struct
import subprocess
from dataclasses import dataclass

import numpy

from harness import BUILD

JSON, FORM = 0, 1


@dataclass
class Random:
    rows: int
    cols: int
    seed: int


@dataclass
class Input:
    """What a job would carry."""
    m: int
    k: int
    n: int
    refs: bytes
    body: bytes
    made: dict  # blobs that the intake wrote
    blobs: dict  # and those that were there

    def places(self):
        """Where the numbers of A and B are: body, blob or random."""
        refs = json.loads(self.refs) if self.refs else None
        return tuple(refs[name]["at"] for name in "AB") if refs else ("body", "body")

    def operands(self):
        """A and B, each an array or Random."""
        shapes = ((self.m, self.k), (self.k, self.n))
        if not self.refs:
            numbers = numpy.frombuffer(self.body)
            return numbers[:self.m * self.k].reshape(shapes[0]), numbers[self.m * self.k:].reshape(shapes[1])
        refs = json.loads(self.refs)
        assert set(refs) == {"blobs", "A", "B"} and len(set(refs["blobs"])) == len(refs["blobs"])
        return tuple(self.operand(refs, refs[name], shape) for name, shape in zip("AB", shapes))

    def operand(self, refs, described, shape):
        if described["at"] == "random":
            return Random(*shape, described["seed"])
        body = self.body
        if described["at"] == "blob":
            name = refs["blobs"][described["blob"]]
            body = {**self.blobs, **self.made}[name]
        numbers = numpy.frombuffer(body, dtype="<" + described["dtype"], count=shape[0] * shape[1],
                                   offset=described["offset"]).reshape(shape, order=described["order"])
        if described["at"] == "blob":  # is a NumPy file of its own
            loaded = numpy.load(io.BytesIO(body))
            assert loaded.dtype == numbers.dtype and loaded.shape == shape and loaded.tobytes() == numbers.tobytes()
        return numbers


class Probe:
    def __init__(self):
        self.process = subprocess.Popen([os.path.join(BUILD, "reader-probe")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def ask(self, intake, parts, inline_max=4096, side_max=0, blobs=None):
        """(Input, None) or (None, detail). parts: (name, bytes)s; blobs: those there are, None: no blobs at all."""
        items = [(name, content) for name, content in (blobs or {}).items()] + list(parts)
        question = struct.pack("=6I", intake, inline_max, side_max, blobs is not None, len(blobs or {}), len(parts))
        for name, content in items:
            question += struct.pack("=2I", len(name), len(content)) + name.encode() + content
        self.process.stdin.write(question)
        self.process.stdin.flush()
        (error,) = struct.unpack("=I", self.process.stdout.read(4))
        if error:
            return None, self.read_bytes().decode(errors="replace")
        sides = struct.unpack("=QQQ", self.process.stdout.read(24))
        refs, body = self.read_bytes(), self.read_bytes()
        (count,) = struct.unpack("=I", self.process.stdout.read(4))
        made = {self.read_bytes().decode(): self.read_bytes() for _ in range(count)}
        return Input(*sides, refs, body, made, blobs or {}), None

    def read_bytes(self):
        (length,) = struct.unpack("=I", self.process.stdout.read(4))
        return self.process.stdout.read(length)

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()
