# SPDX-License-Identifier: Apache-2.0
"""The simulator's pods against real workers: a burst by Locust on a fleet of `./run up --workers 0..4`, whose scaler
follows the same formula with clocks of its own, and the same jobs on paper."""
import itertools
import json
import os
import subprocess
import sys
import time

import pytest
import requests

from harness import REPOSITORY
from local import Local, environment
from paper import KIND, Jobs, Rules, changed, settings

from simulator.cluster import Cluster
from simulator.settings import Broker, Policy

LOADTEST = os.path.join(REPOSITORY, "loadtest")
sys.path[:0] = [LOADTEST, os.path.join(REPOSITORY, "tools")]

from crowd.watch import Watch  # noqa: E402
from fleet.supervisor import SCALE_SECONDS  # noqa: E402

MOST, STABILISE = 4, 2.0
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
    return changed(setup, broker=Broker(0.01, 0.01))


def ended_jobs(url):
    """(created, seconds) of every job, in seconds since 1970: what each took, whatever else the machine did meanwhile."""
    jobs, after = [], ""
    while True:
        page = requests.get(f"{url}/jobs?limit=100{after}", timeout=10).json()
        jobs += page["jobs"]
        if not page.get("next"):
            return jobs
        after = f"&after={page['next']}"


def burst(url, report):
    """Locust's burst, as ./run bench load sends it: 1,000 per minute for 12 s. The samples, with the time of the first."""
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
    return began, watch.samples


def test_the_workers_of_a_burst_are_those_of_the_simulation(elastic, tmp_path):
    began, samples = burst(elastic.url, tmp_path / "report")
    for job in ended_jobs(elastic.url)[:2]:
        print(json.dumps(job))
    for one, two in itertools.pairwise(samples):
        if one["workers"] != two["workers"]:
            print(two["at"], two["workers"])
    assert began and as_run_up() and Jobs and Cluster and KIND and False
