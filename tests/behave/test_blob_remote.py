# SPDX-License-Identifier: Apache-2.0
"""common/blob at a gateway's /blobs: what a worker without a shared directory has.

Most of it runs against a small server of its own, for only that can be made to
misbehave: cut a body short, send another one, stand still, refuse. The way
through a real gateway comes last.
"""

import ctypes
import hashlib
import http.server
import json
import os
import pathlib
import queue
import subprocess
import threading
import time
import urllib.parse
import uuid

import pytest

from harness import BUILD, eventually

KEY = "a-key"


def name(*numbers):
    return "-".join([str(uuid.uuid4()), *map(str, numbers)])


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


XXH3 = ctypes.CDLL("libxxhash.so.0").XXH3_128bits  # the library that the programs use
XXH3.argtypes, XXH3.restype = [ctypes.c_char_p, ctypes.c_size_t], Hash128


def sum_of(data, head=0):
    found = XXH3(data[head:] + data[:head], len(data))
    return f"{found.high:016x}{found.low:016x}"


class Blobs:
    """/blobs as docs/protocol.md has them, in memory, with a lever for every bad day."""

    def __init__(self):
        self.kept = {}  # name: (bytes, head)
        self.requests = []
        self.gate = threading.Event()  # answers to GET wait for it
        self.gate.set()
        self.started = threading.Event()
        self.refuse = None  # (status, detail) for all but GET of a list
        self.spoil = None  # what to do to the bytes of a GET
        self.cut = None  # close after so many bytes
        self.lose_answer = False  # of a PUT: kept, but the connection goes
        self.is_gateway = True  # else its 404 is that of anybody
        self.key = KEY
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass  # the other side went

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def problem(self, status, detail):
                self.close_connection = True
                code = {"code": "not-found"} if outer.is_gateway else {}
                self.answer(status, json.dumps({**code, "detail": detail}).encode(),
                            Content_Type="application/problem+json")

            def is_refused(self):
                outer.requests.append((self.command, self.path))
                if outer.key and self.headers.get("Authorization") != f"Bearer {outer.key}":
                    self.problem(401, "this gateway wants a bearer key")
                elif outer.refuse:
                    self.problem(*outer.refuse)
                else:
                    return False
                return True

            @property
            def blob(self):
                return self.path.removeprefix("/blobs/")

            def handle_expect_100(self):
                """Refuses before the body comes, as a gateway does."""
                return not (outer.refuse and self.is_refused()) and super().handle_expect_100()

            def do_PUT(self):
                if self.is_refused():
                    return
                if self.blob in outer.kept:
                    return self.problem(409, "there is a blob of this name already")
                data = self.rfile.read(int(self.headers["Content-Length"]))
                if len(data) < int(self.headers["Content-Length"]):
                    return
                outer.kept[self.blob] = (data, 0)
                if outer.lose_answer:
                    self.close_connection = True
                    return
                self.answer(201, ETag=f'"{sum_of(data)}"')

            def do_GET(self):
                if self.path.startswith("/blobs?"):
                    if self.is_refused():
                        return
                    prefix = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)["prefix"][0]
                    rows = [{"id": key, "bytes": len(data)} for key, (data, _) in outer.kept.items()
                            if key.startswith(prefix)]
                    return self.answer(200, json.dumps({"blobs": rows}).encode())
                if self.is_refused():
                    return
                if self.blob not in outer.kept:
                    return self.problem(404, "no such blob")
                data, head = outer.kept[self.blob]
                headers = {"ETag": f'"{sum_of(data, head)}"'}
                if head:
                    headers["Millrace_Blob_Head"] = str(head)
                if outer.spoil:
                    data = outer.spoil(data)
                if outer.cut is not None or not outer.gate.is_set():
                    self.send_response(200)
                    for key, value in headers.items():
                        self.send_header(key.replace("_", "-"), value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data[:outer.cut or 1])
                    self.wfile.flush()
                    self.close_connection = True
                    outer.started.set()
                    outer.gate.wait(60)
                    if outer.cut is None:
                        self.wfile.write(data[1:])
                    return
                self.answer(200, data, **headers)

            def do_HEAD(self):
                self.do_GET()

            def do_DELETE(self):
                if not self.is_refused():
                    self.answer(204 if outer.kept.pop(self.blob, None) else 404)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def asked(self, method, blob):
        return self.requests.count((method, "/blobs/" + blob))

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


