# SPDX-License-Identifier: Apache-2.0
"""deploy/up and deploy/down in a copy of the tree, with programs that stand in for an account and a cluster
(stand_in_aws.py). They show which steps are taken in which order; what AWS and a cluster make of them, they do not."""
import os
import pathlib
import shutil
import subprocess

import pytest
import yaml

from manifests import ROOT

PROGRAMS = ("aws", "terraform", "kubectl", "helm", "docker", "curl")
READ = ("deploy", "k8s", "hpa", "docker", "api", "cli", "common", "kinds", "worker")


class Cloud:
    def __init__(self, folder, **env):
        if not shutil.which("kubectl"):
            pytest.skip("kubectl is not installed")
        self.tree, self.state, programs = folder / "tree", folder / "cloud", folder / "bin"
        self.state.mkdir()
        programs.mkdir()
        for name in READ:
            shutil.copytree(ROOT / name, self.tree / name,
                            ignore=shutil.ignore_patterns("state", ".terraform*", "*_override.tf", "__pycache__"))
        (self.tree / "tools").mkdir()
        for name in ("CMakeLists.txt", "CMakePresets.json", "tools/packages.txt"):
            shutil.copy(ROOT / name, self.tree / name)
        for name in PROGRAMS:
            (programs / name).write_text(f"#!/bin/sh\nexec /usr/bin/python3 -IS {pathlib.Path(__file__).parent}/stand_in_aws.py "
                                         f"{name} \"$@\"\n")
            (programs / name).chmod(0o755)
        self.env = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder), "STAND_IN_STATE": str(self.state),
                    "REAL_KUBECTL": shutil.which("kubectl"), "MILLRACE_PAUSE": "0", **env}

    def run(self, name, *arguments, timeout=120):
        return subprocess.run([self.tree / "deploy" / name, "eu-central-1", "mill", *arguments], capture_output=True, text=True,
                              check=False, timeout=timeout, env=self.env, stdin=subprocess.DEVNULL)

    def up(self, *arguments, **more):
        return self.run("up", *arguments, **more)

    def make(self):
        """As if deploy/up had been here."""
        self.own.mkdir(parents=True)
        (self.own / "said.tfvars").write_text('source_ranges = ["203.0.113.0/24"]\n')
        (self.own / "images").touch()
        (self.state / "made").touch()
        return self

    @property
    def own(self):
        return self.tree / "deploy" / "aws" / "state" / "eu-central-1-mill"

    def calls(self):
        """What was called since the last time."""
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines

    def applied(self, name="millrace.yaml"):
        return list(yaml.safe_load_all((self.state / f"applied-{name}").read_text()))


def place(calls, *words):
    """Where the first call with all these words is."""
    found = [index for index, call in enumerate(calls) if all(word in call for word in words)]
    assert found, f"no call has {words} in:\n" + "\n".join(calls)
    return found[0]


def in_order(calls, *steps):
    places = [place(calls, *(step if isinstance(step, tuple) else (step,))) for step in steps]
    assert places == sorted(places), list(zip(steps, places))
