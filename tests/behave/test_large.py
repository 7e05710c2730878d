# SPDX-License-Identifier: Apache-2.0
"""Matrices beyond a message, through a whole fleet: numpy says what every way in, cut and way out must give."""
import io
import itertools
import json
import os

import numpy
import pytest

from harness import BUILD, REPOSITORY, eventually

DTYPES = ("f8", "f4", "i8", "i4")
ORDERS = ("C", "F")
INLINE_MAX = 4096  # so that small matrices travel as large ones do
TERMINAL_SECONDS = 60


@pytest.fixture
def fleet(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_INLINE_MAX=INLINE_MAX)
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_SLOTS=2)
    return fleet


# ---- ways in, ways out ------------------------------------------------------------


def npy(matrix, version=None):
    out = io.BytesIO()
    numpy.lib.format.write_array(out, matrix, version=version)
    return out.getvalue()


def submit(fleet, a, b, **params):
    """A form; a, b: bytes of .npy files, or a document for the part of that name."""
    files = {name: (f"{name}.npy", part, "application/octet-stream") if isinstance(part, bytes)
             else (None, json.dumps(part), "application/json") for name, part in (("A", a), ("B", b))}
    return accepted(fleet.call("POST", "/matrix_multiplication", files=files, params=params))


def submit_json(fleet, a, b, **params):
    return accepted(fleet.call("POST", "/matrix_multiplication", json={"A": a, "B": b}, params=params))


def accepted(answer):
    assert answer.status_code == 202, f"{answer.status_code} {answer.text}"
    return answer.json()["id"]


def put_blob(fleet, content):
    answer = fleet.call("PUT", "/blobs", data=content)
    assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
    return answer.json()["id"]


def completed(fleet, job):
    record = fleet.wait_end(job, deadline=TERMINAL_SECONDS)
    assert record["state"] == "completed", record
    return record


def result(fleet, job, **params):
    """The product as numpy reads it."""
    answer = fleet.result(job, params=params, headers={"Accept": "application/x-npy"})
    return numpy.load(io.BytesIO(answer.content))


def result_json(fleet, job, **params):
    return fleet.result(job, params=params, headers={"Accept": "application/json"}).json()["C"]


def operand(seed, rows, cols, dtype, order):
    dice = numpy.random.default_rng(seed)
    numbers = dice.integers(-1000, 1000, (rows, cols)) if dtype[0] == "i" else dice.standard_normal((rows, cols))
    return numpy.asarray(numbers, dtype=dtype, order=order)


def assert_is_product(c, a, b):
    """By the error bound of a dot product, both sides; integers exactly, in numpy's type for the two."""
    expected_type = numpy.promote_types(a.dtype, b.dtype)
    assert c.dtype == expected_type and c.shape == (a.shape[0], b.shape[1])
    if expected_type.kind == "i":
        assert (c == a.astype(object) @ b.astype(object)).all()
        return
    a, b = a.astype("f8"), b.astype("f8")
    bound = 2 * a.shape[1] * numpy.finfo(expected_type).eps * (abs(a) @ abs(b)) + numpy.finfo(expected_type).tiny
    assert (abs(c - a @ b) <= bound).all()


# ---- random operands: docs/protocol.md shows how a client computes them, and is taken by its word ----


def code_of(page):
    """The first example in Python of a document."""
    with open(os.path.join(REPOSITORY, page), encoding="utf-8") as file:
        return file.read().split("```python\n")[1].split("```")[0]


def _define(name, page):
    names = {}
    exec(code_of(page), names)
    return names[name]


philox = _define("operand", os.path.join("docs", "protocol.md"))


def random_operand(rows, cols, seed):
    return {"random": {"rows": rows, "cols": cols, "seed": seed}}


# ---- dtypes, orders, shapes ----------------------------------------------------------


@pytest.mark.parametrize("of_a,of_b", itertools.product(DTYPES, DTYPES))
def test_every_pair_of_types_in_every_order_gives_numpys_product(fleet, of_a, of_b):
    jobs = []
    for order_a, order_b in itertools.product(ORDERS, ORDERS):
        for m, k, n in ((3, 4, 2), (40, 33, 27)):  # within a message, and beyond
            a, b = operand(m, m, k, of_a, order_a), operand(n, k, n, of_b, order_b)
            jobs.append((a, b, submit(fleet, npy(a), npy(b))))
    for a, b, job in jobs:
        completed(fleet, job)
        assert_is_product(result(fleet, job), a, b)


