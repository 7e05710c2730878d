# SPDX-License-Identifier: Apache-2.0
"""Results in blobs, as clients read them: forms, windows, ranges, tiles, and clients that misbehave.

No worker: a test writes the blobs and the record of a completed job itself, as a worker would have left them."""

import io
import json
import os
import socket
import threading
import time
import uuid

import numpy
import pytest
import requests

from harness import BUILD, eventually, refused

FENCE = 7
NPY, JSON, OCTETS = "application/x-npy", "application/json", "application/octet-stream"
HEADER = 128
with open(os.path.join(BUILD, "millrace-api"), "rb") as _gateway:
    IS_SANITIZED = b"__asan_init" in _gateway.read()


def npy(array):
    literal = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    return b"\x93NUMPY\x01\x00v\x00" + literal.encode().ljust(HEADER - 11) + b"\n" + array.tobytes()


def read_npy(content):
    return numpy.load(io.BytesIO(content))


class Results:
    """Completed jobs that nobody ran."""

    def __init__(self, fleet):
        self.fleet = fleet
        self._store = fleet.servers.store()

    def path(self, name):
        return os.path.join(self.fleet.blob_dir, name[34:36], name)

    def seal(self, name, content, size=None):
        """size: with zeros behind the content, as a hole."""
        with open(self.path(name), "wb") as file:
            file.write(content)
            file.truncate(size or len(content))
        with open(self.path(name) + ".sum", "w", encoding="ascii") as file:
            json.dump({"size": size or len(content), "head": 0, "xxh3": "0" * 32}, file)

    def _record(self, job, size, **more):
        now = int(time.time() * 1000)
        self._store.hset(f"job:{job}", mapping={
            "state": "completed", "kind": "matrix", "created": now, "started": now, "finished": now, "max": 3,
            "fence": FENCE, "attempt": 1, "type": NPY, "bytes": size, **more})
        return job

    def inline(self, array):
        job = new_id()
        self._store.set(f"out:{job}", npy(array))
        return self._record(job, HEADER + array.nbytes)

    def single(self, array, **more):
        job = new_id()
        self.seal(f"{job}-{FENCE}", npy(array))
        return self._record(job, HEADER + array.nbytes, blob=f"{job}-{FENCE}", **more)

    def zeros(self, rows, cols):
        """A large product that takes no room on the disk."""
        job = new_id()
        size = HEADER + rows * cols * 8
        self.seal(f"{job}-{FENCE}", npy(numpy.zeros((1, 1)))[:HEADER].replace(b"(1, 1), }" + b" " * 16,
                  f"({rows}, {cols}), }}".encode().ljust(25)), size)
        return self._record(job, size, blob=f"{job}-{FENCE}")

    def group(self, array, tile_rows, tile_cols):
        job = new_id()
        tiles = [array[i:i + tile_rows, j:j + tile_cols]
                 for i in range(0, array.shape[0], tile_rows) for j in range(0, array.shape[1], tile_cols)]
        for number, tile in enumerate(tiles):
            self.seal(f"{job}-{number}-{100 + number}", npy(numpy.ascontiguousarray(tile)))
            self._store.hset(f"sealed:{job}", number, 100 + number)
        layout = {"rows": array.shape[0], "cols": array.shape[1], "tile_rows": tile_rows, "tile_cols": tile_cols,
                  "dtype": array.dtype.str[1:]}
        return self._record(job, HEADER + array.nbytes, ties=1, total=len(tiles), done=len(tiles),
                            layout=json.dumps(layout))

    def member(self, parent, number):
        return self._record(new_id(), 136, ties=1, parent=parent, member=number, blob=f"{parent}-{number}-1")

    def get(self, job, query="", accept=NPY, method="GET", **more):
        headers = {"Accept": accept, **more.pop("headers", {})}
        return self.fleet.call(method, f"/jobs/{job}/result{query}", headers=headers, **more)


def new_id():
    digits = f"{int(time.time() * 1000):012x}7{uuid.uuid4().hex[:3]}8{uuid.uuid4().hex[:15]}"
    return str(uuid.UUID(digits))


@pytest.fixture
def results(fleet):
    fleet.start_gateway()
    return Results(fleet)


