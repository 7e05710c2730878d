# SPDX-License-Identifier: Apache-2.0
"""The Jobs that millrace place prints, against the schemas of Kubernetes; no API server takes part."""
import json
import os
import subprocess

import pytest

from manifests import ROOT
from test_schemas import faults

BUILD = ROOT / os.environ.get("MILLRACE_BUILD", "build/release")


def placed(cluster):
    printed = subprocess.run([BUILD / "millrace", "place", "-f", ROOT / "examples" / "batchJob.json", "--namespace", "night",
                              "--cluster", ROOT / "tests" / "data" / "clusters" / f"{cluster}.json"],
                             capture_output=True, text=True, check=True, timeout=60)
    return json.loads(printed.stdout)


@pytest.mark.parametrize("cluster", ["balanced", "memory-poor", "guarded"])
def test_every_job_is_understood_to_the_last_field(cluster):
    jobs = placed(cluster)["items"]
    assert len(jobs) == 3
    for job in jobs:
        assert not faults(job), job["metadata"]["name"]


def test_a_field_that_does_not_exist_is_found():
    job = placed("balanced")["items"][0]
    job["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]["preferred"] = []
    assert any("preferred" in fault for fault in faults(job))
