# SPDX-License-Identifier: Apache-2.0
"""JSON documents of some MB, which the thread pool reads while the loop receives: cut anywhere, broken off anywhere."""

import json
import os
import re
import socket
import threading
from pathlib import Path

import numpy
import pytest

from harness import IS_SANITIZED, eventually, refused
from test_ways_in import blobs, files, multiply, nothing_of_it, npy, operands, send_head, text

HEADER = (Path(__file__).parents[2] / "api/ahead.h").read_text()
FROM, LEAST, MOST = (int(count) << int(shift) for count, shift in
                     re.findall(r"#define AHEAD_(?:FROM|LEAST|MOST) \((\d+)u << (10|20)\)", HEADER))
NUMBER = "0.12345678901234567"
ROW = "[" + ",".join([NUMBER] * 1000) + "],"  # 20,002 bytes


@pytest.fixture
def gateway(fleet):
    """One that ends without a complaint: a sanitizer's, of what was left over, would be its status."""
    gateway = fleet.start_gateway()
    yield gateway
    gateway.sigterm()
    assert gateway.wait() == 0


def assert_lying(fleet, *expected):
    """Nobody runs the jobs: their operands are what lies in the directory."""
    found = [numpy.load(path) for path in blobs(fleet)]
    assert len(found) == len(expected)
    for operand in expected:
        assert any(operand.shape == other.shape and (operand == other).all() for other in found)


# ---- what is right ------------------------------------------------------------------


def test_two_documents_at_one_time_are_not_mixed_up(fleet, gateway):
    """Beside them small requests are answered."""
    pairs = [operands(500, 700, 600), operands(650, 450, 550)]  # some 15 MB of text each
    uploads = [threading.Thread(target=multiply, args=(fleet,), kwargs={"data": text(*pair)}) for pair in pairs]
    for upload in uploads:
        upload.start()
    small = 0
    while any(upload.is_alive() for upload in uploads) or small < 10:
        fleet.submit_matrix([[1, 2]], [[3], [4]])
        small += 1
    for upload in uploads:
        upload.join()
    assert_lying(fleet, *pairs[0], *pairs[1])
    assert fleet.stats()["jobs"]["accepted"] == 2 + small


@pytest.mark.parametrize("piece", [7, 1000, 100_000, 3_000_000])
def test_chunks_of_any_size_give_the_same_operands(fleet, gateway, piece):
    a, b = operands(200, 300, 250)
    document = text(a, b).encode()
    chunks = (document[at:at + piece] for at in range(0, len(document), piece))
    multiply(fleet, data=chunks, headers={"Content-Type": "application/json"})
    assert_lying(fleet, a, b)


def test_a_document_may_end_where_a_piece_does(fleet, gateway):
    document = '{"A":[[%s]],"B":[[2]]}'
    for edge in FROM, FROM + LEAST, FROM + MOST, FROM + LEAST + MOST, FROM + 2 * MOST:
        for size in edge - 1, edge, edge + 1:
            body = document % ("1".rjust(size - len(document) + 2))
            assert len(body) == size
            multiply(fleet, data=body)


def test_a_document_that_fits_into_the_message_travels_in_it_however_long_its_text(fleet, gateway):
    row = [0.12345678901234567] * 100
    multiply(fleet, data=json.dumps({"A": [row] * 100, "B": [[1]] * 100}, indent=20))
    assert files(fleet) == []


def test_blobs_are_named_behind_a_long_operand(fleet, gateway):
    """The name is looked up at the end, behind all that the pool has read."""
    a, b = operands(400, 300, 5)
    name = fleet.call("PUT", "/blobs", data=npy(b)).json()["id"]
    multiply(fleet, data='{"A":%s,"B":{"blob":"%s"}}' % (json.dumps(a.tolist()), name))
    assert_lying(fleet, a, b)