class Driver:
    def __init__(self, cache, url, key=KEY, quota=0, patience_ms=0):
        self.cache = pathlib.Path(cache)
        self._process = subprocess.Popen(
            [os.path.join(BUILD, "blob_driver"), str(cache), url, key, str(quota), str(patience_ms)],
            text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "http_proxy": "http://127.0.0.1:1"})  # a gateway is not asked for through a proxy
        self._lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def say(self, *words):
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def hear(self, deadline=20.0):
        return self._lines.get(timeout=deadline)

    def ask(self, *words):
        self.say(*words)
        answer = self.hear()
        assert answer["event"] == words[0]
        print(answer)  # shown with a failure
        return answer

    def files(self):
        """What lies in the cache, without the sums."""
        return sorted(path.name for path in self.cache.glob("*/*") if path.suffix != ".sum")

    def says_nothing(self):
        return self._lines.empty()

    def close(self):
        self._process.stdin.close()
        assert self._process.wait(20) == 0
        self._process.stdout.close()


@pytest.fixture
def blobs():
    server = Blobs()
    yield server
    server.close()


@pytest.fixture
def driver(blobs, tmp_path):
    started = Driver(tmp_path / "cache", blobs.url)
    yield started
    started.close()


@pytest.fixture
def file(tmp_path):
    def make(data):
        path = tmp_path / f"data-{time.monotonic_ns()}"
        path.write_bytes(data)
        return path
    return make


DATA = os.urandom(3_000_017)


def test_fetched_blob_is_what_the_gateway_has_and_stays_in_the_cache(blobs, driver, tmp_path):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    answer = driver.ask("fetch", blob, tmp_path / "out")
    assert (answer["err"], answer["size"], answer["sum"]) == ("ok", len(DATA), sum_of(DATA))
    assert (tmp_path / "out").read_bytes() == DATA
    assert driver.ask("fetch", blob, tmp_path / "out")["err"] == "ok"
    assert blobs.asked("GET", blob) == 1
    assert driver.files() == [blob]


def test_head_that_was_filled_in_at_the_end_is_summed_last(blobs, driver, tmp_path):
    blob = name()
    blobs.kept[blob] = (DATA, 128)
    answer = driver.ask("fetch", blob, tmp_path / "out")
    assert (answer["err"], answer["head"], answer["sum"]) == ("ok", 128, sum_of(DATA, 128))
    assert (tmp_path / "out").read_bytes() == DATA


def test_empty_blob_comes_and_goes(blobs, driver, tmp_path, file):
    blob, other = name(), name()
    blobs.kept[blob] = (b"", 0)
    assert driver.ask("fetch", blob, tmp_path / "out")["size"] == 0
    assert driver.ask("put", other, file(b""), 0)["err"] == "ok"
    assert blobs.kept[other] == (b"", 0)


def test_two_fetches_at_once_are_one_transfer(blobs, driver, tmp_path):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    blobs.gate.clear()
    for i in range(3):
        driver.say("fetch", blob, tmp_path / f"out{i}")
    assert blobs.started.wait(10)
    blobs.gate.set()
    assert [driver.hear()["err"] for _ in range(3)] == ["ok"] * 3
    assert all((tmp_path / f"out{i}").read_bytes() == DATA for i in range(3))
    assert blobs.asked("GET", blob) == 1


def test_blob_that_is_not_there(blobs, driver, tmp_path):
    assert driver.ask("fetch", name(), tmp_path / "out")["err"] == "no-blob"
    assert driver.ask("fetch", "../etc", tmp_path / "out")["err"] == "no-blob"
    assert driver.files() == []


@pytest.mark.parametrize("spoil", [lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[:-1],
                                   lambda data: data + b"x"])
def test_other_bytes_than_the_etag_says_are_refused(blobs, driver, tmp_path, spoil):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    blobs.spoil = spoil
    answer = driver.ask("fetch", blob, tmp_path / "out")
    assert answer["err"] == "io" and "damaged" in answer["detail"]
    assert driver.files() == []
    blobs.spoil = None
    assert driver.ask("fetch", blob, tmp_path / "out")["err"] == "ok"


