# SPDX-License-Identifier: Apache-2.0
"""The simulator's pods against real workers: a burst by Locust on a fleet of `./run up --workers 0..4`, whose scaler
follows the same formula with clocks of its own, and the same jobs on paper."""
import dataclasses
import itertools
import os
import subprocess
import sys
import time
from datetime import datetime

import pytest
import requests

from harness import LONG, REPOSITORY
from local import Local, environment
from paper import KIND, Jobs, settings

from simulator.cluster import Cluster
from simulator.settings import Broker, Policy, Rules

LOADTEST = os.path.join(REPOSITORY, "loadtest")
sys.path[:0] = [LOADTEST, os.path.join(REPOSITORY, "tools")]

from crowd.watch import Watch  # noqa: E402
from fleet.supervisor import SCALE_SECONDS  # noqa: E402

MOST, STABILISE = 4, 5.0
WORKER_START = 0.3  # s: from the fork to the confirmed consumer, here


@pytest.fixture
def elastic(tmp_path):
    local = Local(tmp_path / "data", "--workers", f"0..{MOST}", "--slots", "1", "--stabilise", str(STABILISE)).up()
    yield local
    local.end()


def as_run_up():
    """The fleet of this machine: no node to wait for, and a number that is never old."""
    rules = Rules(0, (Policy("Pods", MOST, SCALE_SECONDS),), tolerance=0.0)
    setup = settings(node_cpu=100_000, pod={"cost_after": 0.0}, scale={
        "max": MOST, "polling": SCALE_SECONDS, "cooldown": STABILISE, "up": rules,
        "down": Rules(STABILISE, (Policy("Percent", 100, SCALE_SECONDS),), tolerance=0.0)},
        world={"hpa_sync": SCALE_SECONDS, "image_pull": 0.0, "pod_start": WORKER_START})
    return dataclasses.replace(setup, broker=Broker(0.01, 0.01))


def ended_jobs(url):
    """(created, seconds) of every job, in seconds since 1970: what each took, whatever else the machine did."""
    jobs, cursor = [], ""
    while cursor is not None:
        page = requests.get(f"{url}/jobs?limit=100{cursor and '&after=' + cursor}", timeout=10).json()
        jobs += page["jobs"]
        cursor = page["next"]
    return [(at(job["created"]), max(0.001, at(job["finished"]) - at(job["started"]))) for job in jobs]


def at(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def burst(url, report):
    """Locust's burst, as ./run bench load sends it: 1,000 per minute for 12 s. When the samples began, and
    [(seconds since then, workers)]."""
    began = time.time()
    watch = Watch(url)
    try:
        ended = subprocess.run([sys.executable, os.path.join(LOADTEST, "bench.py"), "load", "--url", url, "--report",
                                str(report), "--seconds", "12"], env=environment(), capture_output=True, text=True,
                               timeout=300, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert watch.wait_workers(0, 30)
    finally:
        watch.stop()
    return began, [(sample["at"], sample["workers"]) for sample in watch.samples]


def on_paper(jobs, end, seed):
    """[(seconds, workers)] of the simulation up to that time."""
    cluster = Cluster(as_run_up(), [KIND], seed)
    curve = []

    def look():
        curve.append((cluster.clock.now, sum(pod.running_since is not None for pod in cluster.deployments[KIND].pods)))
    cluster.clock.every(0.25, 0.0, look)
    cluster.run(Jobs(jobs, rest=end))
    return curve


def measures(curve):
    """Most workers, worker-seconds, and when the first was there and the last had gone."""
    seconds = sum(workers * (following - moment) for (moment, workers), (following, _) in itertools.pairwise(curve))
    there = [moment for moment, workers in curve if workers]
    return max(workers for _, workers in curve), seconds, there[0], there[-1]


@pytest.mark.skipif(not LONG, reason="compares clocks of a machine that has nothing else to do; runs with --all")
def test_the_workers_of_a_burst_are_those_of_the_simulation(elastic, tmp_path):
    began, real = burst(elastic.url, tmp_path / "report")
    jobs = [(created - began, seconds) for created, seconds in ended_jobs(elastic.url)]
    assert len(jobs) == 200
    papers = [measures(on_paper(jobs, real[-1][0], seed)) for seed in range(20)]
    # The clocks of fleet and simulation begin at coincidences, which with short jobs decide over a third of the work:
    # what was seen has to lie among the answers. Half the window, a worker less or a start of 2 s lie outside.
    told = f"real first, then the simulations: {[[round(one, 1) for one in run] for run in (measures(real), *papers)]}"
    for seen, answers, margin in zip(measures(real), zip(*papers), (0, 4, 1, 1)):
        assert min(answers) - margin <= seen <= max(answers) + margin, told