def resident_bytes(gateway, what="VmRSS"):
    with open(f"/proc/{gateway.pid}/status", encoding="ascii") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(what)) * 1024


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers keep what was freed")
def test_memory_is_bounded_while_dense_documents_come_and_given_back_behind_them(fleet, gateway):
    """Of short numbers, whose float64 are four times their text."""
    row = b"[" + b",".join([b"1"] * 2000) + b"],"
    document = b'{"A":[' + (row * 1000)[:-1] + b'],"B":[' + (row * 2000)[:-1] + b"]}"  # 12 MB of text, 48 of numbers
    multiply(fleet, data=document)
    before = resident_bytes(gateway)
    for _ in range(4):
        uploads = [threading.Thread(target=multiply, args=(fleet,), kwargs={"data": document}) for _ in range(8)]
        for upload in uploads:
            upload.start()
        for upload in uploads:
            upload.join()
    assert resident_bytes(gateway, "VmHWM") - before < 8 * (5 * MOST + (4 << 20))
    # Of the 300 MB and more what small allocations hold fast stays: 4 to 20 MB, as they happened to lie.
    assert resident_bytes(gateway) - before < 48 << 20


# ---- what is wrong -------------------------------------------------------------------


def test_a_ragged_row_is_named_wherever_it_stands(fleet, gateway):
    for row in 10, 13, 14, 30, 66, 67, 119, 500, 998, 999:
        rows = [ROW] * 1000
        rows[row] = f"[{NUMBER}],"
        body = '{"A":[' + "".join(rows)[:-1] + '],"B":[[1]]}'
        refused(fleet.call("POST", "/matrix_multiplication", data=body), 400, "bad-shape", f"row {row} of A has 1 ")
    nothing_of_it(fleet)


def test_a_wrong_byte_is_named_by_its_place(fleet, gateway):
    right = ('{"A":[' + ROW * 800)[:-1].encode() + b'],"B":[[1]]}'
    for at in FROM + 5, FROM + LEAST + 7, 3_000_001, 12_345_678:
        body = bytearray(right)
        body[at] = ord("[")
        answer = fleet.call("POST", "/matrix_multiplication", data=bytes(body))
        refused(answer, 400, "bad-json", f"byte {at}")
    nothing_of_it(fleet)


def test_a_document_that_ends_too_early_says_where(fleet, gateway):
    body = '{"A":[' + ROW * 300
    refused(fleet.call("POST", "/matrix_multiplication", data=body), 400, "bad-json", f"byte {len(body)}")
    nothing_of_it(fleet)


def test_no_room_is_told_when_it_is_used_up(fleet):
    gateway = fleet.start_gateway(MILLRACE_BLOB_QUOTA=5_000_000)
    with send_head(gateway, 4_000_000_000) as connection:
        # 5 MB of numbers are used up behind 12.5 MB of text. What follows fills both pieces, and is more than they hold.
        connection.sendall(b'{"A":[' + ROW.encode() * 1200)
        answer = b""
        while not answer.endswith(b"}\n"):
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 507 "), answer
    nothing_of_it(fleet)
    gateway.sigterm()
    assert gateway.wait() == 0


# ---- what breaks off ------------------------------------------------------------------


def descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def test_clients_that_go_in_the_middle_leave_nothing(fleet, gateway):
    before = descriptors(gateway)
    for rows in 10, 14, 20, 30, 40, 70, 120, 500, 1000:
        with send_head(gateway, 4_000_000_000) as connection:
            connection.sendall(b'{"A":[' + ROW.encode() * rows)
    nothing_of_it(fleet)
    eventually(lambda: descriptors(gateway) <= before + 1, what="no connection left")  # one is the test's own


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_gateway_stops_while_documents_arrive(fleet, is_whole):
    gateway = fleet.start_gateway()
    body = b'{"A":[' + ROW.encode() * 3000
    connections = [send_head(gateway, len(body) if is_whole else 4_000_000_000) for _ in range(3)]
    senders = [threading.Thread(target=send_or_break, args=(connection, body)) for connection in connections]
    for sender in senders:
        sender.start()
    eventually(lambda: files(fleet), what="an operand under way")
    gateway.sigterm()
    assert gateway.wait() == 0
    for sender, connection in zip(senders, connections):
        sender.join()
        connection.close()
    assert files(fleet) == []


def send_or_break(connection, body):
    try:
        connection.sendall(body)
    except OSError:
        pass


def test_a_body_that_is_held_is_not_taken_for_a_slow_or_gone_one(fleet, gateway):
    """Its client has sent all and closed its side: the answer comes nevertheless."""
    a, b = operands(500, 700, 600)
    document = text(a, b).encode()
    with send_head(gateway, len(document)) as connection:
        connection.sendall(document)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536).startswith(b"HTTP/1.1 202 ")
    assert_lying(fleet, a, b)
