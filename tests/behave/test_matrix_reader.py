# SPDX-License-Identifier: Apache-2.0
"""The reader of matrices against Python's json: documents made and mutated at random."""

import io
import json
import math
import random
import re
import struct

import numpy
import pytest

from harness import LONG
from matrix_probe import JSON, Probe, Random

LIMIT = 4096
ROUNDS = 20000 if LONG else 2000
BLOBS = {}  # names and contents of those that documents may name


def put(name, array):
    buffer = io.BytesIO()
    numpy.save(buffer, array)
    BLOBS[name] = buffer.getvalue()


put("three-by-two", numpy.arange(6.0).reshape(3, 2))
put("two-by-two", numpy.array([[1, 2], [3, 4]], dtype="<i4", order="F"))


@pytest.fixture
def probe():
    probe = Probe()
    yield probe
    probe.close()


@pytest.fixture
def read(probe):
    def read(document, limit=LIMIT):
        """(operands A and B, None) or (None, detail): without blobs."""
        taken, detail = probe.ask(JSON, [("", document)], limit)
        return (taken.operands() if taken else None), detail

    return read


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


def read_object(value):
    """An operand that is an object: an array or Random."""
    if set(value) == {"blob"}:
        if not isinstance(value["blob"], str) or value["blob"] not in BLOBS:
            raise Refused("no blob")
        return numpy.load(io.BytesIO(BLOBS[value["blob"]]))
    if set(value) != {"random"} or not isinstance(value["random"], dict):
        raise Refused("unknown object")
    values = value["random"]
    if set(values) != {"rows", "cols", "seed"} or not all(isinstance(v, Whole) for v in values.values()):
        raise Refused("not a random operand")
    rows, cols, seed = (values[name].value for name in ("rows", "cols", "seed"))
    if not 1 <= rows <= 2**31 or not 1 <= cols <= 2**31 or not 0 <= seed < 2**63:
        raise Refused("out of range")
    return Random(rows, cols, seed)


class Whole(float):
    """A number written as an integer: its float64, and what it was."""
    def __new__(cls, text):
        number = super().__new__(cls, read_number(text))
        number.value = int(text)
        return number


def shape_of(operand):
    return (operand.rows, operand.cols) if isinstance(operand, Random) else operand.shape


def read_like_python(document):
    """What the reader must come to: two operands, or Refused."""
    try:
        value = json.loads(document.decode(), object_pairs_hook=unique, parse_constant=refuse_constant,
                           parse_float=read_number, parse_int=Whole)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from None
    if not isinstance(value, dict) or set(value) != {"A", "B"}:
        raise Refused("keys")
    operands = []
    for matrix in (value["A"], value["B"]):
        if isinstance(matrix, dict):
            operands.append(read_object(matrix))
            continue
        if not isinstance(matrix, list) or not matrix or not all(isinstance(row, list) and row for row in matrix):
            raise Refused("not a matrix")
        if len({len(row) for row in matrix}) != 1:
            raise Refused("ragged")
        if not all(isinstance(number, float) for row in matrix for number in row):
            raise Refused("not numbers")
        operands.append(numpy.array(matrix))
    if shape_of(operands[0])[1] != shape_of(operands[1])[0]:
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


def write_document(dice, write_operand=None):
    m, k, n = (dice.randint(1, 5) for _ in range(3))
    space = dice.choice(["", "", " ", "\n  ", "\t\r\n"])

    def matrix(rows, cols):
        if write_operand and dice.random() < 0.6:
            return write_operand(dice, rows, cols, space)
        lines = [f"[{space}" + f",{space}".join(write_number(dice) for _ in range(cols)) + f"{space}]"
                 for _ in range(rows)]
        return f"[{space}" + f"{space},".join(lines) + f"{space}]"

    keys = [dice.choice(['"A"', '"\\u0041"']) + f"{space}:{space}" + matrix(m, k),
            dice.choice(['"B"', '"\\u0042"']) + f"{space}:{space}" + matrix(k, n)]
    if dice.random() < 0.5:
        keys.reverse()
    return (space + "{" + space + f"{space},{space}".join(keys) + space + "}" + space).encode()


