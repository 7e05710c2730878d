# SPDX-License-Identifier: Apache-2.0
"""Inputs that no message can carry: as JSON, as a form, as raw bytes, by reference; whole or not at all."""

import hashlib
import io
import json
import os
import socket

import numpy
import pytest

from harness import eventually, refused

UNKNOWN = "0193489c-aaaa-7bbb-8ccc-0123456789ab"


def files(fleet):
    """All that lies in the directory, finished or not."""
    return sorted(os.path.join(folder, name) for folder, _, names in os.walk(fleet.blob_dir) for name in names)


def blobs(fleet):
    return [path for path in files(fleet) if "/tmp/" not in path[len(fleet.blob_dir):] and not path.endswith(".sum")]


def operands(m, k, n, dtype=float):
    generator = numpy.random.default_rng(m * k + n)
    make = generator.standard_normal if numpy.issubdtype(dtype, numpy.floating) else \
        lambda shape: generator.integers(-1000, 1000, shape)
    return make((m, k)).astype(dtype), make((k, n)).astype(dtype)


def npy(matrix, **more):
    file = io.BytesIO()
    numpy.save(file, matrix, **more)
    return file.getvalue()


def text(a, b):
    return json.dumps({"A": a.tolist(), "B": b.tolist()})


def form(a, b):
    return {"A": ("a.npy", npy(a)), "B": ("b.npy", npy(b))}


def multiply(fleet, status=202, **more):
    answer = fleet.call("POST", "/matrix_multiplication", **more)
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    return answer.json()


def nothing_of_it(fleet):
    eventually(lambda: files(fleet) == [], what="nothing left in the directory")
    assert fleet.stats()["jobs"]["accepted"] == 0


def send_head(gateway, length):
    connection = socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1])))
    connection.settimeout(20)
    connection.sendall(b"POST /matrix_multiplication HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n" % length)
    return connection


# -- what lies in the directory


def test_operands_of_a_document_become_npy_files(fleet):
    fleet.start_gateway()
    a, b = operands(300, 200, 250)
    multiply(fleet, data=text(a, b))
    lying = [numpy.load(path) for path in blobs(fleet)]
    assert len(lying) == 2
    for operand in (a, b):
        assert any(operand.shape == other.shape and (operand == other).all() for other in lying)


def test_operands_of_a_form_keep_their_type(fleet):
    fleet.start_gateway()
    a, b = operands(300, 200, 250, numpy.int32)
    multiply(fleet, files=form(a, numpy.asfortranarray(b)))
    lying = [numpy.load(path) for path in blobs(fleet)]
    for operand in (a, b):
        assert any(operand.dtype == other.dtype and operand.shape == other.shape and (operand == other).all()
                   for other in lying)


def test_a_small_input_needs_no_blob(fleet):
    fleet.start_gateway()
    a, b = operands(20, 30, 10)
    multiply(fleet, data=text(a, b))
    multiply(fleet, files=form(a, b))
    fleet.submit_hash(b"x" * 262144)
    assert files(fleet) == []


# -- the way to a result


@pytest.mark.parametrize("way", ["document", "form", "reference", "both"])
def test_each_way_leads_to_the_product(fleet, way):
    fleet.start_gateway()
    fleet.start_worker()
    a, b = operands(300, 200, 100)
    if way == "document":
        job = multiply(fleet, data=text(a, b))["id"]
    elif way == "form":
        job = multiply(fleet, files=form(a, b))["id"]
    else:
        name = fleet.call("PUT", "/blobs", data=npy(a)).json()["id"]
        other = {"blob": fleet.call("PUT", "/blobs", data=npy(b)).json()["id"]} if way == "reference" else b.tolist()
        job = multiply(fleet, json={"A": {"blob": name}, "B": other})["id"]
    assert fleet.wait_end(job)["state"] == "completed"
    product = numpy.load(io.BytesIO(fleet.result(job, headers={"Accept": "application/x-npy"}).content))
    assert numpy.allclose(product, a @ b)
    eventually(lambda: all(fleet.call("DELETE", f"/blobs/{os.path.basename(path)}").ok for path in blobs(fleet)),
               what="its inputs are needed no more")


@pytest.mark.parametrize("as_form", [False, True])
def test_raw_bytes_beyond_the_message(fleet, as_form):
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_KINDS="hash")
    data = os.urandom(3_000_000)
    more = {"files": {"file": ("data.bin", data)}} if as_form else {"data": data}
    answer = fleet.call("PUT", "/enqueue?iterations=2", **more)
    assert answer.status_code == 202, answer.text
    assert fleet.wait_end(answer.json()["id"])["state"] == "completed"
    wanted = hashlib.sha512(hashlib.sha512(data).digest()).hexdigest()
    assert fleet.result(answer.json()["id"]).json()["value"] == wanted


# -- refusals


def test_raw_bytes_have_a_limit_too(fleet):
    fleet.start_gateway()
    beyond = 16 * 2 ** 20 + 1
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"x" * beyond), 413, "too-large", str(beyond))
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=iter([b"x" * beyond])), 413, "too-large", str(beyond - 1))
    nothing_of_it(fleet)


def test_without_a_directory_large_inputs_are_refused(fleet):
    fleet.start_gateway(MILLRACE_BLOB_DIR="")
    a, b = operands(300, 200, 250)
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"x" * 262145), 413, "too-large", "262144", "262145")
    refused(fleet.call("POST", "/matrix_multiplication", data=text(a, b)), 413, "too-large")
    refused(fleet.call("POST", "/matrix_multiplication", files=form(a, b)), 413, "too-large")
    refused(fleet.call("POST", "/matrix_multiplication", json={"A": {"blob": UNKNOWN}, "B": [[1]]}), 422, "no-blob")