def test_transfer_that_is_cut_short_leaves_nothing(blobs, driver, tmp_path):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    blobs.cut = 100_000
    answer = driver.ask("fetch", blob, tmp_path / "out")
    assert answer["err"] == "io" and blob in answer["detail"]
    assert driver.files() == []


def test_gateway_that_is_not_there(tmp_path):
    driver = Driver(tmp_path / "cache", "http://127.0.0.1:1")
    answer = driver.ask("fetch", name(), tmp_path / "out")
    assert answer["err"] == "io" and "connect" in answer["detail"].lower()
    driver.close()


def test_wrong_key_is_told_as_such(blobs, tmp_path):
    driver = Driver(tmp_path / "cache", blobs.url, key="another")
    answer = driver.ask("fetch", name(), tmp_path / "out")
    assert answer["err"] == "io" and "401" in answer["detail"] and "bearer key" in answer["detail"]
    driver.close()


def test_no_key_sends_none(blobs, tmp_path):
    blobs.key = None
    driver = Driver(tmp_path / "cache", blobs.url + "/", key="")
    assert driver.ask("fetch", name(), tmp_path / "out")["err"] == "no-blob"
    driver.close()


# ---- a gateway that is away for a while -------------------------------------------------


@pytest.fixture
def patient(blobs, tmp_path):
    started = Driver(tmp_path / "cache", blobs.url, patience_ms=60_000)
    yield started
    started.close()


def away_by(blobs, how):
    """Makes it fail as a gateway does that is restarted, or changes its keys, or as who is at its address meanwhile."""
    if how == "cut":
        blobs.cut = 100_000
    elif how == "key":
        blobs.key = "the next key"
    elif how == "stranger":
        blobs.is_gateway, blobs.refuse = False, (404, "no such page")
    else:
        blobs.refuse = (503, "not now")

    def back():
        blobs.cut, blobs.key, blobs.refuse, blobs.is_gateway = None, KEY, None, True
    return back


@pytest.mark.parametrize("how", ["cut", "key", "stranger", "busy"])
def test_a_fetch_waits_for_a_gateway_that_is_away(blobs, patient, tmp_path, how):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    back = away_by(blobs, how)
    patient.say("fetch", blob, tmp_path / "out")
    eventually(lambda: blobs.asked("GET", blob) >= 2, what="a second try")
    patient.say("fetch", blob, tmp_path / "out2")  # joins
    assert patient.says_nothing()
    back()
    assert [patient.hear()["err"] for _ in range(2)] == ["ok", "ok"]
    assert (tmp_path / "out").read_bytes() == (tmp_path / "out2").read_bytes() == DATA
    assert patient.files() == [blob]


@pytest.mark.parametrize("head", [0, 128, None], ids=["appended", "with a head", "through the descriptor"])
def test_a_seal_waits_for_a_gateway_that_is_away(blobs, patient, file, head):
    blob = name(4)
    back = away_by(blobs, "busy")
    patient.say(*(("given", blob, file(DATA), sum_of(DATA)) if head is None else ("put", blob, file(DATA), head)))
    eventually(lambda: blobs.asked("PUT", blob) >= 2, what="a second try")
    back()
    answer = patient.hear()
    assert (answer["err"], answer["size"], answer["sum"]) == ("ok", len(DATA), sum_of(DATA))
    assert blobs.kept == {blob: (DATA, 0)} and patient.files() == []


def test_a_seal_whose_answer_is_lost_again_and_again_is_one_blob(blobs, patient, file):
    blob = name(5)
    blobs.lose_answer = True
    assert patient.ask("put", blob, file(DATA), 0)["err"] == "ok"
    assert blobs.kept == {blob: (DATA, 0)} and blobs.asked("PUT", blob) == 2


def test_patience_ends_and_the_reason_is_told(blobs, tmp_path):
    driver = Driver(tmp_path / "cache", blobs.url, patience_ms=1500)
    away_by(blobs, "busy")
    answer = driver.ask("fetch", name(), tmp_path / "out")
    assert answer["err"] == "io" and "503" in answer["detail"] and 1_500_000 < answer["us"] < 8_000_000
    driver.close()


