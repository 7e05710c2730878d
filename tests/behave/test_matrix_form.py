# SPDX-License-Identifier: Apache-2.0
"""The form intake of matrices against NumPy's own files: parts A and B as .npy, cut anywhere."""

import io
import random

import numpy
import pytest

from harness import LONG
from matrix_probe import FORM, Probe, Random

ROUNDS = 5000 if LONG else 500
DTYPES = ("<f8", "<f4", "<i8", "<i4")
VERSIONS = ((1, 0), (2, 0), (3, 0))


@pytest.fixture
def probe():
    probe = Probe()
    yield probe
    probe.close()


def to_file(array, version=(1, 0)):
    buffer = io.BytesIO()
    numpy.lib.format.write_array(buffer, array, version)
    return buffer.getvalue()


def make_array(dice, rows, cols, dtype=None):
    numbers = numpy.random.default_rng(dice.randrange(2**32)).integers(-2**31, 2**31, (rows, cols))
    array = numpy.array(numbers, dtype=dtype or dice.choice(DTYPES), order=dice.choice("CF"))
    if array.dtype.kind == "f" and dice.random() < 0.3:
        array[0, 0] = dice.choice((numpy.nan, numpy.inf, -numpy.inf))
    return array


def same(got, wanted):
    return got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes()


def refusal(probe, *parts, **options):
    taken, detail = probe.ask(FORM, parts, **options)
    assert taken is None
    return detail