def test_types_that_the_call_takes_are_named(fleet):
    fleet.start_gateway()
    answer = fleet.call("POST", "/matrix_multiplication", data=b"x", headers={"Content-Type": "text/csv"})
    refused(answer, 415, "bad-media-type", "text/csv", "application/json", "multipart/form-data")


def test_blobs_that_are_no_operands(fleet):
    fleet.start_gateway()
    no_npy = fleet.call("PUT", "/blobs", data=b"no such file" * 100).json()["id"]
    refused(fleet.call("POST", "/matrix_multiplication", json={"A": {"blob": UNKNOWN}, "B": [[1]]}), 422, "no-blob",
            UNKNOWN)
    refused(fleet.call("POST", "/matrix_multiplication", json={"A": {"blob": no_npy}, "B": [[1]]}), 400, "bad-body")
    assert [os.path.basename(path) for path in blobs(fleet)] == [no_npy]  # it is the client's


def test_a_wrong_row_is_named_at_once_and_nothing_is_left(fleet):
    """The answer is there long before the body is over: with what follows the pieces that are being read."""
    gateway = fleet.start_gateway()
    row = b"[" + b",".join([b"0.12345678901234567"] * 1000) + b"],"
    with send_head(gateway, 4_000_000_000) as connection:
        connection.sendall(b'{"A":[' + row * 731 + b"[1,2,3],")
        connection.sendall(row * 300)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}\n"):
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece
        eventually(lambda: files(fleet) == [], what="nothing left in the directory")
        connection.sendall(row * 100)  # whoever has not looked yet may go on
    assert answer.startswith(b"HTTP/1.1 400 ") and b"row 731 of A" in answer, answer
    nothing_of_it(fleet)


def test_a_client_that_sends_all_finds_the_answer_behind_it(fleet):
    fleet.start_gateway()
    row = "[" + ",".join(["0.12345678901234567"] * 1000) + "],"
    body = '{"A":[[1],' + row * 8000 + "[1]],"  # 160 MB that are wrong from the second row on
    refused(fleet.call("POST", "/matrix_multiplication", data=body.encode()), 400, "bad-shape", "row 1 of A")
    nothing_of_it(fleet)


def test_a_client_that_goes_in_the_middle_leaves_nothing(fleet):
    gateway = fleet.start_gateway()
    row = b"[" + b",".join([b"0.5"] * 1000) + b"],"
    with send_head(gateway, 4_000_000_000) as connection:
        connection.sendall(b'{"A":[' + row * 1000)
        eventually(lambda: files(fleet), what="an operand under way")
    nothing_of_it(fleet)


def test_no_room_refuses_the_job(fleet):
    fleet.start_gateway(MILLRACE_BLOB_QUOTA=500000)
    a, b = operands(300, 200, 250)  # 480,000 and 400,000 bytes
    refused(fleet.call("POST", "/matrix_multiplication", data=text(a, b)), 507, "disk-full")
    refused(fleet.call("POST", "/matrix_multiplication", files=form(a, b)), 507, "disk-full")
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"x" * 600000), 507, "disk-full")
    nothing_of_it(fleet)


def test_an_upload_has_a_limit(fleet):
    fleet.start_gateway(MILLRACE_UPLOAD_MAX=1000000)
    a, b = operands(300, 200, 250)
    document = text(a, b).encode()
    refused(fleet.call("POST", "/matrix_multiplication", data=document), 413, "too-large", str(len(document)), "1000000")
    refused(fleet.call("POST", "/matrix_multiplication", data=iter([document])), 413, "too-large", "1000000")
    nothing_of_it(fleet)


# -- servers that fail, and requests that come twice


def test_a_store_that_is_down_takes_nothing(fleet, servers):
    fleet.start_gateway()
    servers.redis.kill9()
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"x" * 500000), 503, "store-down")
    assert files(fleet) == []


def test_a_job_in_the_outbox_keeps_its_input(make_fleet, private_servers):
    fleet = make_fleet(private_servers)
    fleet.start_gateway()
    private_servers.rabbitmq.kill9()
    answer = fleet.call("PUT", "/enqueue?iterations=1", data=b"x" * 500000)
    assert answer.status_code == 202 and answer.json()["held"] == "outbox"
    assert len(blobs(fleet)) == 1


def test_a_repeated_request_is_known_by_the_content_of_its_blobs(fleet):
    fleet.start_gateway()
    a, b = operands(300, 200, 250)
    key = {"Idempotency-Key": "one"}
    first = multiply(fleet, data=text(a, b), headers=key)["id"]
    before = files(fleet)
    assert multiply(fleet, data=text(a, b), headers=key)["id"] == first
    document = text(a, b).encode()
    pieces = iter([document[at:at + 7777] for at in range(0, len(document), 7777)])
    assert multiply(fleet, data=pieces, headers=key)["id"] == first
    b[17, 3] += 1
    assert multiply(fleet, 422, data=text(a, b), headers=key)["code"] == "key-reused"
    assert files(fleet) == before


def test_a_repeated_request_is_known_by_the_names_of_the_blobs_it_names(fleet):
    fleet.start_gateway()
    a, b = operands(30, 20, 25)
    names = [fleet.call("PUT", "/blobs", data=npy(operand)).json()["id"] for operand in (a, b, b)]
    key = {"Idempotency-Key": "two"}
    body = {"A": {"blob": names[0]}, "B": {"blob": names[1]}}
    first = multiply(fleet, json=body, headers=key)["id"]
    assert multiply(fleet, json=body, headers=key)["id"] == first
    body["B"]["blob"] = names[2]
    assert multiply(fleet, 422, json=body, headers=key)["code"] == "key-reused"
    assert len(blobs(fleet)) == 3