@pytest.mark.parametrize("status", [404, 409, 413])
def test_what_no_time_will_mend_is_not_waited_for(blobs, patient, tmp_path, status):
    blobs.refuse = (status, "for good")
    answer = patient.ask("fetch", name(), tmp_path / "out")
    assert answer["err"] == ("no-blob" if status == 404 else "io") and len(blobs.requests) == 1


def test_a_closing_store_ends_what_waits_for_the_gateway(blobs, patient, file, tmp_path):
    away_by(blobs, "busy")
    patient.say("fetch", name(), tmp_path / "out")
    patient.say("put", name(6), file(DATA), 0)
    eventually(lambda: len(blobs.requests) >= 2)
    patient.say("close")
    answers = [patient.hear() for _ in range(3)]
    assert sorted((a["event"], a.get("err")) for a in answers[:2]) == [("fetch", "io"), ("put", "io")]
    assert answers[2]["event"] == "closed" and answers[2]["us"] < 3_000_000
    assert patient.files() == []


# ---- a cache that is full ----------------------------------------------------------------


def test_a_full_cache_gives_up_what_was_lent_out_longest_ago(blobs, small_disk, file, tmp_path):
    """Of 4 MB: one copy of DATA fits, beside little else."""
    old, small, new = name(), name(), name()
    blobs.kept.update({old: (DATA, 0), small: (b"small", 0), new: (DATA, 0)})
    driver = Driver(os.path.join(small_disk, "cache"), blobs.url)
    driver.ask("fetch", old, tmp_path / "out")
    driver.ask("fetch", small, tmp_path / "out")
    copy = next(driver.cache.glob(f"*/{old}"))
    os.utime(copy, times=(time.time() - 600,) * 2)
    assert driver.ask("fetch", new, tmp_path / "out")["err"] == "ok"
    assert driver.files() == sorted([small, new]) and (tmp_path / "out").read_bytes() == DATA
    assert driver.ask("put", name(1), file(DATA), 0)["err"] == "ok"  # a result needs the room now
    assert driver.ask("fetch", new, tmp_path / "out")["err"] == "ok"
    driver.close()


def test_a_cache_leaves_room_on_its_disk(blobs, small_disk, tmp_path):
    blob, more = name(), name()
    blobs.kept.update({blob: (DATA, 0), more: (DATA[:900_000], 0)})
    driver = Driver(os.path.join(small_disk, "cache"), blobs.url)
    driver.ask("fetch", blob, tmp_path / "out")
    driver.ask("fetch", more, tmp_path / "out")
    disk = os.statvfs(small_disk)
    assert disk.f_bavail < disk.f_blocks / 10
    os.utime(next(driver.cache.glob(f"*/{blob}")), times=(time.time() - 600,) * 2)
    driver.ask("sweep", 3_600_000)
    assert driver.files() == [more] and driver.ask("usage")["count"] == 1
    driver.close()


def test_a_copy_that_is_damaged_is_fetched_anew(blobs, driver, tmp_path):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    driver.ask("fetch", blob, tmp_path / "out")
    os.truncate(next(driver.cache.glob(f"*/{blob}")), 7)
    assert driver.ask("fetch", blob, tmp_path / "out")["err"] == "ok"
    assert (tmp_path / "out").read_bytes() == DATA and blobs.asked("GET", blob) == 2


def test_blob_beyond_the_room_of_the_cache_is_refused(blobs, tmp_path):
    blob, small = name(), name()
    blobs.kept[blob] = (DATA, 0)
    blobs.kept[small] = (b"small", 0)
    driver = Driver(tmp_path / "cache", blobs.url, quota=1_000_000)
    answer = driver.ask("fetch", blob, tmp_path / "out")
    assert answer["err"] == "disk-full" and str(len(DATA)) in answer["detail"] and "1000000" in answer["detail"]
    assert driver.ask("fetch", small, tmp_path / "out")["err"] == "ok"
    assert driver.ask("usage") == {"event": "usage", "bytes": 5, "count": 1}
    driver.close()


@pytest.mark.parametrize("head", [0, 128])
def test_sealed_blob_is_at_the_gateway_and_not_in_the_cache(blobs, driver, file, tmp_path, head):
    blob = name(7)
    answer = driver.ask("put", blob, file(DATA), head)
    assert (answer["err"], answer["size"], answer["head"], answer["sum"]) == ("ok", len(DATA), 0, sum_of(DATA))
    assert blobs.kept[blob] == (DATA, 0)
    assert driver.files() == []