def random(rows, cols, dtype="f8"):
    values = numpy.random.default_rng(rows * cols).standard_normal((rows, cols)) * 1000
    return values.astype(dtype)


# ---- forms and windows


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4"])
def test_every_form_of_a_blob_and_of_tiles_is_the_product(results, dtype):
    c = random(301, 207, dtype)
    for job in (results.inline(c[:50, :20]), results.single(c), results.group(c, 64, 33), results.group(c, 301, 50)):
        whole = c[:50, :20] if results.fleet.job(job)["result"]["size"] < 9000 else c
        got = read_npy(results.get(job).content)
        assert got.dtype == c.dtype and numpy.array_equal(got, whole)
        assert results.get(job, accept=OCTETS).content == whole.tobytes()
        assert numpy.array_equal(numpy.array(results.get(job, accept=JSON).json()["C"], dtype), whole)


@pytest.mark.parametrize("query, rows, cols", [
    ("?rows=3:9", slice(3, 9), slice(None)), ("?cols=5:", slice(None), slice(5, None)),
    ("?rows=:5&cols=:1", slice(5), slice(1)), ("?rows=30:300&cols=31:34", slice(30, 300), slice(31, 34)),
    ("?rows=299:&cols=200:207", slice(299, None), slice(200, 207)), ("?rows=:&cols=0:207", slice(None), slice(None))])
def test_windows(results, query, rows, cols):
    c = random(301, 207)
    for job in (results.inline(c), results.single(c), results.group(c, 64, 33)):
        answer = results.get(job, query)
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert numpy.array_equal(read_npy(answer.content), c[rows, cols])
        assert numpy.array_equal(results.get(job, query, accept=JSON).json()["C"], c[rows, cols])
        assert results.get(job, query, accept=OCTETS).content == c[rows, cols].tobytes()


def test_windows_that_are_none(results):
    c = random(30, 20)
    for job in (results.inline(c), results.single(c), results.group(c, 7, 7)):
        for query in ("?rows=5:5", "?rows=0:31", "?cols=20:", "?cols=4:3", "?rows=x", "?rows=-1:2", "?cols="):
            for accept in (NPY, JSON, OCTETS):
                refused(results.get(job, query, accept=accept), 400, "bad-parameter", "30 x 20")


def test_what_json_cannot_say(results):
    c = random(30, 20)
    c[17, 3] = numpy.nan
    for job in (results.inline(c), results.single(c), results.group(c, 7, 7)):
        refused(results.get(job, accept=JSON), 406, "not-acceptable", "row 17, column 3 ")
        assert results.get(job, "?rows=18:", accept=JSON).status_code == 200
        assert numpy.array_equal(read_npy(results.get(job).content), c, equal_nan=True)


def test_a_large_result_that_json_cannot_say_breaks_off(results):
    c = random(1200, 800)
    c[-1, -1] = numpy.inf
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        results.get(results.single(c), accept=JSON)
    eventually(lambda: results.fleet.gateways[0].events("result-broke-off"))
    assert "row 1199, column 799" in results.fleet.gateways[0].log()


# ---- ranges, conditions, HEAD


def test_ranges_of_whole_files_windows_and_tiles(results):
    c = random(101, 67)
    window = npy(c[3:90, 5:60])
    for job, query, whole in ((results.inline(c), "", npy(c)), (results.single(c), "", npy(c)),
                              (results.single(c), "?rows=3:90&cols=5:60", window),
                              (results.group(c, 10, 30), "", npy(c)),
                              (results.group(c, 40, 7), "?rows=3:90&cols=5:60", window)):
        def part(header, query=query, job=job):
            return results.get(job, query, headers={"Range": header})

        size = len(whole)
        for first, last in ((0, 0), (0, 127), (100, 200), (127, 128), (5000, 12345), (size - 1, size - 1), (0, size - 1)):
            answer = part(f"bytes={first}-{last}")
            assert answer.status_code == 206 and answer.content == whole[first:last + 1]
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert part("bytes=9000-").content == whole[9000:]
        assert part("bytes=-77").content == whole[-77:]
        assert part(f"bytes=1-{10 * size}").content == whole[1:]
        outside = part(f"bytes={size}-")
        refused(outside, 416, "bad-range")
        assert outside.headers["Content-Range"] == f"bytes */{size}"
        assert part("bytes=1-2,4-5").content == whole


