# SPDX-License-Identifier: Apache-2.0
"""The client with a list of gateways: two real ones on one broker and one store, of which one dies, and stand-ins that
fail in ways that a real one does only at rare moments."""
import hashlib
import http.server
import os
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests
from cli import AWAY, OK, PROGRAM, USAGE, Client
from fleet.folder import free_port
from harness import eventually
from test_cli_gateway import breaks_off, gateway, problem, says  # noqa: F401 (gateway is a fixture)
from test_map import Map, expected, fill, folders, journal, outputs  # noqa: F401 (folders is a fixture)

ITERATIONS = 200000  # some tens of ms of work


@pytest.fixture
def pair(fleet):
    """A fleet with two gateways."""
    fleet.start_gateway()
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_SLOTS=2)
    return fleet


def both(fleet):
    return ",".join(one.url for one in fleet.gateways)


def url_of(server):
    return f"http://127.0.0.1:{server.server_address[1]}"


def jobs_of(fleet):
    return fleet.assert_adds_up(fleet.gateways[1])


# ---- one of two dies --------------------------------------------------------------------


def test_a_wait_goes_on_at_the_other_gateway_when_its_own_is_killed(pair):
    client = Client(both(pair))
    job = client.out("submit", "spin", "seconds=3")
    waiting = subprocess.Popen([PROGRAM, "wait", job], env=client.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with waiting:
        eventually(lambda: waits_at(pair.gateways[0]), what="the long poll is there")
        pair.gateways[0].kill9()
        said, complaints = waiting.communicate(timeout=60)
    assert waiting.returncode == OK and said == f"{job} completed\n", complaints
    assert jobs_of(pair)["accepted"] == 1


def waits_at(one):
    return one.clients() > 0


@pytest.mark.parametrize("victim", [0, 1])
def test_a_map_loses_and_doubles_nothing_when_a_gateway_is_killed(pair, folders, victim):
    dataset, output = folders
    fill(dataset, 60)
    client = Map(None, dataset, output, "--url", both(pair), "--kind", "hash", "--param", f"iterations={ITERATIONS}", "-j", 6)
    client.wait_outputs(8)
    pair.gateways[victim].kill9()
    assert client.end() == OK, client.err
    assert len(outputs(output)) == len(journal(output, "done")) == 60 and not journal(output, "failed")
    for number in (0, 31, 59):
        text = (output / f"leaf-{number:03}.json").read_text()
        assert expected(b"leaf %d" % number, ITERATIONS) in text
    jobs = pair.assert_adds_up(pair.gateways[1 - victim])
    assert jobs["accepted"] == jobs["completed"] == 60


def test_every_call_is_answered_while_one_gateway_is_away(pair, tmp_path):
    (tmp_path / "in").write_bytes(os.urandom(3 << 20))
    pair.gateways[0].kill9()
    client = Client(both(pair))
    start = time.monotonic()
    jobs = [client.out("submit", "hash", "iterations=1", "-f", tmp_path / "in") for _ in range(5)]
    client.run("wait", *jobs)
    for job in jobs:
        assert hashlib.sha512((tmp_path / "in").read_bytes()).hexdigest() in client.out("result", job)
    assert client.json("stats")["jobs"]["accepted"] == 5
    assert time.monotonic() - start < 20  # no wait: the next one is asked at once


def test_a_gateway_that_is_back_is_of_use_again(pair):
    client = Client(both(pair))
    pair.gateways[0].kill9()
    client.run("stats")
    pair.gateways[1].kill9()
    away = client.run("stats", "--patience", "1", status=AWAY)
    assert pair.gateways[0].url in away.stderr or pair.gateways[1].url in away.stderr
    waiting = subprocess.Popen([PROGRAM, "stats", "--patience", "30"], env=client.env, stdout=subprocess.PIPE)
    pair.gateways[0].start()
    assert waiting.wait(30) == OK
    waiting.stdout.close()


# ---- an answer that is lost -----------------------------------------------------------------


class Swallower:
    """Passes each request on to a gateway, and never its answer."""

    def __init__(self, target):
        swallower, self.passed = self, []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: self.headers[name] for name in ("Idempotency-Key", "Content-Type") if self.headers[name]}
                answer = requests.post(target + self.path, data=body, headers=headers, timeout=30)
                swallower.passed.append(answer)
                self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None
        self.url = url_of(self._server)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def test_a_submit_whose_answer_was_lost_is_the_same_job_at_the_other_gateway(pair, tmp_path):
    (tmp_path / "in").write_bytes(b"leaf")
    swallower = Swallower(pair.gateways[0].url)
    try:
        client = Client(f"{swallower.url},{pair.gateways[1].url}")
        job = client.out("submit", "hash", "iterations=1", "-f", tmp_path / "in")
    finally:
        swallower.close()
    assert [answer.status_code for answer in swallower.passed] == [202]
    assert swallower.passed[0].json()["id"] == job
    client.run("wait", job)
    assert jobs_of(pair)["accepted"] == 1


