# SPDX-License-Identifier: Apache-2.0
"""./run bench load: a burst is served whole and right by a fleet that grows and shrinks, and what is wrong is found."""

import contextlib
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import numpy
import psutil
import pytest
import requests

from harness import LONG, REPOSITORY, eventually
from local import Local, environment

LOADTEST = os.path.join(REPOSITORY, "loadtest")
sys.path.insert(0, LOADTEST)

from crowd import mix, plot, shapes, target, watch  # noqa: E402

BURST_PER_MINUTE = 1000
LATE_SECONDS = 10  # the clients have no core to themselves
KEY = "correct-horse"


def load(url, report, *arguments, seconds=60, **env):
    """The ended ./run bench load; its report is in the folder."""
    return subprocess.run(words(report, "--url", url, *arguments), env={**environment(), **env}, capture_output=True,
                          text=True, timeout=seconds, check=False)


def words(report, *arguments):
    return [sys.executable, os.path.join(LOADTEST, "bench.py"), "load", "--report", str(report), *map(str, arguments)]


def summary_of(report):
    return json.loads((report / "summary.json").read_text())


# -- a whole fleet -------------------------------------------------------------

@pytest.fixture
def elastic(tmp_path):
    local = Local(tmp_path / "data", "--workers", "0..4", "--stabilise", "2").up()
    yield local
    local.end()


@pytest.mark.parametrize("length", [
    pytest.param(12, id="short"),
    pytest.param(60, id="minute", marks=pytest.mark.skipif(not LONG, reason="only under ./run test --all")),
])
def test_load__a_burst_is_served_whole_by_workers_that_come_and_go(elastic, tmp_path, length):
    expected = BURST_PER_MINUTE * length // 60
    report = tmp_path / "report"
    ended = load(elastic.url, report, "--seconds", length, seconds=length + 400)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    summary = summary_of(report)
    assert [summary[field] for field in ("requests", "accepted", "right", "http_failures")] == [expected] * 3 + [0]
    assert length * 0.9 < summary["seconds"] < length + LATE_SECONDS
    assert summary["workers"]["first"] == 0 and 2 <= summary["workers"]["most"] <= 4, summary
    assert summary["workers"]["last"] == 0, summary
    jobs = requests.get(f"{elastic.url}/stats", timeout=10).json()["jobs"]
    assert jobs["accepted"] == jobs["completed"] == expected
    assert_pages(report)


def assert_pages(report):
    """Locust's report, and a plot that needs nothing but itself."""
    page = (report / "fleet.html").read_text()
    drawing = ElementTree.fromstring(page[page.index("<svg"):page.index("</svg>") + len("</svg>")])
    assert len(drawing.findall("{http://www.w3.org/2000/svg}path")) == 12  # three panels, two lines with their areas
    for word in ("href", "src=", "@import", "url("):
        assert word not in page
    assert "/matrix_multiplication" in (report / "report.html").read_text()


# -- fleets that do wrong ------------------------------------------------------

