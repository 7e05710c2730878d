# SPDX-License-Identifier: Apache-2.0
"""millrace map against answers that a real gateway gives only at rare moments."""

import http.server
import json
import os
import re
import signal
import subprocess
import threading

import pytest
from cli import Client, INTERRUPTED, LOCAL, OK, REFUSED
from harness import eventually
from test_map import fill, folders, journal  # noqa: F401 (folders is a fixture)

GROUP = {"id": "019aaaaa-0000-7000-8000-000000000001", "state": "open"}
RECORD = {"state": "completed", "worker": "w", "started": "2026-11-21T12:00:00.000Z", "run_seconds": 0.5}
MAP = ("map", "-k", "hash", "-p", "iterations=1")


class Gateway:
    """Every job is completed at once. refuse(method, path) -> (status, code), or None where all is well."""

    def __init__(self, refuse):
        gateway, self.refuse, self.jobs, self._lock = self, refuse, [], threading.Lock()
        self.result_type = "application/json"

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                with gateway._lock:
                    status, body = gateway._answer(self.command, self.path)
                text = json.dumps(body).encode()
                self.send_response(status)
                is_result = status == 200 and self.path.endswith("/result")
                self.send_header("Content-Type", gateway.result_type if is_result else "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = _answer

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.client = Client(f"http://127.0.0.1:{self._server.server_port}")

    def _answer(self, method, path):
        refusal = self.refuse(method, path)
        if refusal:
            return refusal[0], {"code": refusal[1], "detail": "not today"}
        if method == "POST" and path.startswith("/jobs/"):
            self.jobs.append({"id": f"019bbbbb-0000-7000-8000-{len(self.jobs):012}", **RECORD})
            return 202, {**self.jobs[-1], "state": "pending"}
        if path.endswith("/result"):
            return 200, {"value": "00"}
        if "/ends" in path:
            after = int(re.search(r"after=(\d+)", path).group(1))
            return 200, {"ends": self.jobs[after:], "next": len(self.jobs)}
        return 201 if path == "/groups" else 200, GROUP

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def gateway_that():
    made = []

    def make(refuse):
        made.append(Gateway(refuse))
        return made[-1]

    yield make
    for gateway in made:
        gateway.close()


def test_a_key_that_is_withdrawn_is_no_failure_of_the_files(gateway_that, folders):
    dataset, output = folders
    fill(dataset, 10)
    gateway = gateway_that(lambda method, path: (401, "no-key") if path.endswith("/result") else None)
    ended = gateway.client.run(*MAP, "-j", 4, dataset, output, status=REFUSED, text=False)
    assert b"401 no-key: not today" in ended.stderr and not journal(output, "failed")
    gateway.refuse = lambda method, path: None
    gateway.client.run("map", "--resume", dataset, output, status=OK)
    assert len(journal(output, "done")) == 10


def test_a_group_that_comes_back_by_itself_costs_nothing(gateway_that, folders):
    """Redis lost it, a submit hears so, and a worker that takes an older job has made it anew before we ask."""
    dataset, output = folders
    fill(dataset, 10)
    refused = []

    def refuse(method, path):
        if method == "POST" and path.startswith("/jobs/") and len(gateway.jobs) == 3 and len(refused) < 2:
            refused.append(path)
            return 404, "not-found"
        return None

    gateway = gateway_that(refuse)
    gateway.client.run(*MAP, "-j", 4, dataset, output, status=OK)
    assert refused and len(journal(output, "done")) == len(gateway.jobs) == 10
    assert len(journal(output, "group")) == 1


def test_what_is_not_found_again_and_again_is_refused(gateway_that, folders):
    dataset, output = folders
    fill(dataset, 10)
    gateway = gateway_that(lambda method, path: (404, "not-found") if path.startswith("/jobs/") else None)
    ended = gateway.client.run(*MAP, dataset, output, status=REFUSED, text=False)
    assert b"404 not-found: not today" in ended.stderr


def test_a_group_whose_answer_was_lost_is_made_again(gateway_that, folders):
    dataset, output = folders
    fill(dataset, 3)
    asked = []

    def refuse(method, path):
        if path == "/groups":
            asked.append(path)
            if len(asked) == 1:
                raise ConnectionError("gone before its answer")

    gateway = gateway_that(refuse)
    gateway.client.run(*MAP, dataset, output, status=OK)
    assert len(asked) == 2 and len(journal(output, "group")) == 1


def test_the_report_takes_no_name_of_an_outputs_folder(gateway_that, folders):
    dataset, output = folders
    (dataset / "report.html").mkdir()
    (dataset / "report.html" / "leaf.json").write_text("leaf")
    ended = gateway_that(lambda method, path: None).client.run(*MAP, dataset, output, status=OK)
    assert "report: " in ended.stdout and "cannot be written" not in ended.stderr


def test_a_joblog_that_cannot_be_written_is_told(gateway_that, folders):
    dataset, output = folders
    fill(dataset, 30)
    gateway = gateway_that(lambda method, path: None)
    ended = gateway.client.run(*MAP, "--joblog", "/dev/full", dataset, output, status=OK)
    assert "millrace: /dev/full: " in ended.stderr and len(journal(output, "done")) == 30


@pytest.fixture
def unread(gateway_that, folders, tmp_path):
    """A gateway, and a client whose joblog is a pipe without a reader."""
    dataset, output = folders
    fill(dataset, 10)
    os.mkfifo(tmp_path / "log")
    gateway = gateway_that(lambda method, path: None)
    return gateway, gateway.client.start(*MAP, "--joblog", tmp_path / "log", dataset, output)


def test_ctrl_c_while_the_plan_is_made_begins_nothing(unread, folders, tmp_path):
    """The client waits for a reader of its joblog, a pipe, while the signal comes."""
    gateway, client = unread
    _, output = folders
    eventually(lambda: (output / ".millrace" / "lock").exists(), what="the state")
    client.send_signal(signal.SIGINT)
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)  # the signal may have ended that wait already
    client.communicate(timeout=30)
    os.close(reader)
    assert client.returncode == INTERRUPTED and not gateway.jobs


