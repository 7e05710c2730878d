# SPDX-License-Identifier: Apache-2.0
"""What is installed on hosts stays true: units, examples of settings and the playbook name what there is."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build" / "release"))
SYSTEMD = ROOT / "deploy" / "systemd"
ROLE = ROOT / "deploy" / "hosts" / "roles" / "millrace"
UNITS = sorted(SYSTEMD.glob("*.service"))


def settings():
    """Name -> (who reads it, its default)."""
    table = (ROOT / "common" / "settings.def").read_text()
    rows = re.findall(r'^SETTING\((\w+), .*?"(MILLRACE_\w+)",[^"]*"([^"]*)"', table, re.MULTILINE)
    return {name: (who, default) for who, name, default in rows}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The prefix after cmake --install; it stands for /usr/local."""
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", prefix], check=True, capture_output=True)
    return prefix


def daemons_settings(text):
    """The names in the lines of an environment file or unit, also in those that are examples in comments."""
    return set(re.findall(r"^(?:Environment=|#)?(MILLRACE_\w+)=", text, re.MULTILINE))


@pytest.mark.parametrize("path", [*UNITS, *sorted(SYSTEMD.glob("*.env")), *sorted(ROLE.glob("templates/*.env.j2"))],
                         ids=lambda path: path.name)
def test_every_setting_exists_and_is_read_there(path):
    names = daemons_settings(path.read_text())
    assert names or path.name == "millrace-api.service"
    reader = {"api": {"API", "BOTH"}, "millrace-api": {"API", "BOTH"}, "common": {"BOTH"}}.get(
        path.name.split(".")[0], {"WORKER", "BOTH"})
    known = settings()
    for name in names:
        assert name in known and known[name][0] in reader, f"{path.name}: {name}"


@pytest.mark.parametrize("path", [ROOT / "docs" / "machines.md", *sorted(ROLE.rglob("*.yml"))], ids=lambda path: path.name)
def test_every_setting_that_is_written_about_exists(path):
    names = set(re.findall(r"MILLRACE_[A-Z_]+[A-Z]", path.read_text()))
    assert names <= set(settings()), path


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_starts_a_program_that_is_installed_with_files_that_are_described(installed, unit):
    text = unit.read_text()
    program, = re.findall(r"^ExecStart=/usr/local/(\S+)$", text, re.MULTILINE)
    assert os.access(installed / program, os.X_OK)
    assert (installed / "lib" / "systemd" / "system" / unit.name).read_text() == text
    for name in re.findall(r"^EnvironmentFile=/etc/millrace/(\S+)$", text, re.MULTILINE):
        assert (SYSTEMD / name).exists() and (ROLE / "templates" / f"{name}.j2").exists()
    assert f'u {re.search("^User=(.*)", text, re.MULTILINE)[1]} ' in (installed / "lib/sysusers.d/millrace.conf").read_text()


def test_a_worker_has_the_time_to_drain():
    unit = (SYSTEMD / "millrace-worker.service").read_text()
    source = (ROOT / "worker" / "main.c").read_text()
    stop_s = int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.MULTILINE)[1])
    after_ms = sum(int(re.search(rf"#define {name} (\d+)", source)[1]) for name in ("HANDBACK_MS", "LEAVE_MS"))
    grace_s = int(settings()["MILLRACE_GRACE_SECONDS"][1])
    assert stop_s * 1000 > grace_s * 1000 + after_ms
    assert re.search(r"^KillMode=mixed", unit, re.MULTILINE)  # the executors' jobs are the worker's to end
    extra_s = int(re.search(r"\+ (\d+)", (ROLE / "templates" / "grace.conf.j2").read_text())[1])
    assert extra_s * 1000 > after_ms
    assert f"grace_seconds: {grace_s}\n" in (ROLE / "defaults" / "main.yml").read_text()


def test_a_gateway_has_the_time_to_answer():
    stop_ms = int(re.search(r"#define STOP_MAX_MS (\d+)", (ROOT / "api" / "main.c").read_text())[1])
    unit = (SYSTEMD / "millrace-api.service").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.MULTILINE)[1]) * 1000 > stop_ms


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_unit(installed, unit, tmp_path):
    there = tmp_path / unit.name
    there.write_text(unit.read_text().replace("/usr/local", str(installed)))
    found = subprocess.run(["systemd-analyze", "verify", "--recursive-errors=no", there], capture_output=True, text=True,
                           check=False)
    assert not found.returncode and unit.name not in found.stderr, found.stderr
    graded = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", there],
                            capture_output=True, text=True, check=False)
    assert not graded.returncode, graded.stdout


def test_the_playbook_installs_every_library_that_the_programs_load(installed):
    """Those that the C library's own packages and a listed library's dependencies do not bring."""
    listed = set(re.findall(r"^  - (lib\S+)$", (ROLE / "defaults" / "main.yml").read_text(), re.MULTILINE))
    by_hand = (ROOT / "docs" / "machines.md").read_text()
    assert all(re.search(rf"\s{re.escape(package)}\s", by_hand) for package in listed)
    needed = set()
    for program in (installed / "bin").iterdir():
        table = subprocess.run(["readelf", "--dynamic", program], capture_output=True, text=True, check=True).stdout
        needed |= set(re.findall(r"\(NEEDED\).*\[(.*)\]", table))
    brought = set(re.findall(r"lib\S+", subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Depends}\n", "libvips42", "gcc"], capture_output=True, text=True,
        check=True).stdout)) | {"libc6", "libstdc++6", "libgcc-s1"}
    for library in needed:
        owners = package_of(library)
        assert owners & (listed | brought), f"{library} is of {owners}"


def package_of(library):
    found = subprocess.run(["dpkg-query", "--search", f"*/{library}"], capture_output=True, text=True, check=False).stdout
    return {line.split(":")[0] for line in found.splitlines()}


@pytest.mark.skipif(not shutil.which("ansible-playbook"), reason="ansible-playbook is not installed")
def test_ansible_understands_the_playbook(tmp_path):
    checked = subprocess.run(["ansible-playbook", "--syntax-check", "-i", ROOT / "deploy/hosts/hosts.ini.example",
                              ROOT / "deploy/hosts/site.yml"], capture_output=True, text=True, check=False,
                             env={**os.environ, "HOME": str(tmp_path)})
    assert not checked.returncode and "WARNING" not in checked.stderr, checked.stderr


def test_the_role_has_every_template_that_it_names():
    named = set()
    for path in ROLE.rglob("*.yml"):
        named |= set(re.findall(r"[\w.]+\.j2", path.read_text()))
    assert named == {path.name for path in (ROLE / "templates").iterdir()}