def test_written_through_the_descriptor_must_have_the_sum_of_its_writer(blobs, driver, file):
    good, bad = name(1), name(2)
    assert driver.ask("given", good, file(DATA), sum_of(DATA))["err"] == "ok"
    answer = driver.ask("given", bad, file(DATA), sum_of(b"other"))
    assert answer["err"] == "bad-digest" and sum_of(DATA) in answer["detail"]
    assert list(blobs.kept) == [good]


def test_sha256_is_checked_before_anything_is_sent(blobs, driver, file):
    blob = name()
    assert driver.ask("put", blob, file(DATA), 0, hashlib.sha256(b"other").hexdigest())["err"] == "bad-digest"
    assert blobs.requests == []
    assert driver.ask("put", blob, file(DATA), 0, hashlib.sha256(DATA).hexdigest())["err"] == "ok"


def test_seal_whose_answer_was_lost_can_be_repeated(blobs, driver, file):
    blob = name(3)
    blobs.lose_answer = True
    assert driver.ask("put", blob, file(DATA), 128)["err"] == "io"
    blobs.lose_answer = False
    assert driver.ask("put", blob, file(DATA), 128)["err"] == "ok"
    answer = driver.ask("put", blob, file(DATA + b"more"), 0)
    assert answer["err"] == "wrong-state" and blob in answer["detail"]
    assert blobs.kept[blob] == (DATA, 0)


@pytest.mark.parametrize("status, err", [(507, "disk-full"), (503, "io"), (500, "io")])
@pytest.mark.parametrize("size", [1, 900_000, 3_000_000])  # libcurl asks beforehand from 1 MiB on
def test_refused_upload_says_why(blobs, driver, file, size, status, err):
    blobs.refuse = (status, "the reason of the gateway")
    answer = driver.ask("put", name(), file(DATA[:size]), 0)
    assert answer["err"] == err
    assert str(status) in answer["detail"] and "the reason of the gateway" in answer["detail"]
    assert driver.files() == []


def test_list_and_delete_are_the_gateways(blobs, driver, file):
    parent = str(uuid.uuid4())
    for member in range(3):
        driver.ask("put", f"{parent}-{member}-9", file(b"x"), 0)
    driver.ask("put", name(), file(b"x"), 0)
    assert sorted(driver.ask("list", parent)["names"]) == [f"{parent}-{i}-9" for i in range(3)]
    assert driver.ask("delete", f"{parent}-1-9")["err"] == "ok"
    eventually(lambda: f"{parent}-1-9" not in blobs.kept, what="the blob is gone")
    assert len(driver.ask("list", parent)["names"]) == 2
    blobs.refuse = (503, "not now")
    assert driver.ask("list", parent)["err"] == "io"


def test_sweep_empties_the_cache_and_leaves_the_gateway_alone(blobs, driver, tmp_path):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    driver.ask("fetch", blob, tmp_path / "out")
    assert driver.ask("sweep", 60_000)["names"] == []
    assert driver.files() == [blob]
    assert driver.ask("sweep", -1000)["names"] == []
    assert driver.files() == []
    assert driver.ask("usage")["bytes"] == 0
    assert blob in blobs.kept


def test_copy_of_another_run_of_the_kernel_is_fetched_anew(blobs, driver, tmp_path):
    """It was not synced: the power may have gone while it was on its way to the disk."""
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    driver.ask("fetch", blob, tmp_path / "out")
    beside = next(driver.cache.glob("*/*.sum"))
    said = json.loads(beside.read_text())
    beside.write_text(json.dumps({**said, "boot": str(uuid.uuid4())}))
    assert driver.ask("fetch", blob, tmp_path / "out")["err"] == "ok"
    assert blobs.asked("GET", blob) == 2
    assert json.loads(beside.read_text()) == said


def test_close_ends_a_transfer_that_stands_still(blobs, driver, tmp_path):
    blob = name()
    blobs.kept[blob] = (DATA, 0)
    blobs.gate.clear()
    for i in range(2):
        driver.say("fetch", blob, tmp_path / "out")
    assert blobs.started.wait(10)
    driver.say("close")
    answers = [driver.hear() for _ in range(3)]
    assert [(a["event"], a.get("err")) for a in answers] == [("fetch", "io"), ("fetch", "io"), ("closed", None)]
    assert answers[2]["us"] < 5_000_000
    assert driver.files() == []


