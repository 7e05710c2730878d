# SPDX-License-Identifier: Apache-2.0
"""The reader of matrices against Python's json: documents made and mutated at random.

reader-probe reads each document whole and in pieces of several sizes, and
aborts when they differ.
"""

import json
import math
import os
import random
import struct
import subprocess

import numpy
import pytest

from harness import BUILD, LONG

LIMIT = 4096
ROUNDS = 20000 if LONG else 2000


@pytest.fixture
def read():
    probe = subprocess.Popen([os.path.join(BUILD, "reader-probe")], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(document, limit=LIMIT):
        """(operands A and B, None) or (None, detail)."""
        probe.stdin.write(struct.pack("=II", limit, len(document)) + document)
        probe.stdin.flush()
        (error,) = struct.unpack("=I", probe.stdout.read(4))
        if error:
            (length,) = struct.unpack("=I", probe.stdout.read(4))
            return None, probe.stdout.read(length).decode(errors="replace")
        m, k, n = struct.unpack("=QQQ", probe.stdout.read(24))
        numbers = numpy.frombuffer(probe.stdout.read(8 * (m * k + k * n)))
        return (numbers[:m * k].reshape(m, k), numbers[m * k:].reshape(k, n)), None

    yield ask
    probe.stdin.close()
    assert probe.wait(10) == 0
    probe.stdout.close()


class Refused(Exception):
    pass


def unique(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise Refused("duplicate key")
    return dict(pairs)


def refuse_constant(name):
    raise Refused(name)


def read_number(text):
    value = float(text)
    if math.isinf(value):
        raise Refused("beyond float64")
    return value


def read_like_python(document):
    """What the reader must come to: two operands, or Refused."""
    try:
        value = json.loads(document.decode(), object_pairs_hook=unique, parse_constant=refuse_constant,
                           parse_float=read_number, parse_int=read_number)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from None
    if not isinstance(value, dict) or set(value) != {"A", "B"}:
        raise Refused("keys")
    operands = []
    for matrix in (value["A"], value["B"]):
        if not isinstance(matrix, list) or not matrix or not all(isinstance(row, list) and row for row in matrix):
            raise Refused("not a matrix")
        if len({len(row) for row in matrix}) != 1:
            raise Refused("ragged")
        if not all(isinstance(number, float) for row in matrix for number in row):
            raise Refused("not numbers")
        operands.append(numpy.array(matrix))
    if operands[0].shape[1] != operands[1].shape[0]:
        raise Refused("shapes")
    return operands


def write_number(dice):
    kind = dice.randrange(8)
    if kind == 0:
        return str(dice.randint(-10**dice.randrange(1, 30), 10**dice.randrange(1, 30)))
    if kind == 1:
        return dice.choice(["0", "-0", "0.0", "-0.0", "1E5", "1e+5", "0e0", "5e-324", "-1e-400", "0.1e1"])
    if kind == 2:
        return repr(struct.unpack("d", struct.pack("Q", dice.randrange(0x7ff << 52)))[0])
    if kind == 3:
        return f"{dice.uniform(-1, 1):.{dice.randrange(1, 60)}f}"
    if kind == 4:
        return f"{dice.uniform(-10, 10):.{dice.randrange(1, 25)}E}"
    return repr(dice.uniform(-1000, 1000))


def write_document(dice):
    m, k, n = (dice.randint(1, 5) for _ in range(3))
    space = dice.choice(["", "", " ", "\n  ", "\t\r\n"])

    def matrix(rows, cols):
        lines = [f"[{space}" + f",{space}".join(write_number(dice) for _ in range(cols)) + f"{space}]"
                 for _ in range(rows)]
        return f"[{space}" + f"{space},".join(lines) + f"{space}]"

    keys = [dice.choice(['"A"', '"\\u0041"']) + f"{space}:{space}" + matrix(m, k),
            dice.choice(['"B"', '"\\u0042"']) + f"{space}:{space}" + matrix(k, n)]
    if dice.random() < 0.5:
        keys.reverse()
    return (space + "{" + space + f"{space},{space}".join(keys) + space + "}" + space).encode()


SPARE_PARTS = [b",", b"[", b"]", b"{", b"}", b'"', b":", b"-", b"+", b".", b"e", b"E", b"0", b"00", b"1e999", b"NaN",
               b"-Infinity", b"null", b"true", b'"A"', b'"B":', b"[]", b"[[1]]", b"\\", b"\\u0041", b"\xff", b"\0",
               b"\xef\xbb\xbf", b" ", b"\x0b", b"//", b"1 2"]


def mutate(dice, document):
    document = bytearray(document)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(document) + 1)
        kind = dice.randrange(5)
        if kind == 0:
            document[at:at] = dice.choice(SPARE_PARTS)
        elif kind == 1:
            del document[at:at + dice.randint(1, 6)]
        elif kind == 2:
            document[at:at + 1] = dice.choice(SPARE_PARTS)
        elif kind == 3:
            document[at:at + 1] = bytes([dice.randrange(256)])
        else:
            del document[at:]
    return bytes(document)


def expect_like_python(read, document):
    operands, detail = read(document)
    try:
        wanted = read_like_python(document)
    except Refused as error:
        assert operands is None, (document, str(error))
        assert detail
        return False
    assert operands is not None, (document, detail)
    for got, right in zip(operands, wanted):
        assert got.shape == right.shape and got.tobytes() == right.tobytes(), document
    return True


def test_documents_at_random_read_as_python_reads_them(read):
    dice = random.Random(20261120)
    for _ in range(ROUNDS):
        assert expect_like_python(read, write_document(dice))


def test_mutated_documents_end_as_in_python(read):
    dice = random.Random(7)
    taken = 0
    for _ in range(4 * ROUNDS):
        taken += expect_like_python(read, mutate(dice, write_document(dice)))
    assert taken > ROUNDS // 10  # some mutations do no harm


def test_every_beginning_of_a_document_is_too_short(read):
    document = b' {"B" : [[1.5e3, -2],[3, 4]], "\\u0041":[[0.5,6]]} '
    end = document.rindex(b"}")
    for length in range(end + 1):
        operands, detail = read(document[:length])
        assert operands is None and detail == f"byte {length}: the document ends too early"
    assert expect_like_python(read, document)


def test_a_literal_has_a_bound_that_python_does_not_know(read):
    for literal in (b"0." + b"3" * 4094, b"-1." + b"0" * 4088 + b"1e-10", b"1" + b"0" * 300 + b"." + b"5" * 3794):
        assert len(literal) == 4096
        assert expect_like_python(read, b'{"A":[[1],[' + literal + b']],"B":[[2]]}')
    for length in (4097, 5000, 200000):
        operands, detail = read(b'{"A":[[1],[0.' + b"0" * (length - 2) + b']],"B":[[2]]}')
        assert operands is None and detail == "byte 11: a number of more than 4096 characters, which is the limit"


def test_numpys_own_text_comes_back_bit_by_bit(read):
    numbers = numpy.random.default_rng(3)
    a, b = numbers.standard_normal((12, 15)), numbers.standard_normal((15, 9)) * 1e-300
    operands, _ = read(json.dumps({"A": a.tolist(), "B": b.tolist()}).encode())
    assert (operands[0] == a).all() and (operands[1] == b).all()
