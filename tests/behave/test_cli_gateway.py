# SPDX-License-Identifier: Apache-2.0
"""The client at a gateway that misbehaves, or that answers what a healthy fleet rarely does.

The gateway is a server of this file: each call takes the next answer of a list.
"""
import collections
import http.server
import json
import os
import socket
import struct
import subprocess
import threading
import time

import pytest
from cli import AWAY, JOB, LOCAL, PROGRAM, REFUSED, Client

PROBLEM = "application/problem+json"


Call = collections.namedtuple("Call", "command path headers client")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.server.calls.append(Call(self.command, self.path, self.headers, self.client_address))
        self.server.answers.pop(0)(self)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass

    def body(self):
        length = int(self.headers.get("Content-Length", 0))
        return self.rfile.read(length)

    def send(self, status, text, content_type="application/json", length=None, **headers):
        data = text if isinstance(text, bytes) else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def hang_up(self):
        """With a reset, as a process that dies with unread bytes does it."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # hang_up leaves closed files behind


@pytest.fixture
def gateway():
    server = Server(("127.0.0.1", 0), Handler)
    server.calls, server.answers = [], []
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def client(gateway):
    return Client(f"http://127.0.0.1:{gateway.server_address[1]}")


def says(status, doc, **headers):
    def answer(call):
        call.body()
        call.send(status, json.dumps(doc), PROBLEM if status >= 400 else "application/json", **headers)
    return answer


def problem(status, code, detail="a detail", **headers):
    return says(status, {"status": status, "code": code, "detail": detail}, **headers)


def breaks_off(call):
    call.body()
    call.hang_up()


# ---- repeating ------------------------------------------------------------------------


def test_a_busy_gateway_is_asked_again_when_it_said(gateway, client):
    gateway.answers = [problem(503, "busy", Retry_After="1"), says(200, {"jobs": {}, "queues": {}})]
    start = time.monotonic()
    client.run("stats")
    assert 1 <= time.monotonic() - start < 5 and len(gateway.calls) == 2


def test_a_gateway_that_stays_busy_is_exit_status_4_with_its_reason(gateway, client):
    gateway.answers = [problem(503, "store-down", "Redis does not answer") for _ in range(100)]
    busy = client.run("stats", "--patience", "1", status=AWAY)
    assert busy.stderr == "millrace: 503 store-down: Redis does not answer\n" and len(gateway.calls) > 1


def test_a_wait_longer_than_ones_patience_is_not_begun(gateway, client):
    gateway.answers = [problem(503, "busy", Retry_After="3600")]
    client.run("stats", status=AWAY, timeout=5)


def test_a_repeated_submit_is_one_job(gateway, client, tmp_path):
    (tmp_path / "in").write_bytes(b"x" * 100000)
    gateway.answers = [problem(503, "outcome-unknown", Retry_After="0"), breaks_off, says(202, {"id": "the-job"})]
    assert client.out("submit", "hash", "iterations=1", "-f", tmp_path / "in") == "the-job"
    keys = {call.headers["Idempotency-Key"] for call in gateway.calls}
    assert len(gateway.calls) == 3 and len(keys) == 1 and None not in keys


def test_what_may_have_been_done_is_not_done_again(gateway, client):
    gateway.answers = [breaks_off, says(202, {"id": "a", "state": "cancelled"})]
    client.run("cancel", "a", status=AWAY)
    assert len(gateway.calls) == 1


def test_a_pipe_is_not_sent_twice(gateway, client):
    gateway.answers = [problem(503, "busy", Retry_After="0"), says(202, {"id": "wrong"})]
    gateway.answers[0] = lambda call: (call.rfile.readline(), call.send(503, "{}", Retry_After="0"), call.hang_up())
    client.run("submit", "hash", "iterations=1", "-f", "-", input="y" * 100000, status=AWAY)
    assert len(gateway.calls) == 1


def test_a_long_poll_that_breaks_off_is_begun_again(gateway, client):
    gateway.answers = [breaks_off, says(200, {"id": "a", "state": "pending"}), breaks_off,
                       says(200, {"id": "a", "state": "completed"})]
    assert client.out("wait", "a") == "a completed"
    assert all(call.path == "/jobs/a?wait=30" for call in gateway.calls)


# ---- downloads ---------------------------------------------------------------------------

WHOLE = os.urandom(300000)


def part(of, sent, **headers):
    """The first bytes of an answer that was to be longer."""
    def answer(call):
        call.send(200, of[:sent], "application/octet-stream", length=len(of), **headers)
        call.wfile.flush()
        time.sleep(0.2)  # a reset overtakes what the client has not read
        call.hang_up()
    return answer


def rest(call):
    start = int(call.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    assert call.headers["If-Range"] == '"one"'
    call.send(206, WHOLE[start:], "application/octet-stream", ETag='"one"',
              Content_Range=f"bytes {start}-{len(WHOLE) - 1}/{len(WHOLE)}")


def test_a_download_goes_on_where_it_broke_off(gateway, client, tmp_path):
    gateway.answers = [part(WHOLE, 200000, ETag='"one"'), rest]
    client.run("result", "a", "-o", tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == WHOLE and os.listdir(tmp_path) == ["r"]
    assert gateway.calls[1].headers["Range"] == "bytes=200000-"
    gateway.answers = [part(WHOLE, 200000, ETag='"one"'), rest]
    assert client.run("result", "a", text=False).stdout == WHOLE


def test_a_download_that_changed_meanwhile_is_made_from_its_start(gateway, client, tmp_path):
    other = WHOLE[::-1][:250000]
    for first, second in ((b'"one"', b'"two"'), (None, None)):
        headers = [{} if etag is None else {"ETag": etag.decode()} for etag in (first, second)]
        gateway.answers = [part(WHOLE, 200000, **headers[0]),
                           lambda call: call.send(200, other, "application/octet-stream", **headers[1])]
        client.run("result", "a", "-o", tmp_path / "r")
        assert (tmp_path / "r").read_bytes() == other


def test_what_is_written_to_stdout_is_not_taken_back(gateway, client):
    gateway.answers = [part(WHOLE, 200000), lambda call: call.send(200, WHOLE)]
    assert client.run("result", "a", text=False, status=AWAY).stdout == WHOLE[:200000]
    gateway.answers = [part(WHOLE, 200000, ETag='"one"'), lambda call: call.send(200, WHOLE[::-1], ETag='"two"')]
    changed = client.run("result", "a", text=False, status=AWAY)
    assert changed.stdout == WHOLE[:200000] and b"broke off after 200000 bytes" in changed.stderr


def test_a_download_that_fails_leaves_no_file_and_the_old_one(gateway, client, tmp_path):
    (tmp_path / "r").write_text("old")
    gateway.answers = [part(WHOLE, 200000)] * 50
    client.run("result", "a", "-o", tmp_path / "r", "--patience", "0", status=AWAY)
    assert os.listdir(tmp_path) == ["r"] and (tmp_path / "r").read_text() == "old"


def test_an_empty_result_is_an_empty_file(gateway, client, tmp_path):
    gateway.answers = [lambda call: call.send(200, b"")]
    client.run("result", "a", "-o", tmp_path / "r")
    assert (tmp_path / "r").read_bytes() == b""


# ---- uploads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [0, 1 << 20])
def test_a_refusal_is_shown_although_the_connection_breaks_during_the_upload(gateway, client, tmp_path, read):
    with open(tmp_path / "large", "wb") as file:
        file.truncate(200 << 20)

    def refuse(call):
        call.rfile.read(read)
        call.send(413, json.dumps({"code": "too-large", "detail": "no more than that"}), PROBLEM, Connection="close")
        call.wfile.flush()
        call.connection.shutdown(socket.SHUT_WR)
        call.close_connection = True  # with bytes unread: the client gets a reset

    gateway.answers = [refuse] * 100  # when the reset overtakes the reason, it is asked again
    for _ in range(10):
        refused = client.run("submit", "hash", "iterations=1", "-f", tmp_path / "large", status=REFUSED)
        assert refused.stderr == "millrace: 413 too-large: no more than that\n"


def test_uploads_and_downloads_take_little_memory_and_tell_their_length(gateway, client, tmp_path):
    size = 256 << 20
    with open(tmp_path / "large", "wb") as file:
        file.truncate(size)

    def swallow(call):
        left = int(call.headers["Content-Length"])
        assert left == size and "Expect" not in call.headers
        while left:
            left -= len(call.rfile.read(min(left, 1 << 20)))
        call.send(202, '{"id":"a"}')

    def flood(call):
        call.send(200, b"", "application/octet-stream", length=size)
        for _ in range(size >> 20):
            call.wfile.write(bytes(1 << 20))

    gateway.answers = [swallow, flood]
    assert peak_memory(client, "submit", "hash", "iterations=1", "-f", tmp_path / "large") < 32 << 20
    assert peak_memory(client, "result", "a", "-o", tmp_path / "r") < 32 << 20
    assert os.path.getsize(tmp_path / "r") == size


def peak_memory(client, *words):
    """Resident bytes of a call that succeeds. Called by a small process: the peak counts what a fork began with."""
    measure = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    told = subprocess.run(["/usr/bin/python3", "-ISc", measure, PROGRAM, *map(str, words)], env=client.env,
                          stdout=subprocess.PIPE, check=True, timeout=120).stdout
    return int(told) * 1024 if "asan" not in PROGRAM else 0


def test_a_file_that_shrinks_while_it_is_sent_is_a_trouble_on_this_side(gateway, client, tmp_path):
    file = tmp_path / "f"
    with open(file, "wb") as new:
        new.truncate(64 << 20)

    def cut(call):
        call.rfile.read(1 << 20)
        os.truncate(file, 2 << 20)
        while call.rfile.read(1 << 16):
            pass

    gateway.answers = [cut]
    assert "became shorter" in client.run("submit", "hash", "iterations=1", "-f", file, status=LOCAL).stderr


# ---- odd answers ------------------------------------------------------------------------------


def test_somebody_elses_answers_are_told_from_a_gateways(gateway, client):
    gateway.answers = [lambda call: call.send(404, "<html>what?</html>", "text/html"), lambda call: call.send(200, "[]"),
                       lambda call: call.send(302, "", Location="http://127.0.0.1:1/"),
                       lambda call: call.send(500, "<html>oh</html>")]
    assert "answered 404, and not as a gateway does" in client.run("stats", status=REFUSED).stderr
    assert "no JSON object" in client.run("stats", status=AWAY).stderr
    assert "answered 302" in client.run("stats", status=REFUSED).stderr
    assert "answered 500" in client.run("stats", status=AWAY).stderr


def test_an_answer_without_end_is_given_up(gateway, client):
    gateway.answers = [lambda call: call.send(200, b"[" * (17 << 20))]
    assert "more than" in client.run("stats", status=AWAY).stderr


def test_nothing_that_is_told_reaches_the_terminal_as_a_command(gateway, client):
    record = {"id": "a\033[2J", "state": "failed", "error": {"code": "x\033", "detail": "y\r\nz"}}
    gateway.answers = [problem(422, "x\033]0;", "line\nline\033[31m"), says(200, record), says(200, record),
                       says(200, {"jobs": [record], "next": None})]
    assert client.run("stats", status=REFUSED).stderr == "millrace: 422 x?]0;: line?line?[31m\n"
    assert client.run("wait", "a", status=JOB).stdout == "a?[2J failed x?: y??z\n"
    assert "\033" not in client.run("status", "a").stdout
    assert "\033" not in client.run("ls").stdout
    gateway.answers = [says(200, {"ok": False, "exceptions": [{"id": "a\033", "why": "b\x9b"}], "unchecked": ["c\033", 7]}),
                       says(202, {"id": "d\033"})]
    assert client.run("audit", status=JOB).stdout == "not ok: 0 accepted, 1 exception\n  a?: b??\nnot checked: c?\nnot checked: \n"
    assert client.run("submit", "spin").stdout == "d?\n"


# ---- lists -------------------------------------------------------------------------------------


def test_ls_follows_the_pages_up_to_its_limit(gateway, client):
    def page(*numbers, next=None):
        return says(200, {"jobs": [{"id": f"job-{n}", "kind": "spin", "state": "failed", "created": "then",
                                    "error": {"code": "lost", "detail": ""}} for n in numbers], "next": next})

    gateway.answers = [page(1, 2, next="c d"), page(3)]
    lines = client.out("ls", "--state", "failed", "--kind", "spin", "--group", "g&h", "--limit", "3").splitlines()
    assert [line.split() for line in lines] == [["ID", "KIND", "STATE", "CREATED", "ERROR"]] + [
        [f"job-{n}", "spin", "failed", "then", "lost"] for n in (1, 2, 3)]
    assert gateway.calls[0].path == "/jobs?limit=3&state=failed&kind=spin&group=g%26h"
    assert gateway.calls[1].path == "/jobs?limit=1&state=failed&kind=spin&group=g%26h&after=c%20d"
    assert gateway.calls[0].client == gateway.calls[1].client  # on one connection
    gateway.answers = [page(1, next="x"), page(next="y"), page(2)]  # an empty page is not the end
    assert len(client.run("ls", "--json").stdout.splitlines()) == 2
    gateway.answers = [page()]
    assert client.run("ls", "--json").stdout == ""


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_ls_asks_no_further_when_nobody_reads(gateway, client, options):
    page = {"jobs": [{"id": "x" * 100, "state": "failed"}] * 1000, "next": "more"}
    gateway.answers = [says(200, page)] * 1000
    ended = subprocess.run(f"{PROGRAM} ls --limit 1000000 {' '.join(options)} | head -c 1", shell=True, env=client.env,
                           capture_output=True, timeout=60, check=True)
    assert len(gateway.calls) == 1 and ended.stderr == b"millrace: output: Broken pipe\n"


def test_what_was_closed_is_written_to_by_nobody(gateway, client):
    gateway.answers = [says(200, {"jobs": []}), says(202, {"id": "a"})]
    ended = subprocess.run(f"{PROGRAM} ls <&- >&-", shell=True, env=client.env, stderr=subprocess.PIPE, check=False,
                           timeout=60)
    assert ended.returncode == LOCAL and ended.stderr == b"millrace: output: Bad file descriptor\n"
    ended = subprocess.run(f"exec {PROGRAM} submit spin -f - <&- >&- 2>&-", shell=True, env=client.env, check=False,
                           timeout=60)
    assert ended.returncode == LOCAL and not gateway.answers


def test_dead_messages_are_listed_and_replayed(gateway, client):
    dead = {"dead": [{"id": "m-1", "kind": "hash", "reason": "undecodable", "received": "then", "bytes": 12}]}
    gateway.answers = [says(200, dead), says(200, dead)]
    assert client.out("dead", "ls").splitlines()[1].split() == ["m-1", "hash", "undecodable", "then", "12"]
    assert client.json("dead", "ls") == dead
    gateway.answers = [says(202, {"id": "m-1"}), problem(404, "not-found"), says(202, {"id": "m-3"})]
    replayed = client.run("dead", "replay", "m-1", "m-2", "m-3", status=REFUSED)
    assert replayed.stdout == "m-1 replayed\nm-3 replayed\n" and "404 not-found" in replayed.stderr
    assert [(call.command, call.path) for call in gateway.calls[2:]] == [
        ("POST", f"/dead/m-{n}/replay") for n in (1, 2, 3)]


def test_an_audit_with_exceptions_is_exit_status_1(gateway, client):
    fine = {"ok": True, "accepted": 7, "exceptions": [], "unchecked": ["messages: no broker"]}
    bad = {"ok": False, "accepted": 7, "more": 3, "exceptions": [
        {"id": "a", "kind": "hash", "state": "pending", "why": "no message", "suspected": True},
        {"kind": "spin", "why": "a wrong sum"}]}
    gateway.answers = [says(200, fine), says(200, bad), says(200, bad)]
    assert client.out("audit") == "ok: 7 accepted, 0 exceptions\nnot checked: messages: no broker"
    assert client.out("audit", status=JOB) == ("not ok: 7 accepted, 5 exceptions\n  a hash pending (suspected): no message\n"
                                               "  spin: a wrong sum\n  and 3 more")
    assert client.json("audit", status=JOB) == bad
