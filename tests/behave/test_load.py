# SPDX-License-Identifier: Apache-2.0
"""./run bench load: a burst is served whole and right by a fleet that grows and shrinks, and what is wrong is found."""

import http.server
import json
import os
import random
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import numpy
import pytest
import requests

from harness import LONG, REPOSITORY
from local import Local, environment

LOADTEST = os.path.join(REPOSITORY, "loadtest")
sys.path.insert(0, LOADTEST)

from crowd import mix, plot, shapes  # noqa: E402

BURST_PER_MINUTE = 1000


def load(url, report, *arguments, seconds=60):
    """The ended ./run bench load; its report is in the folder."""
    return subprocess.run([sys.executable, os.path.join(LOADTEST, "bench.py"), "load", "--url", url, "--report",
                           str(report), *map(str, arguments)], env=environment(), capture_output=True, text=True,
                          timeout=seconds, check=False)


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
    assert length * 0.9 < summary["seconds"] <= length
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
            Liar.jobs += 1
            number = Liar.jobs
        if number % 5 == 0:
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
            self._answer(200, {"state": "pending" if number % 7 == 0 else "completed"})

    def _answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def liar():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_load__refusals_losses_and_wrong_results_are_found_and_said(liar, tmp_path):
    ended = load(liar, tmp_path, "--seconds", 3, "--patience", 2)
    summary = summary_of(tmp_path)
    assert ended.returncode == 1
    assert summary["requests"] == 50 and summary["right"] == 0
    assert summary["http_failures"] == 10 and summary["accepted"] == 40
    assert "was answered by 503" in ended.stdout
    faults = [json.loads(line).get("fault") for line in (tmp_path / "jobs.jsonl").read_text().splitlines()[:-1]]
    assert sum("was answered by 503" in fault for fault in faults) == 10
    assert sum("not completed 2 s after the last arrival" in fault for fault in faults) == 6
    assert all(faults)
    for wrong in ("SHA-512", "cells are wrong"):
        assert any(wrong in fault for fault in faults)


def test_load__says_when_no_fleet_answers(tmp_path):
    ended = load("http://127.0.0.1:1", tmp_path)
    assert ended.returncode == 2 and "no fleet answers" in ended.stderr


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