class Liar(http.server.BaseHTTPRequestHandler):
    """A gateway that refuses each fifth job, loses each seventh, and has zeros for the results of all others."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    jobs = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.lock:
            type(self).jobs += 1
            number = self.jobs
        if self.is_refused(number):
            self._answer(503, {"detail": "full"})
        else:
            self._answer(202, {"id": f"job-{number}"})

    do_PUT = do_POST

    def do_GET(self):
        if self.path == "/stats":
            self._answer(200, {"queues": {}, "workers": [], "jobs": {"accepted": 0, "completed": 0}})
        elif self.path.partition("?")[0].endswith("/result"):
            self._answer(200, {"C": [[0, 0], [0, 0]], "value": "0" * 128})
        else:
            number = int(self.path.partition("?")[0].rpartition("-")[2])
            self._answer(200, {"state": "pending" if self.is_lost(number) else "completed"})

    def is_refused(self, number):
        return number % 5 == 0

    def is_lost(self, number):
        return number % 7 == 0

    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Forgetful(Liar):
    """It accepts everything and completes nothing, and wants a key."""

    def is_refused(self, number):
        return self.headers["Authorization"] != f"Bearer {KEY}"

    def is_lost(self, number):
        return True


def serve(handler):
    handler.jobs = 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.handle_error = True, lambda *_: None  # clients that are killed hang up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def liar():
    yield from serve(Liar)


@pytest.fixture
def forgetful():
    yield from serve(Forgetful)


def test_load__refusals_losses_and_wrong_results_are_found_and_said(liar, tmp_path):
    ended = load(liar, tmp_path, "--seconds", 3, "--patience", 2)
    summary = summary_of(tmp_path)
    assert ended.returncode == 1
    assert summary["requests"] == 50 and summary["right"] == 0
    assert summary["http_failures"] == 10 and summary["accepted"] == 40
    assert "code=503" in ended.stdout and "not right: " in ended.stdout
    faults = [json.loads(line).get("fault") for line in (tmp_path / "jobs.jsonl").read_text().splitlines()[:-1]]
    assert sum("was answered by 503" in fault for fault in faults) == 10
    assert sum("not completed 2 s after the last arrival" in fault for fault in faults) == 6
    assert all(faults)
    for wrong in ("SHA-512", "cells are wrong"):
        assert any(wrong in fault for fault in faults)


def test_load__locust_alone_fails_when_jobs_are_lost(forgetful, tmp_path):
    key = tmp_path / "key"
    key.write_text(KEY + "\n")
    ended = subprocess.run([sys.executable, "-m", "locust", "-f", os.path.join(LOADTEST, "locustfile.py"), "--headless",
                            "--only-summary", "--host", forgetful, "--seconds", "2", "--patience", "1"],
                           env={**environment(), "MILLRACE_API_KEY": f"@{key}"}, capture_output=True, text=True,
                           timeout=60, check=False)
    assert ended.returncode == 1, ended.stderr
    assert "not completed 1 s after the last arrival" in ended.stderr
    assert Forgetful.jobs == 33


@contextlib.contextmanager
def under_way(report, *arguments):
    """A ./run bench load, its process and Locust's, once there is one."""
    process = subprocess.Popen(words(report, *arguments), env={**environment(), "MILLRACE_API_KEY": KEY},
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def locust():
        assert process.poll() is None
        found = [each for each in psutil.Process(process.pid).children() if "locust" in each.cmdline()]
        assert found
        return found[0]

    try:
        yield process, eventually(locust, deadline=60, what="Locust")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_load__clients_who_are_stopped_have_not_passed(forgetful, tmp_path, number):
    with under_way(tmp_path, "--url", forgetful + "/", "--seconds", 60) as (process, clients):
        eventually(lambda: Forgetful.jobs >= 20, deadline=60, what="20 jobs")
        clients.send_signal(number)
        assert process.wait(60) == 1
    summary = summary_of(tmp_path)
    assert summary["requests"] == 1000 and summary["right"] == 0
    assert 20 <= summary["accepted"] < 1000 and summary["http_failures"] == 0
    assert (tmp_path / "report.html").exists()


def test_load__clients_who_are_killed_have_not_passed(forgetful, tmp_path):
    with under_way(tmp_path, "--url", forgetful, "--seconds", 60) as (process, clients):
        clients.kill()
        assert process.wait(60) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_load__takes_fleet_and_clients_along_when_it_is_stopped(tmp_path, number):
    with under_way(tmp_path, "--seconds", 60) as (process, _):
        everyone = psutil.Process(process.pid).children(recursive=True)
        assert len(everyone) > 4
        process.send_signal(number)
        assert process.wait(60) in (143, -signal.SIGKILL)
    assert not psutil.wait_procs(everyone, timeout=10)[1]


def test_load__says_when_no_fleet_answers(tmp_path):
    ended = load("http://127.0.0.1:1", tmp_path)
    assert ended.returncode == 2 and "no fleet answers" in ended.stderr


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "localhost:8080", "ftp://host", "http://", "http://host:99999",
                                 "http://host/?key=1"])
def test_load__says_what_is_no_url(url, tmp_path):
    ended = load(url, tmp_path)
    assert ended.returncode == 2 and "--url" in ended.stderr and "Traceback" not in ended.stderr


# -- its parts -----------------------------------------------------------------

@pytest.mark.parametrize("shape", sorted(shapes.SHAPES))
def test_shapes__have_as_many_arrivals_in_each_stage_as_it_says(shape):
    plan = shapes.stages(shape)
    times = shapes.arrivals(plan, random.Random(7))
    assert times == sorted(times)
    start = 0
    for length, pace in plan:
        assert sum(start <= time < start + length for time in times) == round(length * pace / 60)
        start += length


def test_shapes__stretch_to_a_length_and_to_a_rate():
    assert shapes.stages("spike", 14, 300) == [(6, 12), (2, 300), (6, 12)]
    assert len(shapes.arrivals(shapes.stages("burst"), random.Random(1))) == 1000


def test_mix__one_wrong_cell_is_wrong_and_rounding_is_not():
    a, b = numpy.random.default_rng(3).uniform(-1, 1, (2, 50, 50))
    c = numpy.array([[sum(a[i, k] * b[k, j] for k in range(50)) for j in range(50)] for i in range(50)])
    mix.check_product(a, b, c)
    for bad in (c[3, 4] * (1 + 1e-12) + 1e-12, float("nan")):
        spoilt = c.copy()
        spoilt[3, 4] = bad
        with pytest.raises(mix.Wrong, match="row 3, column 4"):
            mix.check_product(a, b, spoilt)
    with pytest.raises(mix.Wrong, match="shape"):
        mix.check_product(a, b, c[:, :1])


def test_target__is_an_address_to_put_paths_behind():
    assert target.address("https://fleet.example.org/mill/") == "https://fleet.example.org/mill"
    assert target.address("http://[::1]:8080") == "http://[::1]:8080"


@pytest.mark.parametrize("document", [{}, [], {"queues": None, "workers": [], "jobs": {}}])
def test_watch__knows_what_are_no_stats(document):
    with pytest.raises(ValueError, match="not by Millrace"):
        watch.sample(document, 0)


def test_mix__draws_every_sort_of_job():
    maker = mix.Mix(5)
    drawn = [maker.draw() for _ in range(200)]
    assert len({job.name for job in drawn}) == 5
    for job in drawn:
        if job.name.startswith("hash"):
            assert 16 << 10 <= len(job.body) <= 256 << 10


def test_plot__stays_whole_with_a_single_sample_of_zeros():
    sample = dict.fromkeys(("at", "ready", "unacknowledged", "workers", "busy", "accepted", "completed"), 0)
    ElementTree.fromstring(plot.drawing([sample]))