@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (1, 5000, 1), (700, 1, 3), (1, 3, 900), (129, 257, 65), (500, 400, 300)])
def test_any_shapes_that_chain_are_multiplied(fleet, m, k, n):
    a, b = operand(1, m, k, "f8", "C"), operand(2, k, n, "f8", "F")
    by_form, by_json = submit(fleet, npy(a), npy(b)), submit_json(fleet, a.tolist(), b.tolist())
    for job in (by_form, by_json):
        completed(fleet, job)
        assert_is_product(result(fleet, job), a, b)
        assert_is_product(numpy.array(result_json(fleet, job)), a, b)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_npy_format_is_read(fleet, version):
    a = operand(1, 60, 50, "f8", "C")
    job = submit(fleet, npy(a, version), npy(a.T.copy(), version))
    completed(fleet, job)
    assert_is_product(result(fleet, job), a, a.T)


def test_a_json_document_of_two_matrices_of_2000_is_multiplied(fleet):
    a, b = operand(1, 2000, 2000, "f8", "C"), operand(2, 2000, 2000, "f8", "C")
    job = submit_json(fleet, a.tolist(), b.tolist())
    record = completed(fleet, job)
    assert record["result"]["size"] == 128 + 8 * 2000 ** 2
    assert_is_product(result(fleet, job), a, b)


def test_the_example_for_numpy_in_the_readme_prints_a_rounding_error(fleet, capsys):
    exec(code_of("README.md").replace("http://127.0.0.1:8080", fleet.gateways[0].url), {})
    assert float(capsys.readouterr().out) < 1e-9


# ---- by reference, made where they are used, mixed ------------------------------------


def test_blobs_are_operands_as_often_as_one_likes(fleet):
    a = operand(1, 90, 90, "f8", "F")
    blob = put_blob(fleet, npy(a))
    square = submit_json(fleet, {"blob": blob}, {"blob": blob})
    again = submit_json(fleet, {"blob": blob}, numpy.eye(90).tolist())
    for job, b in ((square, a), (again, numpy.eye(90))):
        completed(fleet, job)
        assert_is_product(result(fleet, job), a, b)


def test_random_operands_are_those_of_the_definition(fleet):
    seeds = 7, 2 ** 53 + 1
    job = submit_json(fleet, random_operand(70, 300, seeds[0]), random_operand(300, 80, seeds[1]))
    completed(fleet, job)
    assert_is_product(result(fleet, job), philox(70, 300, seeds[0]), philox(300, 80, seeds[1]))


def test_a_cell_of_a_random_operand_can_be_seen_through_the_identity(fleet):
    job = submit_json(fleet, random_operand(40, 40, 3), numpy.eye(40).tolist())
    completed(fleet, job)
    assert (result(fleet, job) == philox(40, 40, 3)).all()


def test_forms_of_operands_may_be_mixed(fleet):
    a, b = operand(1, 50, 60, "f8", "C"), operand(2, 60, 70, "f4", "F")
    blob, random = put_blob(fleet, npy(b)), philox(60, 70, 5)
    jobs = [(submit(fleet, npy(a), {"blob": blob}), b),
            (submit_json(fleet, a.tolist(), {"blob": blob}), b),
            (submit_json(fleet, a.tolist(), random_operand(60, 70, 5)), random),
            (submit(fleet, npy(a), random_operand(60, 70, 5)), random)]
    for job, right in jobs:
        completed(fleet, job)
        assert_is_product(result(fleet, job), a, right)


# ---- cut into tiles --------------------------------------------------------------------


