# SPDX-License-Identifier: Apache-2.0
"""The system that ./run bench peers measures Millrace against does its work, as it comes and with all that can be set."""

import hashlib
import importlib.util
import json
import os
import shutil
import sys

import numpy
import pytest

from harness import REPOSITORY

sys.path.insert(0, os.path.join(REPOSITORY, "loadtest"))

from peers import table  # noqa: E402
from peers.stack import CeleryRig  # noqa: E402

MODULES = "celery", "fastapi", "gunicorn", "msgpack", "redis", "ujson", "uvicorn"


@pytest.fixture(params=["plain", "careful"])
def peer(request):
    missing = [name for name in MODULES if not importlib.util.find_spec(name)]
    if missing or not shutil.which("gunicorn"):
        pytest.skip(f"not installed: {', '.join(missing) or 'gunicorn'}")
    with CeleryRig(request.param) as rig:
        rig.start_gateway()
        rig.start_worker(2)
        yield rig


def test_peers__serve_the_calls_of_the_load_generators(peer):
    a, b = numpy.random.default_rng(1).uniform(-1, 1, (2, 30, 30))
    product = peer.submit_product({"A": a.tolist(), "B": b.tolist()})
    content = os.urandom(16 << 10)
    chain = peer.submit("PUT", "/enqueue?iterations=2", content)
    spin = peer.submit("POST", "/jobs/spin?seconds=0.01", b"")
    for job in (product, chain, spin):
        peer.wait_completed(job)
    result = json.loads(peer.call("GET", f"/jobs/{product}/result")[1])
    assert numpy.allclose(result["C"], a @ b, rtol=0, atol=1e-13)
    digest = hashlib.sha512(hashlib.sha512(content).digest()).hexdigest()
    assert json.loads(peer.call("GET", f"/jobs/{chain}/result?wait=5")[1]) == {"value": digest}
    assert json.loads(peer.call("GET", "/stats")[1])["jobs"]["completed"] == 3
    assert peer.call("POST", "/matrix_multiplication", b'{"A":[[1,2]],"B":[[1]]}')[0] == 400


def test_table__has_medians_and_a_dash_for_what_was_not_measured():
    lines = [json.dumps({"bench": "peers", "measure": "product_celery", "seconds": seconds, "cpu_seconds": 2})
             for seconds in (7, 5, 30)]
    lines.append(json.dumps({"bench": "peers", "measure": "product_default_celery", "outcome": "refused by 500"}))
    lines.append(json.dumps({"bench": "peers", "summary": "x", "value": 1}))
    series = table.read(lines)
    assert table.cell(series, "product_celery", "{seconds:.1f}") == "7.0"
    assert table.cell(series, "product_default_celery", "{outcome}") == "refused by 500"
    assert table.cell(series, "product_millrace", "{seconds:.1f}") == table.NOT_MEASURED
