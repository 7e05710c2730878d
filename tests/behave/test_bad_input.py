# SPDX-License-Identifier: Apache-2.0
"""What bad input gets: a 4xx problem that names the fault, never a 5xx, and a gateway that goes on."""
import io
import json
import socket

import numpy
import pytest

from harness import LONG, eventually, refused

LIMIT = 262144
HASH_MAX = 16 << 20
SIDE_MAX = 3000
RESULT_MAX = 1000000
UPLOAD_MAX = 20000000


@pytest.fixture
def fleet(fleet):
    """With blobs, and with limits that are easily reached."""
    fleet.start_gateway(MILLRACE_SIDE_MAX=SIDE_MAX, MILLRACE_RESULT_MAX=RESULT_MAX, MILLRACE_UPLOAD_MAX=UPLOAD_MAX)
    yield from accepting_nothing(fleet)


@pytest.fixture
def bare_fleet(servers, make_fleet):
    """Without blobs."""
    fleet = make_fleet(servers, MILLRACE_BLOB_DIR="")
    fleet.start_gateway()
    yield from accepting_nothing(fleet)


def accepting_nothing(fleet):
    yield fleet
    assert fleet.gateways[0].is_alive()
    assert fleet.stats()["jobs"]["accepted"] == 0  # nothing of it was accepted
    job = fleet.submit_matrix([[1]], [[1]])  # and the gateway still accepts what is right
    assert fleet.job(job)["state"] == "pending"


def matrix(fleet, text, **more):
    return fleet.call("POST", "/matrix_multiplication", data=text, **more)


@pytest.mark.parametrize("text,status,code,words", [
    ('', 400, "bad-json", ["byte"]),
    ('{', 400, "bad-json", ["byte 1"]),
    ('{"A":[[1]],"B":[[1]]', 400, "bad-json", ["byte"]),
    ('{"A":[[1]],"B":[[1]]}x', 400, "bad-json", ["byte 21"]),
    ('[[1]]', 400, "bad-json", ["byte 0"]),
    ('{"A":[[1 2]],"B":[[1]]}', 400, "bad-json", ["byte 9"]),
    ('{"A":[[1,]],"B":[[1]]}', 400, "bad-json", ["byte"]),
    ('{"A":[[01]],"B":[[1]]}', 400, "bad-json", ["byte"]),
    ('{"A":[[+1]],"B":[[1]]}', 400, "bad-json", ["byte"]),
    ('{"A":[[1.]],"B":[[1]]}', 400, "bad-json", ["byte"]),
    ('{"A":[[NaN]],"B":[[1]]}', 400, "bad-json", ["NaN"]),
    ('{"A":[[-Infinity]],"B":[[1]]}', 400, "bad-json", ["Infinity"]),
    ('{"A":[[1e999]],"B":[[1]]}', 400, "bad-json", ["byte 7"]),
    ('{"A":[[null]],"B":[[1]]}', 400, "bad-json", ["byte"]),
    ('{"A":[["1"]],"B":[[1]]}', 400, "bad-json", ["byte"]),
    ('{"A":[1],"B":[[1]]}', 400, "bad-json", []),
    ('{"A":3,"B":[[1]]}', 400, "bad-json", []),
    ('{"A":[[1]],"A":[[1]],"B":[[1]]}', 400, "bad-json", ["A"]),
    ('{"A":[[1]],"\\u0041":[[1]],"B":[[1]]}', 400, "bad-json", ["A"]),
    ('{"A":[[1]],"C":[[1]],"B":[[1]]}', 400, "bad-json", ["C"]),
    ('{"A":[[1]]}', 400, "bad-json", ["B"]),
    ('{}', 400, "bad-json", []),
    ('\ufeff{"A":[[1]],"B":[[1]]}', 400, "bad-json", []),
    ('{"A":[],"B":[[1]]}', 400, "bad-shape", ["A"]),
    ('{"A":[[]],"B":[[1]]}', 400, "bad-shape", ["A"]),
    ('{"A":[[1,2],[3]],"B":[[1],[2]]}', 400, "bad-shape", ["row 1", "A"]),
    ('{"A":[[1,2]],"B":[[1],[2],[3]]}', 400, "bad-shape", ["1 x 2", "3 x 1"]),
])
def test_matrices_that_are_none(fleet, text, status, code, words):
    refused(matrix(fleet, text.encode()), status, code, *words)


def random(rows, cols):
    return {"random": {"rows": rows, "cols": cols, "seed": 1}}