def test_numpys_files_come_back_in_every_version_type_and_order(probe):
    dice = random.Random(20261121)
    places = set()
    for _ in range(ROUNDS):
        m, k, n = (dice.randint(1, 9) for _ in range(3))
        a, b = make_array(dice, m, k), make_array(dice, k, n)
        parts = [("A", to_file(a, dice.choice(VERSIONS))), ("B", to_file(b, dice.choice(VERSIONS)))]
        originals = [content for _, content in parts]
        if dice.random() < 0.5:
            parts.reverse()
        limit = dice.randrange(8, 1200)
        taken, detail = probe.ask(FORM, parts, limit, blobs={})
        assert taken, detail
        assert (taken.m, taken.k, taken.n) == (m, k, n)
        assert all(same(got, wanted) for got, wanted in zip(taken.operands(), (a, b)))

        numbers = -(-a.nbytes // 8) * 8 + b.nbytes
        assert taken.places() == (("body", "body") if numbers <= limit else ("blob", "blob"))
        if numbers > limit:  # the files as they came
            assert sorted(taken.made.values()) == sorted(originals) and not taken.body
        else:
            assert not taken.made and len(taken.body) == numbers
            is_plain = all(x.dtype == "<f8" and (x.flags.c_contiguous) for x in (a, b))
            assert not taken.refs or not is_plain or min(a.shape + b.shape) == 1
        places.add(taken.places())
    assert len(places) == 2


def test_float64_in_c_order_is_the_plain_input(probe):
    a, b = numpy.arange(6.0).reshape(2, 3), numpy.arange(12.0).reshape(3, 4)
    taken, _ = probe.ask(FORM, [("B", to_file(b)), ("A", to_file(a))])
    assert taken.refs == b"" and taken.body == a.tobytes() + b.tobytes()


def test_parts_may_be_objects(probe):
    a = numpy.arange(6, dtype="<i4").reshape(2, 3)
    blobs = {"there": to_file(numpy.ones((3, 5), dtype="<f4"))}
    taken, _ = probe.ask(FORM, [("A", to_file(a)), ("B", b'{"random":{"rows":3,"cols":4,"seed":9}}')], blobs={})
    assert same(taken.operands()[0], a) and taken.operands()[1] == Random(3, 4, 9)
    taken, _ = probe.ask(FORM, [("B", b'{ "blob" : "there" }\n'), ("A", to_file(a))], 16, blobs=blobs)
    assert taken.places() == ("blob", "blob") and same(taken.operands()[0], a)
    assert same(taken.operands()[1], numpy.ones((3, 5), dtype="<f4"))
    taken, _ = probe.ask(FORM, [("A", b'{"random":{"rows":2,"cols":3,"seed":1}}'), ("B", b'{"blob":"there"}')],
                         blobs=blobs)
    assert taken.places() == ("random", "blob")

    assert refusal(probe, ("A", b'{"random":{"rows":2,"cols":3}}'), ("B", to_file(a))).startswith(
        'part A: byte 0: operand A lacks "seed"')
    assert refusal(probe, ("A", b'{"blob":"there"} x'), ("B", to_file(a)), blobs=blobs).startswith(
        "part A: byte 18: operand A: end of file expected")
    assert refusal(probe, ("A", b'{' + b" " * 100000), ("B", to_file(a))).startswith(
        "part A: byte 0: the object that stands for operand A has more than 4096 characters")
    assert refusal(probe, ("A", b'{"blob":"nowhere"}'), ("B", to_file(a)), blobs=blobs) == \
        "operand A: there is no blob 'nowhere'"


def test_unknown_missing_and_repeated_parts_are_refused_by_name(probe):
    file = to_file(numpy.ones((2, 2)))
    assert refusal(probe, ("A", file), ("C", file)) == "the form has a part 'C'; there are only A and B"
    assert refusal(probe, ("AB", file)) == "the form has a part 'AB'; there are only A and B"
    assert refusal(probe, ("", file)) == "the form has a part ''; there are only A and B"
    assert refusal(probe, ("A", file), ("A", file)) == "the form has the part A twice"
    assert refusal(probe, ("A", b'{"random":{"rows":2,"cols":2,"seed":1}}'), ("A", file)) == \
        "the form has the part A twice"
    assert refusal(probe, ("A", file)) == "the form has no part B"
    assert refusal(probe, ("B", file)) == "the form has no part A"
    assert refusal(probe) == "the form has no part A"


def test_parts_that_are_no_operands_are_refused(probe):
    a, b = numpy.ones((2, 3), dtype="<f4"), to_file(numpy.ones((3, 2)))
    file = to_file(a)
    for part, detail in ((b"", "part A is empty"), (file[:5], "part A is cut short within its NumPy header"),
                         (file[:100], "part A is cut short within its NumPy header"),
                         (file[:-1], "part A is cut short: 2 x 3 of f4 are 24 bytes behind the header"),
                         (file[:128], "part A is cut short: 2 x 3 of f4 are 24 bytes behind the header"),
                         (file + b"x", "part A is too long: 2 x 3 of f4 are 24 bytes behind the header"),
                         (b"1,2,3", "part A: this is no NumPy file (.npy): it does not begin as such"),
                         (to_file(a.astype(">f4")), "part A: the numbers of the NumPy file are '>f4', which is "
                          "big-endian; taken are '<f8', '<f4', '<i8' and '<i4'"),
                         (to_file(a.astype("<u8")), "part A: the numbers of the NumPy file are '<u8'; taken are "
                          "'<f8', '<f4', '<i8' and '<i4'"),
                         (to_file(a.astype(bool)), "part A: the numbers of the NumPy file are '|b1'; taken are "
                          "'<f8', '<f4', '<i8' and '<i4'"),
                         (to_file(numpy.ones(6)), "part A: the array of the NumPy file has 1 dimension; an operand "
                          "has two, rows and columns"),
                         (to_file(numpy.ones((2, 3, 1))), "part A: the array of the NumPy file has 3 dimensions; an "
                          "operand has two, rows and columns"),
                         (to_file(numpy.ones((0, 3))), "part A: the array of the NumPy file is empty: 0 x 3")):
        for blobs in (None, {}):
            for limit in (16, 4096):
                if blobs is not None or limit == 4096:
                    assert refusal(probe, ("A", part), ("B", b), inline_max=limit, blobs=blobs) == detail
    assert refusal(probe, ("A", to_file(numpy.ones((2, 4)))), ("B", b)) == \
        "A is 2 x 4 and B is 3 x 2: A must have as many columns as B rows"
    assert refusal(probe, ("A", to_file(numpy.ones((2, 40)))), ("B", b), side_max=39) == \
        "A has 40 columns; at most 39 are taken"
    assert refusal(probe, ("A", file), ("B", b), inline_max=71) == \
        "the operands take more than 71 bytes, which is the limit"


def test_large_files_pass_as_they_are(probe):
    numbers = numpy.random.default_rng(3)
    a, b = numbers.standard_normal((500, 300)), numpy.asfortranarray(numbers.standard_normal((300, 400)))
    files = [to_file(a), to_file(b)]
    taken, _ = probe.ask(FORM, list(zip("AB", files)), blobs={})
    assert list(taken.made.values()) == files
    assert same(taken.operands()[0], a) and same(taken.operands()[1], b)


def test_what_is_taken_of_mutated_files_numpy_reads_alike(probe):
    """NumPy takes more; what is taken here must be what NumPy sees."""
    dice = random.Random(8)
    b = to_file(numpy.ones((3, 2)))
    spare = [b"'", b'"', b",", b"(", b")", b"{", b"}", b" ", b":", b"True", b"False", b"<", b">", b"f8", b"0", b"1",
             b"3", b"-", b"\n", b"[", b"]", b"\0", b"#"]
    taken_count = 0
    for _ in range(8 * ROUNDS):
        file = bytearray(to_file(make_array(dice, 2, 3, "<f8"), dice.choice(VERSIONS)))
        end = len(file) - 48
        for _ in range(dice.randint(1, 2)):
            at = dice.randrange(min(90, end))
            part = dice.choice(spare) if dice.random() < 0.7 else bytes([dice.randrange(256)])
            file[at:at + dice.choice((0, len(part)))] = part
            if dice.random() < 0.8 and len(file) > end + 48:  # blanks make up for what was put in
                del file[end - (len(file) - end - 48):end]
        taken, detail = probe.ask(FORM, [("A", bytes(file)), ("B", b)], blobs={})
        assert taken or detail
        if not taken:
            continue
        taken_count += 1
        assert same(taken.operands()[0], numpy.load(io.BytesIO(bytes(file)))), bytes(file)
    assert taken_count > ROUNDS // 10