def test_an_etag_for_each_form_guards_what_is_put_together(results):
    c = random(101, 67)
    for job in (results.inline(c), results.single(c), results.group(c, 10, 30)):
        tags = {form: results.get(job, accept=form).headers["ETag"] for form in (NPY, JSON, OCTETS)}
        assert len(set(tags.values())) == 3
        half = {"Range": "bytes=0-99"}
        assert results.get(job, headers={**half, "If-Range": tags[NPY]}).status_code == 206
        assert results.get(job, headers={**half, "If-Range": tags[JSON]}).status_code == 200
        for form, tag in tags.items():
            same = results.get(job, accept=form, headers={"If-None-Match": f'"x", W/{tag}'})
            assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)
            assert results.get(job, accept=form, headers={"If-None-Match": '"x"'}).status_code == 200
            assert results.get(job, accept=form, headers={"If-Match": tag}).status_code == 200
            refused(results.get(job, accept=form, headers={"If-Match": '"x"'}), 412, "precondition-failed")


def test_head_tells_type_and_size(results):
    c = random(301, 207)
    for job in (results.inline(c), results.single(c), results.group(c, 64, 33)):
        for query, form in (("", NPY), ("", OCTETS), ("?rows=:9", NPY), ("?rows=:9", OCTETS)):
            head = results.get(job, query, form, "HEAD", headers={"Range": "bytes=0-9"})
            assert (head.status_code, head.headers["Content-Type"], head.content) == (200, form, b"")
            assert int(head.headers["Content-Length"]) == len(results.get(job, query, form).content)
        head = results.get(job, "", JSON, "HEAD")
        assert (head.status_code, head.headers["Content-Type"], head.content) == (200, JSON, b"")
    assert results.get(results.zeros(4000, 4000), "", JSON, "HEAD").status_code == 200


def raw(results, *requests):
    """All that comes back for requests sent at once, the last of which closes the connection."""
    port = int(results.fleet.gateways[0].url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"".join(f"{request}\r\nHost: x\r\n\r\n".encode() for request in requests))
        got = b""
        while piece := connection.recv(65536):
            got += piece
    return got


def test_nothing_follows_the_head_of_an_answer_without_a_body(results):
    job = results.single(random(301, 207))
    tag = results.get(job, accept=JSON).headers["ETag"]
    last = "GET /healthz HTTP/1.1\r\nConnection: close"
    for path in (f"/jobs/{job}/result", f"/blobs?prefix={job}"):
        got = raw(results, f"HEAD {path} HTTP/1.1", last)
        assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"\r\n\r\n") and got.count(b"\r\n\r\n") == 1
        assert b"chunked" not in got and b"Content-Length" not in got and b"Connection: close" in got
    got = raw(results, f"GET /jobs/{job}/result HTTP/1.1\r\nIf-None-Match: {tag}", last)
    assert got.startswith(b"HTTP/1.1 304 ") and got.endswith(b"\r\n\r\n") and got.count(b"\r\n\r\n") == 1
    assert b"chunked" not in got and b"Content-Length" not in got and b"ETag: " + tag.encode() in got
    whole, rest = results.get(job), f"/jobs/{job}/result HTTP/1.1\r\nAccept: {NPY}"
    for request in (f"HEAD {rest}", f"GET {rest}\r\nIf-None-Match: {whole.headers['ETag']}"):
        first, second, body = raw(results, request, last).split(b"\r\n\r\n")
        assert f"Content-Length: {len(whole.content)}".encode() in first  # known, so told; and the connection goes on
        assert second.startswith(b"HTTP/1.1 200 ") and body


def test_parameters_that_the_call_does_not_have(results):
    for job in (results.inline(random(3, 2)), results.single(random(30, 20))):
        for query, word in (("?row=0:1", "row"), ("?rows=0:1&colour=red", "colour"), ("?rows=0:1&rows=0:1", "twice"),
                            ("?wait=1&wait=1", "twice"), ("?cols=0:1&rows=:&cols=", "twice"), ("?Rows=0:1", "Rows")):
            refused(results.get(job, query), 400, "bad-parameter", word)
        assert results.get(job, "?wait=0&rows=0:1&cols=0:1").status_code == 200