def test_matrices_beyond_the_limits_are_refused_before_they_are_stored(fleet):
    long_row = [[1] * (SIDE_MAX + 1)]
    refused(matrix(fleet, json.dumps({"A": long_row, "B": [[1]]})), 413, "too-large", "row 0 of A", str(SIDE_MAX))
    refused(matrix(fleet, json.dumps({"A": [[1]], "B": [[1]] * (SIDE_MAX + 1)})), 413, "too-large", "B", str(SIDE_MAX))
    refused(matrix(fleet, json.dumps({"A": random(1, 1), "B": random(1, SIDE_MAX + 1)})), 413, "too-large", "B",
            str(SIDE_MAX + 1))
    refused(matrix(fleet, json.dumps({"A": random(1000, 1), "B": random(1, 1000)})), 422, "result-too-large",
            "8000000", str(RESULT_MAX))
    blanks = b'{"A":' + b" " * UPLOAD_MAX + b'[[1]],"B":[[1]]}'
    refused(matrix(fleet, blanks), 413, "too-large", str(UPLOAD_MAX))
    refused(matrix(fleet, iter([blanks]), headers={"Content-Type": "application/json"}), 413, "too-large",
            str(UPLOAD_MAX))


def test_without_blobs_all_must_fit_into_the_message(bare_fleet):
    row = [1.0] * 128
    over = {"A": [row] * 128, "B": [row] * 128}
    over["B"] = over["B"] + [row]  # 128 numbers more than fit
    refused(matrix(bare_fleet, json.dumps(over)), 413, "too-large", str(LIMIT))
    wide = {"A": [[1.0]] * 200, "B": [[1.0] * 200]}  # small operands, a product of 320,000 bytes
    refused(matrix(bare_fleet, json.dumps(wide)), 422, "result-too-large", str(LIMIT), "320000")
    refused(matrix(bare_fleet, json.dumps({"A": {"blob": "x"}, "B": [[1]]})), 422, "no-blob", "MILLRACE_BLOB_DIR")
    url = "/enqueue?iterations=1"
    refused(bare_fleet.call("PUT", url, data=b"x" * (LIMIT + 1)), 413, "too-large", str(LIMIT), str(LIMIT + 1))
    refused(bare_fleet.call("PUT", url, data=iter([b"x" * 100000] * 3)), 413, "too-large", str(LIMIT))
    refused(bare_fleet.call("PUT", url, files={"a": ("f", b"x" * (LIMIT + 1))}), 413, "too-large")


def test_forms_and_objects_that_are_no_operands(fleet):
    def form(**parts):
        return fleet.call("POST", "/matrix_multiplication", files={name: ("f", part) for name, part in parts.items()})

    one = io.BytesIO()
    numpy.save(one, numpy.ones((1, 1)))
    one = one.getvalue()
    refused(form(A=one), 400, "bad-body", "no part B")
    refused(form(A=one, B=one, C=one), 400, "bad-body", "'C'")
    refused(form(A=one, B=b"1,2"), 400, "bad-body", "part B", "NumPy")
    refused(form(A=one, B=one[:-1]), 400, "bad-body", "part B is cut short")
    refused(form(A=one, B=one + b"x"), 400, "bad-body", "part B is too long")
    refused(form(A=one, B=b'{"random":{"rows":2,"cols":1,"seed":1}}'), 400, "bad-shape", "1 x 1", "2 x 1")
    refused(form(A=one, B=b'{"blob":"nowhere"}'), 422, "no-blob", "operand B", "nowhere")
    refused(matrix(fleet, '{"A":[[1]],"B":{"blob":"nowhere"}}'), 422, "no-blob", "operand B", "nowhere")
    refused(matrix(fleet, '{"A":[[1]],"B":{"random":{"rows":1,"cols":1}}}'), 400, "bad-json", "byte 15", "seed")


@pytest.mark.parametrize("query,words", [
    ("", ["iterations"]),
    ("?iterations=", ["iterations"]),
    ("?iterations=0", ["iterations", "0"]),
    ("?iterations=-1", ["iterations"]),
    ("?iterations=+1", ["iterations"]),
    ("?iterations=1e3", ["iterations"]),
    ("?iterations=1.0", ["iterations"]),
    ("?iterations=0x10", ["iterations"]),
    ("?iterations=%201", ["iterations"]),
    ("?iterations=1000000000001", ["iterations"]),
    ("?iterations=99999999999999999999999999", ["iterations"]),
    ("?iterations=1&iterations=2", ["iterations"]),
    ("?iterations=1&colour=red", ["colour"]),
    ("?iterations=1&timeout=0", ["timeout"]),
    ("?iterations=1&timeout=100000", ["timeout"]),
])
def test_parameters_out_of_bounds(fleet, query, words):
    refused(fleet.call("PUT", "/enqueue" + query, data=b"x"), 400, "bad-parameter", *words)