@pytest.mark.parametrize("tile_m,tile_n", [(64, 64), (50, 200), (1000, 33), (151, 97)])
def test_a_product_in_tiles_is_the_product(fleet, tile_m, tile_n):
    a, b = operand(1, 150, 120, "f8", "C"), operand(2, 120, 96, "f8", "F")
    job = submit(fleet, npy(a), npy(b), tile_m=tile_m, tile_n=tile_n)
    record = completed(fleet, job)
    tiles = -(-150 // tile_m) * -(-96 // tile_n)
    if tiles > 1:
        assert record["tiles"] == {"total": tiles, "done": tiles}
    assert_is_product(result(fleet, job), a, b)
    assert_is_product(numpy.array(result_json(fleet, job)), a, b)


def test_tiles_of_random_operands_and_of_integers_are_right(fleet):
    a, b = operand(1, 90, 70, "i8", "F"), operand(2, 70, 110, "i4", "C")
    whole = submit(fleet, npy(a), npy(b), tile_m=32, tile_n=40)
    random = submit_json(fleet, random_operand(90, 70, 1), random_operand(70, 110, 2), tile_m=40, tile_n=32)
    completed(fleet, whole)
    assert_is_product(result(fleet, whole), a, b)
    completed(fleet, random)
    assert_is_product(result(fleet, random), philox(90, 70, 1), philox(70, 110, 2))


# ---- windows and ranges ------------------------------------------------------------------


@pytest.mark.parametrize("cut", [{}, {"tile_m": 37, "tile_n": 41}], ids=["whole", "tiled"])
def test_windows_are_slices_of_the_product(fleet, cut):
    a, b = operand(1, 120, 30, "f8", "C"), operand(2, 30, 110, "f8", "C")
    job = submit(fleet, npy(a), npy(b), **cut)
    completed(fleet, job)
    whole = result(fleet, job)
    for rows, cols in (("0:1", "0:1"), ("5:6", "0:110"), ("0:120", "109:110"), ("30:80", "40:45"), ("119:120", None),
                       (None, "7:99"), ("36:38", "40:42"), ("100:", ":3"), (":", "9:")):
        params = {key: text for key, text in (("rows", rows), ("cols", cols)) if text}
        slices = tuple(slice(*(int(end) if end else None for end in text.split(":"))) if text else slice(None) for text in (rows, cols))
        assert (result(fleet, job, **params) == whole[slices]).all()
        assert (numpy.array(result_json(fleet, job, **params)) == whole[slices]).all()


@pytest.mark.parametrize("window", ["5", "5:5", "6:5", "-1:4", "0:121", "a:b", "1:2:3", ""])
def test_a_window_that_is_none_is_refused(fleet, window):
    a = operand(1, 120, 30, "f8", "C")
    job = submit(fleet, npy(a), npy(a.T.copy()))
    completed(fleet, job)
    answer = fleet.call("GET", f"/jobs/{job}/result", params={"rows": window})
    assert answer.status_code == 400, answer.text
    assert "rows" in answer.json()["detail"]


@pytest.mark.parametrize("cut", [{}, {"tile_m": 37, "tile_n": 41}], ids=["whole", "tiled"])
def test_ranges_of_the_file_are_its_bytes(fleet, cut):
    a, b = operand(1, 120, 30, "f8", "C"), operand(2, 30, 110, "f8", "C")
    job = submit(fleet, npy(a), npy(b), **cut)
    completed(fleet, job)
    headers = {"Accept": "application/x-npy"}
    whole = fleet.result(job, headers=headers).content
    head = fleet.call("HEAD", f"/jobs/{job}/result", headers=headers)
    assert head.status_code == 200 and int(head.headers["Content-Length"]) == len(whole) == 128 + 8 * 120 * 110
    assert head.headers["Content-Type"] == "application/x-npy" and head.content == b""
    for first, last in ((0, 0), (0, 127), (100, 5000), (len(whole) - 9, len(whole) - 1), (777, 99_999)):
        answer = fleet.call("GET", f"/jobs/{job}/result", headers={**headers, "Range": f"bytes={first}-{last}"})
        assert answer.status_code == 206 and answer.content == whole[first:last + 1]
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


# ---- numbers at the edge --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["i8", "i4"])
def test_integers_that_overflow_fail_the_job_and_say_so(fleet, dtype):
    most = numpy.iinfo(dtype).max
    exact, beyond = numpy.array([[most]], dtype), numpy.array([[most, 1]], dtype)
    one, ones = numpy.array([[1]], dtype), numpy.array([[1], [1]], dtype)
    fits, overflows = submit(fleet, npy(exact), npy(one)), submit(fleet, npy(beyond), npy(ones))
    completed(fleet, fits)
    assert result(fleet, fits) == [[most]]
    record = fleet.wait_end(overflows)
    assert record["state"] == "failed" and record["error"]["code"] == "overflow" and record["attempt"] == 1
    assert "int" in record["error"]["detail"], record


def test_a_sum_that_overflows_on_the_way_and_comes_back_is_exact(fleet):
    a = numpy.array([[2 ** 62, 2 ** 62, -2 ** 62]], "i8")
    job = submit(fleet, npy(a), npy(numpy.ones((3, 1), "i8")))
    completed(fleet, job)
    assert result(fleet, job) == [[2 ** 62]]


def test_nan_and_infinity_come_through_npy_files(fleet):
    a = operand(1, 60, 60, "f8", "C")
    a[3, 4], a[10, 0] = numpy.nan, numpy.inf
    job = submit(fleet, npy(a), npy(numpy.eye(60) + 0.5))
    completed(fleet, job)
    c, expected = result(fleet, job), a @ (numpy.eye(60) + 0.5)
    assert (numpy.isnan(c) == numpy.isnan(expected)).all() and numpy.isnan(c[3]).all()
    finite = numpy.isfinite(expected)
    assert (numpy.isinf(c) == numpy.isinf(expected)).all()
    assert numpy.allclose(c[finite], expected[finite], rtol=1e-12, atol=1e-12)


def test_nan_is_refused_in_json(fleet):
    answer = fleet.call("POST", "/matrix_multiplication", data='{"A":[[NaN]],"B":[[1]]}')
    assert answer.status_code == 400


# ---- verified --------------------------------------------------------------------------------


def test_every_record_says_how_its_product_was_verified(fleet):
    small, large = operand(1, 2, 2, "f8", "C"), operand(1, 90, 90, "f8", "C")
    for job in (submit_json(fleet, small.tolist(), small.tolist()), submit(fleet, npy(large), npy(large)),
                submit(fleet, npy(large), npy(large), tile_m=40, tile_n=40)):
        verified = completed(fleet, job)["verified"]
        assert set(verified) == {"method", "probes", "bound"} and verified["probes"] >= 1, verified


@pytest.mark.parametrize("side", [8, 90])
def test_a_product_with_one_wrong_number_is_not_a_result(make_fleet, servers, side):
    """The executor of this test flips one element of the first product that it computes."""
    fleet = make_fleet(servers, MILLRACE_INLINE_MAX=INLINE_MAX)
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_EXEC=os.path.join(BUILD, "millrace-exec-flip"), MILLRACE_BACKOFF_BASE_SECONDS=1)
    a = operand(1, side, side, "f8", "C")
    job = submit(fleet, npy(a), npy(a))
    retrying = fleet.wait_state(job, "retrying")
    assert retrying["error"]["code"] == "not-verified" and retrying["attempt"] == 1
    record = completed(fleet, job)
    assert record["attempt"] == 2
    assert_is_product(result(fleet, job), a, a)
    assert "millrace_unverified_products_total 1" in fleet.call("GET", "/metrics").text


