# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests of what clusters get."""
import functools
import os
import pathlib
import stat
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from manifests import ROOT, rendered  # noqa: E402


@pytest.fixture
def cluster(request):
    return rendered(request.param)


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory):
    """A folder with programs that stand in for kubectl, docker and others, and remember; see stand_in.py."""
    folder = tmp_path_factory.mktemp("bin")
    source = pathlib.Path(__file__).with_name("stand_in.py")
    for name in ("kubectl", "docker", "minikube", "kind", "curl"):
        program = folder / name
        program.write_text(f"#!/bin/sh\nexec /usr/bin/python3 -IS {source} {name} \"$@\"\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture(scope="session")
def secrets_of(stand_ins, tmp_path_factory):
    """Tells what deploy/secrets --keys makes in a namespace: secret -> key -> content."""
    @functools.lru_cache(None)
    def make(namespace):
        state = tmp_path_factory.mktemp("cluster")
        subprocess.run([ROOT / "deploy" / "secrets", "--keys", namespace], check=True, timeout=60, capture_output=True,
                       env={"PATH": f"{stand_ins}:{os.environ['PATH']}", "STAND_IN_STATE": str(state)})
        return {folder.name: {file.name: file.read_text() for file in folder.iterdir()}
                for folder in (state / "secrets" / namespace).iterdir()}

    return make


@pytest.fixture(scope="session")
def made_secrets(secrets_of):
    return secrets_of("millrace")