def test_bodies_that_are_no_input(fleet):
    refused(fleet.call("PUT", "/enqueue?iterations=1"), 400, "bad-body")
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"x" * (HASH_MAX + 1)), 413, "too-large", str(HASH_MAX),
            str(HASH_MAX + 1))
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=iter([b"x" * HASH_MAX, b"x"])), 413, "too-large",
            str(HASH_MAX))
    refused(fleet.call("PUT", "/enqueue?iterations=1", files={"a": ("f", b"x"), "b": ("g", b"y")}), 400, "bad-body",
            "one")
    refused(fleet.call("PUT", "/enqueue?iterations=1", files={"a": (None, b"x")}), 400, "bad-body", "a")
    refused(fleet.call("PUT", "/enqueue?iterations=1", files={"a": ("f", b"x" * (HASH_MAX + 1))}), 413, "too-large")
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"--x\r\nnonsense",
                       headers={"Content-Type": "multipart/form-data; boundary=x"}), 400, "bad-body")
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"--x\r\nnonsense",
                       headers={"Content-Type": "multipart/form-data"}), 400, "bad-body", "boundary")
    refused(fleet.call("POST", "/jobs/spin?seconds=1", data=b"x"), 400, "bad-body")


def test_content_types_that_do_not_fit(fleet):
    body = json.dumps({"A": [[1]], "B": [[1]]})
    for kind in ("text/plain", "application/xml", "image/png", "application/jsonp"):
        refused(matrix(fleet, body, headers={"Content-Type": kind}), 415, "bad-media-type", kind, "application/json")


def test_names_that_are_none(fleet):
    refused(fleet.call("POST", "/jobs/fortune"), 404, "not-found", "fortune")
    refused(fleet.call("GET", "/nowhere"), 404, "not-found")
    for path in ("/jobs/xyz", "/jobs/xyz/result", "/jobs/0193489c-0000-7000-8000-000000000000",
                 "/jobs/0193489c-0000-7000-8000-000000000000/result", "/jobs/..%2f..%2fetc"):
        refused(fleet.call("GET", path), 404, "not-found")
    for method in ("DELETE",):
        refused(fleet.call(method, "/jobs/0193489c-0000-7000-8000-000000000000"), 404, "not-found")
    refused(fleet.call("POST", "/jobs/0193489c-0000-7000-8000-000000000000/retry"), 404, "not-found")


@pytest.mark.parametrize("method,path,allow", [
    ("GET", "/matrix_multiplication", {"POST"}),
    ("POST", "/enqueue?iterations=1", {"PUT"}),
    ("GET", "/pullCompleted?top=1", {"POST"}),
    ("PUT", "/jobs/hash", {"POST", "GET", "HEAD", "DELETE"}),
    ("DELETE", "/stats", {"GET", "HEAD"}),
    ("PATCH", "/jobs/x/retry", {"POST"}),
])
def test_wrong_methods_name_the_right_ones(fleet, method, path, allow):
    answer = fleet.call(method, path)
    refused(answer, 405, "bad-method")
    assert set(answer.headers["Allow"].split(", ")) == allow


@pytest.mark.parametrize("query", ["", "?top=", "?top=0", "?top=-1", "?top=x", "?top=1.5", "?top=%2B1"])
def test_pull_wants_a_top(fleet, query):
    refused(fleet.call("POST", "/pullCompleted" + query), 400, "bad-parameter", "top")


@pytest.mark.parametrize("wait", ["x", "-1", "1e3", "", "nan"])
def test_wait_wants_seconds(fleet, wait):
    refused(fleet.call("GET", f"/jobs/0193489c-0000-7000-8000-000000000000?wait={wait}"), 400, "bad-parameter", "wait")


def test_headers_out_of_bounds(fleet):
    refused(fleet.call("PUT", "/enqueue?iterations=1", data=b"x", headers={"Idempotency-Key": "k" * 256}), 400,
            "bad-request", "Idempotency-Key")


def raw(fleet, bytes_to_send, close=True):
    port = int(fleet.gateways[0].url.rsplit(":", 1)[1])
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(bytes_to_send)
    if close:
        connection.close()
    return connection