def write_object(dice, rows, cols, space):
    """An operand that is an object, as it should be and not."""
    colon, comma = f"{space}:{space}", f"{space},{space}"
    if dice.random() < 0.4:
        name = dice.choice(["three-by-two", "two-by-two", "two-by-two", "\\u0074wo-by-two", "nowhere", "../x", ""])
        return "{" + space + '"blob"' + colon + f'"{name}"' + space + "}"
    pairs = ['"rows"' + colon + str(rows), dice.choice(['"cols"', '"\\u0063ols"']) + colon + str(cols),
             '"seed"' + colon + dice.choice(["0", "7", str(2**63 - 1), str(2**63), "-1", "1.0", "1e3", '"7"', "null"])]
    dice.shuffle(pairs)
    return "{" + space + '"random"' + colon + "{" + space + comma.join(pairs) + space + "}" + space + "}"


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


def same(got, wanted):
    if isinstance(wanted, Random) or isinstance(got, Random):
        return got == wanted
    return got.shape == wanted.shape and got.dtype == wanted.dtype and got.tobytes() == wanted.tobytes()


def expect_like_python(probe, document, limit=LIMIT, blobs=None):
    taken, detail = probe.ask(JSON, [("", document)], limit, blobs=blobs)
    try:
        wanted = read_like_python(document)
    except Refused as error:
        assert taken is None, (document, str(error))
        assert detail
        return None
    assert taken is not None, (document, detail)
    for got, right in zip(taken.operands(), wanted):
        assert same(got, right), document
    return taken


def test_documents_at_random_read_as_python_reads_them(probe):
    dice = random.Random(20261120)
    for _ in range(ROUNDS):
        assert expect_like_python(probe, write_document(dice))


def test_mutated_documents_end_as_in_python(probe):
    dice = random.Random(7)
    taken = 0
    for _ in range(4 * ROUNDS):
        taken += expect_like_python(probe, mutate(dice, write_document(dice))) is not None
    assert taken > ROUNDS // 10  # some mutations do no harm


def test_numbers_beyond_memory_go_into_blobs(probe):
    """A limit of a few numbers: what is spilled is the same, and so is what stays."""
    dice = random.Random(11)
    places = set()
    for _ in range(ROUNDS):
        limit = dice.randrange(8, 200)
        taken = expect_like_python(probe, write_document(dice), limit, BLOBS)
        numbers = 8 * taken.k * (taken.m + taken.n)
        assert taken.places() == (("body", "body") if numbers <= limit else ("blob", "blob"))
        assert len(taken.made) == (0 if numbers <= limit else 2) and len(taken.body) <= limit
        places.add(taken.places())
    assert len(places) == 2


def test_operands_that_are_objects_read_as_python_reads_them(probe):
    dice = random.Random(12)
    places = set()
    for round in range(4 * ROUNDS):
        document = write_document(dice, write_object)
        if round % 2:
            document = mutate(dice, document)
        taken = expect_like_python(probe, document, dice.choice([16, 60, LIMIT]), BLOBS)
        if taken:
            places.add(taken.places())
    assert places == {(a, b) for a in ("body", "blob", "random") for b in ("body", "blob", "random")}


def refusal(probe, document, **options):
    taken, detail = probe.ask(JSON, [("", document)], **{"blobs": BLOBS, **options})
    assert taken is None
    return detail


def test_bad_objects_are_refused_with_their_place(probe):
    random_a = b'{"A":{"random":%s},"B":[[1]]}'
    assert re.fullmatch(r'byte 5: operand A has the unknown key "x"; an operand is an array of rows, .*',
                        refusal(probe, b'{"A":{"x":1},"B":[[1]]}'))
    assert "byte 16: operand B lacks \"seed\";" in refusal(probe, b'{"A":[[1]], "B":{"random":{"rows":1,"cols":1}}}')
    assert "has the unknown key \"dtype\"" in refusal(probe, random_a % b'{"rows":1,"cols":1,"seed":1,"dtype":"f8"}')
    assert "byte 5: operand A: \"rows\" must be a whole number, at least 1" == \
        refusal(probe, random_a % b'{"rows":0,"cols":1,"seed":1}')
    assert refusal(probe, random_a % b'{"rows":1,"rows":1,"cols":1,"seed":1}').startswith(
        "byte 31: operand A: duplicate object key")
    assert refusal(probe, random_a % b'{"rows":1,"cols":1,"seed":7\0}') == "byte 42: operand A: a NUL byte"
    assert "has beside \"blob\" also \"random\"" in refusal(probe, b'{"A":{"blob":"x","random":1},"B":[[1]]}')
    assert "A has 201 columns; at most 200 are taken" == \
        refusal(probe, random_a % b'{"rows":1,"cols":201,"seed":1}', side_max=200)
    assert "has more than 4096 characters" in refusal(probe, b'{"A":{' + b" " * 5000 + b'"blob":"x"},"B":[[1]]}')
    assert "byte 9: the document ends too early" == refusal(probe, b'{"A":{"bl')