# ---- a real gateway -----------------------------------------------------------------


@pytest.fixture
def gateway(fleet, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"worker:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    started = fleet.start_gateway(MILLRACE_API_KEY_FILE=keys, MILLRACE_BLOB_DIR=tmp_path / "shared",
                                  MILLRACE_BLOB_QUOTA=20_000_000)
    started.shared = tmp_path / "shared"
    return started


@pytest.fixture
def make_driver(tmp_path):
    drivers = []

    def make(url, cache=None, key=KEY):
        drivers.append(Driver(cache or tmp_path / f"cache-{len(drivers)}", url, key))
        return drivers[-1]

    yield make
    for started in drivers:
        started.close()


def test_real_gateway__what_one_host_sealed_another_fetches(gateway, make_driver, file, tmp_path):
    one, two, shared = make_driver(gateway.url), make_driver(gateway.url), make_driver("", gateway.shared)
    for size in (1, 300_000, len(DATA)):
        blob = name(size)
        assert one.ask("put", blob, file(DATA[:size]), 0)["err"] == "ok"
        for reader in (two, shared):
            answer = reader.ask("fetch", blob, tmp_path / "out")
            assert (answer["err"], answer["sum"]) == ("ok", sum_of(DATA[:size]))
            assert (tmp_path / "out").read_bytes() == DATA[:size]
    assert one.files() == []


def test_real_gateway__head_that_was_filled_in_at_the_end(gateway, make_driver, file, tmp_path):
    blob = name()
    assert make_driver("", gateway.shared).ask("put", blob, file(DATA), 128)["head"] == 128
    answer = make_driver(gateway.url).ask("fetch", blob, tmp_path / "out")
    assert (answer["err"], answer["head"], answer["sum"]) == ("ok", 128, sum_of(DATA, 128))


def test_real_gateway__seal_can_be_repeated_but_not_changed(gateway, make_driver, file):
    blob = name(1)
    one = make_driver(gateway.url)
    assert one.ask("put", blob, file(DATA), 128)["err"] == "ok"
    assert one.ask("put", blob, file(DATA), 128)["err"] == "ok"
    assert one.ask("put", blob, file(DATA + b"x"), 0)["err"] == "wrong-state"


def test_real_gateway__list_delete_and_what_is_not_there(gateway, make_driver, file, tmp_path):
    parent = str(uuid.uuid4())
    one = make_driver(gateway.url)
    for member in range(3):
        assert one.ask("put", f"{parent}-{member}-9", file(b"x"), 0)["err"] == "ok"
    assert sorted(one.ask("list", parent)["names"]) == [f"{parent}-{i}-9" for i in range(3)]
    assert one.ask("list", str(uuid.uuid4()))["names"] == []
    one.ask("delete", f"{parent}-1-9")
    eventually(lambda: len(one.ask("list", parent)["names"]) == 2, what="one blob fewer")
    assert one.ask("fetch", f"{parent}-1-9", tmp_path / "out")["err"] == "no-blob"


def test_real_gateway__a_long_list_is_whole(gateway, make_driver, file):
    parent, data = str(uuid.uuid4()), file(b"x")
    blobs = {f"{parent}-{i}-9" for i in range(400)}  # more than the gateway makes of it at one time
    shared = make_driver("", gateway.shared)
    for blob in blobs:
        shared.say("put", blob, data, 0)
    assert {shared.hear()["name"] for _ in blobs} == blobs
    assert set(make_driver(gateway.url).ask("list", parent)["names"]) == blobs


def test_real_gateway__refusals_reach_the_worker(gateway, make_driver, file, tmp_path):
    answer = make_driver(gateway.url, key="another").ask("put", name(1), file(DATA), 0)
    assert answer["err"] == "io" and "401" in answer["detail"]
    big = tmp_path / "big"
    with open(big, "wb") as out:
        out.truncate(21_000_000)
    answer = make_driver(gateway.url).ask("put", name(1), big, 0)
    assert answer["err"] == "disk-full" and "507" in answer["detail"]