def test_clients_that_vanish_or_babble(fleet):
    raw(fleet, b"POST /matrix_multiplication HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{\"A\":[[1,2")
    raw(fleet, b"PUT /enqueue?iterations=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
    raw(fleet, b"PUT /enqueue?iterations=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    raw(fleet, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)))
    raw(fleet, b"GET / HTTP/9.9\r\n\r\n")
    raw(fleet, b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = raw(fleet, b"PUT /enqueue?iterations=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
                 close=False)
    answer.recv(100)
    answer.close()
    eventually(lambda: fleet.call("GET", "/healthz").status_code == 200)


def test_a_slow_client_is_cut_off(servers, make_fleet):
    fleet = make_fleet(servers, MILLRACE_IDLE_SECONDS=1)
    fleet.start_gateway()
    connection = raw(fleet, b"PUT /enqueue?iterations=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab", close=False)
    connection.settimeout(20)
    assert b"202" not in connection.recv(1000)  # the end of the connection, with or without a word
    connection.close()


def test_a_refusal_reaches_clients_that_send_all_before_they_look(fleet):
    """http.client and urllib do; a connection closed too early would cost them the answer."""
    import http.client

    connection = http.client.HTTPConnection(fleet.gateways[0].url[7:], timeout=20)
    for _ in range(2):  # and the connection goes on
        connection.request("PUT", "/enqueue?iterations=1", body=b"x" * (HASH_MAX + 1))
        answer = connection.getresponse()
        assert answer.status == 413 and str(HASH_MAX).encode() in answer.read()
    connection.close()


def test_a_form_may_be_cut_anywhere(fleet):
    body = (b"--line\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n\r\n--x\r\n--lin\r\n"
            b"\r\n--line--\r\n")
    head = (b"PUT /enqueue?iterations=1&deadline=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Type: multipart/form-data; boundary=line\r\nContent-Length: %d\r\n\r\n" % len(body))
    for cut in range(0, len(body), 3):
        connection = raw(fleet, head + body[:cut], close=False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        eventually(lambda: fleet.call("GET", "/healthz").status_code == 200)  # the first piece was read by then
        connection.sendall(body[cut:])
        answer = connection.recv(1000)
        connection.close()
        assert answer.startswith(b"HTTP/1.1 202"), (cut, answer)
    fleet.servers.store().flushall()  # they were accepted, as they should be


def form_of(*parts, boundary=b"line"):
    """parts: header lines behind the name, and bytes."""
    return b"".join(b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary, head, content)
                    for head, content in parts) + b"--%s--\r\n" % boundary


ONE = b'{"random":{"rows":1,"cols":1,"seed":1}}'


@pytest.mark.parametrize("parameters", [
    "; boundary=line", ";boundary=line", "; Boundary=line", '; BOUNDARY="line"', "; boundary=line; charset=utf-8",
    '; charset="a;boundary=b"; boundary="line" ;x=y', "; boundary=line;"])
def test_a_boundary_is_read_wherever_it_stands(fleet, parameters):
    body = form_of((b'name="A"', ONE), (b"name=B; filename=x", ONE))
    answer = fleet.call("POST", "/matrix_multiplication", data=body,
                        headers={"Content-Type": "Multipart/Form-Data" + parameters})
    assert answer.status_code == 202, answer.text
    fleet.servers.store().flushall()


@pytest.mark.parametrize("parameters, word", [
    ("", "no boundary"), ("; boundary=", "1 to 70"), ("; boundary=" + "x" * 71, "1 to 70"), ("; xboundary=line", "no b"),
    ('; boundary="line', "malformed"), ("; boundary", "malformed"), ("; boundary=line x", "malformed"),
    ("; boundary=line; Boundary=line", "more than one"), ("; boundary=other", "cut short")])
def test_boundaries_that_are_none(fleet, parameters, word):
    refused(fleet.call("POST", "/matrix_multiplication", data=form_of((b'name="A"', ONE), (b'name="B"', ONE)),
                       headers={"Content-Type": "multipart/form-data" + parameters}), 400, "bad-body", word)


@pytest.mark.parametrize("parts, word", [
    ([(b'name="C"', b"")], "'C'"), ([(b'name="A"', b"")], "A twice"), ([(b'name="B"; filename="x"', b"")], "B twice"),
    ([(b'name=""; filename=""', b"")], "''"), ([(b'filename="x"', b"")], "no name"), ([(b"name", b"")], "malformed"),
    ([(b'name="A', b"")], "malformed"), ([(b'name="C"\r\nX: ' + b"y" * 9000, b"")], "8192")])
def test_no_part_of_a_form_passes_unseen(fleet, parts, word):
    both = [(b'name="A"', ONE), (b'name="B"', ONE)]
    content = {"Content-Type": "multipart/form-data; boundary=line"}
    refused(fleet.call("POST", "/matrix_multiplication", data=form_of(*both, *parts), headers=content), 400, "bad-body",
            word)


def test_empty_parts_are_told_of(fleet):
    def call(method, path, *parts):
        return fleet.call(method, path, data=form_of(*parts),
                          headers={"Content-Type": "multipart/form-data; boundary=line"})

    refused(call("POST", "/matrix_multiplication", (b"name=A", b""), (b"name=B", ONE)), 400, "bad-body", "A is empty")
    refused(call("POST", "/matrix_multiplication", (b"name=A", ONE), (b"name=B", b"")), 400, "bad-body", "B is empty")
    refused(call("POST", "/matrix_multiplication", (b"name=A", b""), (b"name=A", ONE)), 400, "bad-body", "A is empty")
    hash_it = "/enqueue?iterations=1"
    refused(call("PUT", hash_it, (b"name=f; filename=x", b"x"), (b"name=g; filename=y", b"")), 400, "bad-body", "one file")
    refused(call("PUT", hash_it, (b"name=f; filename=x", b"x"), (b"name=g", b"")), 400, "bad-body", "'g' is no file")
    refused(call("PUT", hash_it, (b"name=f; filename=x", b"")), 400, "bad-body", "empty")
    refused(call("PUT", hash_it), 400, "bad-body", "no file")
    refused(fleet.call("PUT", hash_it, data=b"--line x\r\n" + form_of((b"name=f; filename=x", b"x")),
                       headers={"Content-Type": "multipart/form-data; boundary=line"}), 400, "bad-body", "its line")


def test_an_escaped_nul_cuts_nothing_short(fleet):
    refused(fleet.call("PUT", "/enqueue?iterations=3%00zz", data=b"x"), 400, "bad-parameter", "iterations")
    refused(fleet.call("GET", "/healthz%00zz"), 404, "not-found")


def test_other_transfer_encodings_are_refused(fleet):
    connection = raw(fleet, b"PUT /enqueue?iterations=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nx", close=False)
    assert b" 400 " in connection.recv(1000)
    connection.close()


def all_of(connection):
    got = b""
    while piece := connection.recv(65536):
        got += piece
    connection.close()
    return got


@pytest.mark.parametrize("framing", [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\ncontent-length: 5",
    b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5\r\nContent-Length: 6",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", b"Content-Length: 5\r\nTransfer-Encoding : chunked"])
@pytest.mark.parametrize("method", [b"PUT /enqueue?iterations=1", b"GET /healthz", b"HEAD /healthz", b"DELETE /stats"])
def test_what_can_be_read_in_two_ways_is_refused_with_all_behind_it(fleet, method, framing):
    behind = b"0\r\n\r\nPUT /enqueue?iterations=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
    head, _, body = all_of(raw(fleet, method + b" HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n" + behind,
                               close=False)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"application/problem+json" in head and b"Connection: close" in head
    if method.startswith(b"HEAD"):
        assert not body
    else:
        assert json.loads(body)["code"] == "bad-request"


def test_clients_cannot_take_the_descriptors_that_the_servers_need(private_servers, make_fleet):
    fleet = make_fleet(private_servers, MILLRACE_IDLE_SECONDS=3600)
    gateway = fleet.start_gateway(wait=False)
    gateway.stop()
    gateway.program.argv[:0] = ["/usr/bin/prlimit", "--nofile=200:200"]
    gateway.start()
    gateway.wait_ready()
    assert gateway.events("fewer-connections")
    port = int(gateway.url.rsplit(":", 1)[1])
    idle = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(300)]
    private_servers.redis.restart()
    eventually(lambda: len(gateway.events("store-up")) >= 2, deadline=20)  # while the idle ones hold theirs
    for one in idle:
        one.close()
    eventually(lambda: fleet.call("GET", "/readyz").status_code == 200, deadline=20)


@pytest.mark.skipif(not LONG, reason="takes half a minute; runs with --all")
def test_a_client_that_dribbles_is_cut_off(servers, make_fleet):
    import time

    fleet = make_fleet(servers, MILLRACE_IDLE_SECONDS=1)
    fleet.start_gateway()
    connection = raw(fleet, b"GET /healthz HTTP/1.1\r\nX: ", close=False)
    start = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - start < 60:
            connection.sendall(b"x")
            time.sleep(0.5)  # the client's own pace
    assert time.monotonic() - start < 60