def test_ctrl_c_while_nobody_reads_the_joblog_ends_the_client(unread):
    gateway, client = unread
    eventually(lambda: is_opening_a_pipe(client.pid), what="the client waits for a reader")
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=30)
    assert client.returncode == INTERRUPTED and not gateway.jobs


def is_opening_a_pipe(pid):
    """It is blocked in openat, number 257 on x86-64, 56 on arm64."""
    with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
        return file.read().startswith(("257 ", "56 "))


def test_the_report_takes_no_name_of_an_output(gateway_that, folders):
    dataset, output = folders
    gateway = gateway_that(lambda method, path: None)
    gateway.result_type = "text/html"
    names = ("report.html", "millrace-report.html")
    for name in names:
        (dataset / name).write_text("page")
    ended = gateway.client.run(*MAP, dataset, output, status=OK)
    with open(ended.stdout.split("report: ")[1].strip(), encoding="utf-8") as report:
        assert "<title>millrace map" in report.read()
    (dataset / "report.html").unlink()  # its output stays
    gateway.client.run("map", "--resume", dataset, output, status=OK)
    assert [(output / name).read_text() for name in names] == ['{"value": "00"}'] * 2


@pytest.mark.parametrize("inodes", [40, 41])  # one ends with a file, the other with its folder
def test_an_output_without_room_for_folders_is_no_failure_of_the_files(gateway_that, folders, inodes):
    dataset, output = folders
    output.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"nr_inodes={inodes}", "tmpfs", output], check=False,
                             capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        for number in range(30):
            (dataset / f"{number:02}").mkdir()
            (dataset / f"{number:02}" / "leaf.txt").write_bytes(b"%d" % number)
        gateway = gateway_that(lambda method, path: None)
        ended = gateway.client.run(*MAP, "-j", 1, dataset, output, status=LOCAL, text=False)
        assert b"No space left on device" in ended.stderr and not journal(output, "failed")
        assert f" {30 - len(list(output.glob('*/leaf.json')))} still to do" in ended.stdout.decode()
        subprocess.run(["mount", "-o", "remount,nr_inodes=1000", output], check=True)
        gateway.client.run("map", "--resume", dataset, output, status=OK)
        assert len(list(output.glob("*/leaf.json"))) == 30
    finally:
        subprocess.run(["umount", "--lazy", output], check=True)
