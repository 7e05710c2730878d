# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests, and the logs of a test that failed.

    servers          shared by the tests of a file, empty at the start of each
    private_servers  for a test that breaks servers and wants nobody to notice
    fleet            a Fleet on `servers`, with nothing running yet
    make_fleet       makes a Fleet on other servers, or with other settings
    small_disk       a folder that is full soon
"""

import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness import Fleet, Servers  # noqa: E402

LOG_LINES = 60  # of each process, the last ones


@pytest.fixture(scope="session")
def _shared_servers():
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture
def servers(_shared_servers):
    _shared_servers.clear()
    return _shared_servers


@pytest.fixture
def private_servers():
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture
def make_fleet(tmp_path, request):
    fleets = []
    request.node.fleets = fleets

    def make(servers, **env):
        folder = tmp_path / f"fleet-{len(fleets) + 1}"
        folder.mkdir()
        fleets.append(Fleet(servers, folder, **env))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.stop()


@pytest.fixture
def fleet(make_fleet, servers):
    return make_fleet(servers)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """A failure shows what its gateways and workers said, and what the broker complained of."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for fleet in getattr(item, "fleets", ()):
            for name, status, log in fleet.logs():
                report.sections.append((f"{name} ({status})", "\n".join(log.splitlines()[-LOG_LINES:])))
        for servers in {fleet.servers for fleet in getattr(item, "fleets", ())}:
            complaints = [line for line in servers.rabbitmq.log().splitlines() if "[info]" not in line]
            report.sections.append(("broker", "\n".join(complaints[-LOG_LINES:])))


@pytest.fixture
def small_disk(tmp_path):
    """A folder of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], check=False,
                             capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield str(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)