def test_blobs_are_looked_into_at_submit(probe):
    both = b'{"A":{"blob":"three-by-two"},"B":{"blob":"%s"}}'
    taken, _ = probe.ask(JSON, [("", both % b"two-by-two")], blobs=BLOBS)
    assert (taken.m, taken.k, taken.n) == (3, 2, 2) and taken.body == b""
    taken, _ = probe.ask(JSON, [("", both.replace(b"three-by-two", b"two-by-two") % b"two-by-two")], blobs=BLOBS)
    assert json.loads(taken.refs)["blobs"] == ["two-by-two"]  # once
    assert refusal(probe, both % b"nowhere") == "operand B: there is no blob 'nowhere'"
    assert refusal(probe, both % b"../../etc/passwd") == "operand B: there is no blob '../../etc/passwd'"
    assert refusal(probe, both % b"two-by-two", blobs=None) == \
        "operand A names a blob; there are none here (MILLRACE_BLOB_DIR is not set)"
    content = BLOBS["two-by-two"]
    for broken, detail in ((content[:-1], "operand B, blob broken has 143 bytes; 2 x 2 of i4 take 144"),
                           (content + b"x", "operand B, blob broken has 145 bytes; 2 x 2 of i4 take 144"),
                           (content[:50], "operand B, blob broken: the NumPy header is cut short"),
                           (b"", "operand B, blob broken: the NumPy header is cut short"),
                           (b"text", "operand B, blob broken: this is no NumPy file (.npy): it does not begin as such")):
        assert refusal(probe, both % b"broken", blobs={**BLOBS, "broken": broken}) == detail
    assert refusal(probe, b'{"A":{"blob":"three-by-two"},"B":[[1]]}') == \
        "A is 3 x 2 and B is 1 x 1: A must have as many columns as B rows"


def test_large_documents_go_into_blobs_in_large_pieces(probe):
    numbers = numpy.random.default_rng(5)
    a, b = numbers.standard_normal((201, 301)), numbers.standard_normal((301, 199))
    document = json.dumps({"B": b.tolist(), "A": a.tolist()}).encode()
    for limit in (1024, 300000, 200 * 301 * 8 + 8, 2000000):
        taken, _ = probe.ask(JSON, [("", document)], limit, blobs={})
        assert all(same(got, right) for got, right in zip(taken.operands(), (a, b)))
        assert taken.places() == (("body", "body") if limit == 2000000 else ("blob", "blob"))


def test_every_beginning_of_a_document_is_too_short(read):
    document = b' {"B" : [[1.5e3, -2],[3, 4]], "\\u0041":[[0.5,6]]} '
    end = document.rindex(b"}")
    for length in range(end + 1):
        operands, detail = read(document[:length])
        assert operands is None and detail == f"byte {length}: the document ends too early"
    assert read(document)[0]


def test_a_literal_has_a_bound_that_python_does_not_know(probe, read):
    for literal in (b"0." + b"3" * 4094, b"-1." + b"0" * 4088 + b"1e-10", b"1" + b"0" * 300 + b"." + b"5" * 3794):
        assert len(literal) == 4096
        assert expect_like_python(probe, b'{"A":[[1],[' + literal + b']],"B":[[2]]}')
    for length in (4097, 5000, 200000):
        operands, detail = read(b'{"A":[[1],[0.' + b"0" * (length - 2) + b']],"B":[[2]]}')
        assert operands is None and detail == "byte 11: a number of more than 4096 characters, which is the limit"


def test_numpys_own_text_comes_back_bit_by_bit(read):
    numbers = numpy.random.default_rng(3)
    a, b = numbers.standard_normal((12, 15)), numbers.standard_normal((15, 9)) * 1e-300
    operands, _ = read(json.dumps({"A": a.tolist(), "B": b.tolist()}).encode())
    assert (operands[0] == a).all() and (operands[1] == b).all()