def test_caches_are_told_that_accept_chooses(results):
    for job in (results.inline(random(3, 2)), results.single(random(30, 20)), results.group(random(30, 20), 7, 7)):
        for accept in (NPY, JSON, OCTETS, "text/html"):
            answer = results.get(job, accept=accept)
            assert answer.headers["Vary"] == "Accept"
            if answer.ok:
                again = results.get(job, accept=accept, headers={"If-None-Match": answer.headers["ETag"]})
                assert (again.status_code, again.headers["Vary"]) == (304, "Accept")


def test_the_record_tells_of_tiles_parents_and_checks(results):
    checked = '{"method":"freivalds","probes":3,"bound":1e-9}'
    single = results.fleet.job(results.single(random(5, 5), verified=checked))
    assert single["verified"] == json.loads(checked)
    assert "tiles" not in single and "parent" not in single
    group = results.group(random(30, 20), 7, 7)
    assert results.fleet.job(group)["tiles"] == {"total": 15, "done": 15}
    member = results.fleet.job(results.member(group, 3))
    assert (member["parent"], member["member"]) == (group, 3)


# ---- what is no longer there


def test_a_result_whose_blob_is_gone(results):
    c = random(100, 60)
    single, group = results.single(c), results.group(c, 30, 20)
    os.unlink(results.path(f"{single}-{FENCE}"))
    os.unlink(results.path(f"{group}-4-104"))  # rows 30 to 59, columns 20 to 39
    for form in (NPY, JSON, OCTETS):
        refused(results.get(single, accept=form), 410, "result-gone")
        refused(results.get(group, accept=form), 410, "result-gone", "" if form == NPY else "piece 4 ")
        refused(results.get(group, "?rows=59:&cols=39:", accept=form), 410, "result-gone", "piece 4 ")
        assert results.get(group, "?rows=:30", accept=form).status_code == 200
        assert results.get(group, "?cols=40:", accept=form).status_code == 200


def test_a_blob_that_is_not_as_it_was_sealed_is_an_error_of_ours(results):
    c = random(100, 60)
    single, group = results.single(c), results.group(c, 30, 20)
    os.truncate(results.path(f"{single}-{FENCE}"), 1000)
    os.truncate(results.path(f"{group}-4-104"), 1000)
    refused(results.get(single), 500, "io", "1000 bytes")
    refused(results.get(group, accept=JSON), 500, "io", "1000 bytes")


def test_a_piece_that_goes_behind_the_first_bytes_breaks_the_answer_off(results):
    c = random(700, 900)  # more than is looked through for what JSON cannot say
    group = results.group(c, 10, 900)  # 70 pieces: more than are looked at before
    os.unlink(results.path(f"{group}-69-169"))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        results.get(group, accept=JSON)
    cut = results.get(group)  # this client does not compare the two by itself
    assert len(cut.content) < int(cut.headers["Content-Length"])
    assert results.get(group, "?rows=:690").status_code == 200


def test_without_a_directory_the_result_is_gone(make_fleet, servers):
    fleet = make_fleet(servers)
    fleet.start_gateway()
    job = Results(fleet).single(random(5, 5))
    fleet.start_gateway(MILLRACE_BLOB_DIR="")
    refused(fleet.call("GET", f"/jobs/{job}/result", fleet.gateways[1]), 410, "result-gone")


# ---- clients


def descriptors(gateway):
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