def test_what_may_have_been_done_is_not_done_at_the_other_gateway(pair):
    job = Client(both(pair)).out("submit", "spin", "seconds=1")
    swallower = Swallower(pair.gateways[0].url)
    try:
        Client(f"{swallower.url},{pair.gateways[1].url}").run("retry", job, status=AWAY)
    finally:
        swallower.close()
    assert len(swallower.passed) == 1


# ---- rounds -----------------------------------------------------------------------------------


def test_a_busy_gateway_makes_room_for_the_next_at_once(pair, gateway):
    gateway.answers = [problem(503, "store-down", Retry_After="60")] * 9
    start = time.monotonic()
    Client(f"{url_of(gateway)},{pair.gateways[0].url}").run("stats")
    assert time.monotonic() - start < 5 and len(gateway.calls) == 1


def test_the_one_that_answers_is_remembered(pair, gateway):
    gateway.answers = [breaks_off] * 9
    client = Client(f"{url_of(gateway)},{pair.gateways[0].url}")
    jobs = [Client(both(pair)).out("submit", "spin", "seconds=0.1") for _ in range(3)]
    client.run("wait", *jobs)
    assert len(gateway.calls) == 1


def test_waits_come_between_rounds_and_as_retry_after_says(gateway):
    nobody = f"http://127.0.0.1:{free_port()}"
    gateway.answers = [problem(503, "busy", Retry_After="1"), problem(503, "busy", Retry_After="1"), says(200, {"jobs": {}, "queues": {}})]
    start = time.monotonic()
    Client(f"{nobody},{url_of(gateway)}").run("stats")
    assert 2 <= time.monotonic() - start < 8 and len(gateway.calls) == 3


def test_without_patience_each_gateway_is_asked_once(gateway):
    gateway.answers = [problem(503, "busy") for _ in range(9)]
    Client(f"{url_of(gateway)},{url_of(gateway)},{url_of(gateway)}").run("stats", "--patience", "0", status=AWAY)
    assert len(gateway.calls) == 3


def test_a_refusal_is_an_answer(gateway):
    gateway.answers = [problem(404, "not-found")]
    assert "404 not-found" in Client(f"{url_of(gateway)},http://127.0.0.1:1").run("status", "x", status=3).stderr


def test_a_machine_that_says_nothing_is_given_up_soon(pair):
    with socket.socket() as silent:  # its queue is full: what else comes is not answered, as by a machine that is gone
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for one in fillers:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        start = time.monotonic()
        Client(f"http://127.0.0.1:{silent.getsockname()[1]},{pair.gateways[0].url}").run("stats")
        assert 2 < time.monotonic() - start < 9
        for one in fillers:
            one.close()


@pytest.mark.parametrize("urls", ["http://a:1,", ",http://a:1", "http://a:1,,http://b:1", "http://a:1,b:1", "http://a:1;http://b:1 x",
                                  ",".join(["http://127.0.0.1:1"] * 17)])
def test_a_list_that_is_none_is_refused(urls):
    Client(urls).run("stats", status=USAGE)


def test_blanks_behind_commas_and_slashes_are_no_trouble(pair):
    Client(f"http://127.0.0.1:1/, {pair.gateways[0].url}//").run("stats")


def test_ctrl_c_ends_a_wait_at_the_second_gateway_too(pair):
    pair.gateways[0].kill9()
    client = Client(both(pair))
    job = client.out("submit", "spin", "seconds=30")
    waiting = subprocess.Popen([PROGRAM, "wait", job], env=client.env, stderr=subprocess.PIPE)
    with waiting:
        eventually(lambda: waits_at(pair.gateways[1]), what="the long poll is there")
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(10) == 130
    client.run("cancel", job)
