# SPDX-License-Identifier: Apache-2.0
"""Terraform for tests: a root is copied away and initialised with providers that are on this machine, never fetched.

Where they are found: what TF_CLI_CONFIG_FILE says; TF_PLUGIN_CACHE_DIR; the folders that Terraform itself looks into; a
mirror below /opt. A test that finds neither the program nor the provider is skipped, by name.
"""
import functools
import os
import pathlib
import shutil
import subprocess

import pytest

from manifests import ROOT

PROVIDER = "hashicorp/aws"


def _mirrors():
    home = pathlib.Path.home()
    yield from (pathlib.Path(one) for one in [os.environ.get("TF_PLUGIN_CACHE_DIR")] if one)
    yield from (home / ".terraform.d/plugins", home / ".local/share/terraform/plugins",
                pathlib.Path("/usr/local/share/terraform/plugins"), pathlib.Path("/usr/share/terraform/plugins"))
    yield from sorted(pathlib.Path("/opt").glob("*/"))


@functools.lru_cache
def program():
    found = shutil.which("terraform")
    if not found:
        pytest.skip("terraform is not installed")
    return found


@functools.lru_cache
def options_of_init():
    configured = os.environ.get("TF_CLI_CONFIG_FILE")
    if configured and pathlib.Path(configured).is_file() and "mirror" in pathlib.Path(configured).read_text():
        return ()
    for mirror in _mirrors():
        if list(mirror.glob(f"registry.terraform.io/{PROVIDER}/*")):
            return (f"-plugin-dir={mirror}",)
    pytest.skip(f"terraform finds no provider {PROVIDER} on this machine")


def environment(**more):
    """Ours, without credentials, without a configuration file that is not there, and without looking for updates."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    configured = os.environ.get("TF_CLI_CONFIG_FILE")
    if configured and pathlib.Path(configured).is_file():
        kept["TF_CLI_CONFIG_FILE"] = configured
    return {**kept, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "AWS_EC2_METADATA_DISABLED": "true", **more}


class Root:
    """A copy of a root of deploy/, with the files beside it that it reads."""

    def __init__(self, folder, name):
        for one in ("deploy", "hpa"):
            shutil.copytree(ROOT / one, folder / one, ignore=shutil.ignore_patterns("state", ".terraform*", "*_override.tf"))
        self.path = folder / "deploy" / name

    def run(self, *arguments, timeout=300, **env):
        return subprocess.run([program(), f"-chdir={self.path}", *arguments], capture_output=True, text=True, check=False,
                              timeout=timeout, env=environment(**env))

    def must(self, *arguments, **more):
        ended = self.run(*arguments, **more)
        assert not ended.returncode, f"terraform {' '.join(arguments)}\n{ended.stdout[-6000:]}\n{ended.stderr[-6000:]}"
        return ended.stdout

    def init(self):
        self.must("init", "-input=false", "-no-color", "-backend=false", *options_of_init())
        return self