def connections(gateway):
    """The clients' connections at the gateway's own port, as the kernel counts them."""
    port = int(gateway.url.rsplit(":", 1)[1])
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [row for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"]


def begin(results, job, accept, query=""):
    """A client that has sent its request and reads nothing more than the first bytes."""
    port = int(results.fleet.gateways[0].url.rsplit(":", 1)[1])
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(f"GET /jobs/{job}/result{query} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
    assert client.recv(12) == b"HTTP/1.1 200"
    return client


def test_clients_that_go_away_leave_nothing_behind(results):
    large = results.zeros(3000, 2000)
    tiles = results.group(random(2000, 1000), 100, 100)
    gateway = results.fleet.gateways[0]
    results.get(large, "?rows=:1")
    before = descriptors(gateway)
    for _ in range(5):
        clients = [begin(results, job, form, query) for job in (large, tiles) for form in (NPY, JSON)
                   for query in ("", "?cols=1:")]
        assert descriptors(gateway) > before
        for client in clients:
            client.close()
    eventually(lambda: descriptors(gateway) <= before)
    assert results.get(tiles).status_code == 200


def test_slow_readers_delay_nobody(results):
    large = results.zeros(4000, 2000)
    clients = [begin(results, large, form, query) for form in (NPY, JSON) for query in ("", "?cols=1:")]
    slowest = 0.0
    for _ in range(50):
        start = time.monotonic()
        assert results.fleet.call("GET", "/healthz").status_code == 200
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 1, slowest
    for client in clients:  # they are served still
        for _ in range(100):
            assert client.recv(65536)
        client.close()


def test_who_reads_nothing_for_the_idle_time_is_cut_off(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_IDLE_SECONDS=1)
    gateway = fleet.start_gateway()
    results = Results(fleet)
    large = results.zeros(4000, 2000)
    results.get(large, "?rows=:1")
    eventually(lambda: len(connections(gateway)) <= 1)  # ours, kept or not
    clients = [begin(results, large, form, query) for form in (NPY, JSON) for query in ("", "?cols=1:")]
    eventually(lambda: len(connections(gateway)) <= 1, deadline=15)
    for client in clients:
        client.close()


def test_many_readers_of_many_tiles_share_few_descriptors(results):
    c = random(60, 1000)
    job = results.group(c, 20, 10)  # 100 tiles side by side: more than one reader may have open
    gateway = results.fleet.gateways[0]
    most, failures = 0, []

    def read():
        try:
            assert read_npy(results.get(job).content).tobytes() == c.tobytes()
            assert numpy.array_equal(results.get(job, accept=JSON).json()["C"], c)
        except Exception as error:  # told by the test's own thread
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(8)]
    before = descriptors(gateway)
    for reader in readers:
        reader.start()
    for reader in readers:
        while reader.is_alive():
            most = max(most, descriptors(gateway))
            reader.join(0.001)
    assert not failures, failures
    assert most <= before + 2 * len(readers) + 128 + 2  # and the checksum beside a blob that is being opened


def test_long_answers_are_bounded_by_the_descriptors(private_servers, make_fleet):
    fleet = make_fleet(private_servers)
    gateway = fleet.start_gateway(wait=False)
    gateway.stop()
    gateway.program.argv[:0] = ["/usr/bin/prlimit", "--nofile=300:300"]
    gateway.start()
    gateway.wait_ready()
    results = Results(fleet)
    large, small = results.zeros(2000, 2000), results.inline(random(5, 5))
    clients = []
    while len(clients) < 100:
        answer = results.get(large, stream=True)
        clients.append(answer)
        if answer.status_code != 200:
            break
    refused(clients[-1], 503, "busy", "too many")
    assert clients[-1].headers["Retry-After"] and len(clients) > 2
    assert results.get(small).status_code == 200  # what is at hand still is
    for client in clients:
        client.close()
    eventually(lambda: results.get(large, "?rows=:9").status_code == 200)


@pytest.mark.skipif(IS_SANITIZED, reason="sanitizers take memory of their own")
def test_memory_stays_flat(results):
    large = results.zeros(4000, 4000)

    def private_bytes():
        with open(f"/proc/{results.fleet.gateways[0].pid}/status", encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith(("VmRSS", "VmSwap"))) * 1024

    before = private_bytes()
    for query in ("", "?cols=1:"):
        for form in (NPY, JSON):
            with results.get(large, query, form, stream=True) as answer:
                size = sum(len(piece) for piece in answer.iter_content(1 << 20))
            assert size > 30_000_000
            assert private_bytes() - before < 4 << 20


def test_a_stopping_gateway_sends_what_it_has_begun(results):
    job = results.zeros(2000, 2000)
    gateway = results.fleet.gateways[0]
    with results.get(job, stream=True) as answer:
        gateway.sigterm()
        eventually(lambda: gateway.events("gateway-stops"))
        assert sum(len(piece) for piece in answer.iter_content(1 << 20)) == HEADER + 32_000_000
    assert gateway.wait() == 0
