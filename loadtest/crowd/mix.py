# SPDX-License-Identifier: Apache-2.0
"""What the clients send, and how each result is checked.

Every job has operands of its own, so that a result that belongs to another job
is wrong. The exception are the long hashes: what SHA-512 costs the fleet it
would cost the checking client too, so theirs are taken from a few whose digest
is computed before the first request.
"""

import hashlib
import io
import json
import os
import random
from dataclasses import dataclass
from typing import Callable

import numpy

import philox

HASH_BYTES = 16 << 10, 256 << 10
LIGHT_ITERATIONS, HEAVY_ITERATIONS = 20_000, 300_000
PREPARED = 8  # long hashes
BOUNDARY = "millrace-crowd-boundary"
JSON, NPY, BYTES = "application/json", "application/x-npy", "application/octet-stream"


class Wrong(Exception):
    """A sentence: what is not right about a result."""


@dataclass
class Job:
    """One request, and what its result must be. check(body) raises Wrong."""

    name: str
    method: str
    path: str
    content_type: str
    body: bytes
    accept: str
    check: Callable
    window: str = ""  # query of the result


class Mix:
    """Draws jobs. The same seed draws the same ones."""

    def __init__(self, seed):
        self._dice = random.Random(seed)
        self._numbers = numpy.random.default_rng(seed)
        self._prepared = []
        for _ in range(PREPARED):
            content = self._content()
            self._prepared.append((content, chain(content, HEAVY_ITERATIONS)))

    def draw(self):
        kinds = {self._small_matrix: 35, self._npy_matrix: 15, self._random_matrix: 10, self._hash: 30,
                 self._heavy_hash: 10}
        return self._dice.choices(list(kinds), kinds.values())[0]()

    # -- matrices

    def _operands(self, least, most):
        rows, inner, cols = (self._dice.randint(least, most) for _ in range(3))
        return self._numbers.uniform(-1, 1, (rows, inner)), self._numbers.uniform(-1, 1, (inner, cols))

    def _small_matrix(self):
        a, b = self._operands(2, 32)
        body = json.dumps({"A": a.tolist(), "B": b.tolist()}).encode()
        return Job("matrix 2-32, JSON", "POST", "/matrix_multiplication", JSON, body, JSON,
                   lambda text: check_product(a, b, json.loads(text)["C"]))

    def _npy_matrix(self):
        a, b = self._operands(64, 256)
        body = b"".join(_part(name, matrix) for name, matrix in (("A", a), ("B", b))) + f"--{BOUNDARY}--\r\n".encode()
        return Job("matrix 64-256, .npy", "POST", "/matrix_multiplication",
                   f"multipart/form-data; boundary={BOUNDARY}", body, NPY,
                   lambda content: check_product(a, b, numpy.load(io.BytesIO(content))))

    def _random_matrix(self):
        """Operands by seed: a large product for a small request. Of the result a window is fetched and recomputed."""
        side = self._dice.randint(600, 1200)
        seeds = self._dice.getrandbits(60), self._dice.getrandbits(60)
        row, col = self._dice.randrange(side - 2), self._dice.randrange(side - 2)
        operands = {name: {"random": {"rows": side, "cols": side, "seed": seed}} for name, seed in zip("AB", seeds)}

        def check(text):
            a = philox.cells(seeds[0], side, range(row, row + 2), range(side))
            b = philox.cells(seeds[1], side, range(side), range(col, col + 2))
            check_product(a, b, json.loads(text)["C"])

        return Job("matrix 600-1200, by seed", "POST", "/matrix_multiplication", JSON, json.dumps(operands).encode(),
                   JSON, check, f"rows={row}:{row + 2}&cols={col}:{col + 2}")

    # -- hashes

    def _content(self):
        return os.urandom(self._dice.randint(*HASH_BYTES))

    def _hash(self):
        content, iterations = self._content(), round(LIGHT_ITERATIONS ** self._dice.random())
        return _hash_job("hash, light", content, iterations, lambda: chain(content, iterations))

    def _heavy_hash(self):
        content, digest = self._dice.choice(self._prepared)
        return _hash_job("hash, heavy", content, HEAVY_ITERATIONS, lambda: digest)


def _hash_job(name, content, iterations, expected):
    def check(text):
        value = json.loads(text)["value"]
        if value != expected():
            raise Wrong(f"{iterations} times SHA-512 of {len(content)} bytes is not {value[:16]}..")

    return Job(name, "PUT", f"/enqueue?iterations={iterations}", BYTES, content, JSON, check)


def chain(content, iterations):
    """SHA-512 of the content, of that digest, and so on, in hex."""
    for _ in range(iterations):
        content = hashlib.sha512(content).digest()
    return content.hex()


def check_product(a, b, c):
    """Within what rounding may do: k operations per cell, on numbers as large as |a| |b|."""
    c = numpy.asarray(c, dtype=float)
    if c.shape != (a.shape[0], b.shape[1]):
        raise Wrong(f"a product of {a.shape} by {b.shape} has not the shape {c.shape}")
    bound = 2 * a.shape[1] * numpy.finfo(float).eps * (abs(a) @ abs(b))
    off = ~(abs(c - a @ b) <= bound)  # a NaN is off, too
    if off.any():
        row, col = numpy.argwhere(off)[0]
        raise Wrong(f"{off.sum()} of {off.size} cells are wrong, the first at row {row}, column {col}")


def _part(name, matrix):
    file = io.BytesIO()
    numpy.save(file, matrix)
    head = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.npy"\r\n'
            f"Content-Type: {BYTES}\r\n\r\n")
    return head.encode() + file.getvalue() + b"\r\n"