@pytest.mark.parametrize("cut", [{}, {"tile_m": 250, "tile_n": 250}], ids=["whole", "in tiles"])
def test_a_full_disk_under_a_product_is_tried_again(make_fleet, servers, small_disk, cut):
    """And its worker goes on with jobs that need no disk."""
    fleet = make_fleet(servers, MILLRACE_INLINE_MAX=INLINE_MAX, MILLRACE_ATTEMPTS_MAX=10)
    fleet.blob_dir = os.path.join(small_disk, "blobs")
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_BACKOFF_BASE_SECONDS=1)
    executors = worker.executors()
    ballast = os.path.join(small_disk, "ballast")
    with open(ballast, "wb") as file:
        file.write(b"x" * 2_900_000)  # room for two tiles of half a MB, not for the product
    a, b = philox(500, 300, 1), philox(300, 500, 2)
    job = submit_json(fleet, random_operand(500, 300, 1), random_operand(300, 500, 2), **cut)
    retrying = eventually(lambda: fleet.call("GET", "/jobs", params={"state": "retrying"}).json()["jobs"])
    assert retrying[0]["error"]["code"] == "disk-full" and "no room" in retrying[0]["error"]["detail"]
    assert (retrying[0]["id"] == job) == (not cut)
    completed(fleet, submit_json(fleet, [[2]], [[3]]))
    eventually(lambda: os.listdir(os.path.join(fleet.blob_dir, "tmp")) == [], what="nothing left of it")
    os.unlink(ballast)
    completed(fleet, job)
    assert_is_product(result(fleet, job), a, b)
    assert worker.executors() == executors


# ---- blobs outlive a gateway --------------------------------------------------------------------


def test_a_restarted_and_a_second_gateway_see_the_same_blobs(fleet):
    a = operand(1, 90, 90, "f8", "C")
    blob = put_blob(fleet, npy(a))
    first = submit_json(fleet, {"blob": blob}, {"blob": blob})
    completed(fleet, first)
    fleet.gateways[0].stop()
    fleet.gateways[0].start()
    fleet.gateways[0].wait_ready()
    second = fleet.start_gateway()
    for gateway in (fleet.gateways[0], second):
        assert fleet.call("GET", f"/blobs/{blob}", gateway).content == npy(a)
        answer = fleet.result(first, gateway, headers={"Accept": "application/x-npy"})
        assert_is_product(numpy.load(io.BytesIO(answer.content)), a, a)
        again = fleet.call("POST", "/matrix_multiplication", gateway, json={"A": {"blob": blob}, "B": {"blob": blob}})
        completed(fleet, accepted(again))
