# SPDX-License-Identifier: Apache-2.0
"""deploy/: a plain host becomes a fleet by the playbook, and its units tolerate what the programs do.

One host that is everything: systemd in a container, RabbitMQ and Redis as Debian starts them. Skipped where no such
container can be made.
"""

import hashlib
import json
import os
import subprocess

import numpy
import pytest
from PIL import Image

import host
from harness import BUILD, IS_SANITIZED, REPOSITORY, eventually

ADDRESS = "192.0.2.1"
INVENTORY = """\
[servers]
localhost address={address}
[gateways]
localhost address={address}
[workers]
localhost
[all:vars]
ansible_connection=local
ansible_python_interpreter=/usr/bin/python3
build_here=false
refresh_packages=false
secrets=/root/secrets
commands_file={commands}
grace_seconds=20
staging={staging}
"""
COMMANDS = {"shout": {"argv": ["/usr/bin/tr", "a-z", "A-Z"], "input": "stdin", "output": "stdout"},
            "peek": {"argv": ["/bin/sh", "-c", "cat /proc/[0-9]*/environ 2>&1; true"], "input": "stdin",
                     "output": "stdout"}}


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    reason = "what is installed is no sanitized build" if IS_SANITIZED else host.why_not_here()
    if reason:
        pytest.skip(f"no host can be made: {reason}")
    folder = tmp_path_factory.mktemp("host")
    staging, shown = folder / "staging", folder / "shown"
    shown.mkdir()
    subprocess.run(["cmake", "--install", BUILD, "--prefix", staging], check=True, capture_output=True)
    (shown / "commands.json").write_text(json.dumps(COMMANDS))
    (shown / "hosts.ini").write_text(INVENTORY.format(address=ADDRESS, staging=staging,
                                                      commands=shown / "commands.json"))
    made = host.Host("head", ADDRESS, str(folder), [os.path.join(REPOSITORY, "deploy"), str(staging), str(shown)])
    made.shown = shown
    try:
        yield made
    finally:
        made.close()


def play(machine):
    """Runs the playbook; how many tasks changed something."""
    said = machine.run("ansible-playbook", "-i", machine.shown / "hosts.ini",
                       os.path.join(REPOSITORY, "deploy", "hosts", "site.yml"), timeout=400)
    return int(said.rsplit("changed=", 1)[1].split()[0])


def millrace(machine, *words):
    """The client on that host, with the key that the playbook made."""
    return machine.run("env", f"MILLRACE_URL=http://{ADDRESS}:8080", "MILLRACE_API_KEY=@/root/secrets/client.key",
                       "millrace", *words, timeout=120).strip()


def main_pid(machine, unit):
    return int(machine.run("systemctl", "show", "--property=MainPID", "--value", unit))


def is_ready(machine):
    return machine.try_run("test", "-e", "/run/millrace-worker/ready").returncode == 0


@pytest.fixture(scope="module")
def fleet(machine):
    assert play(machine) > 10
    return machine


def test_the_playbook_changes_nothing_the_second_time(fleet):
    units = ("millrace-api", "millrace-worker", "rabbitmq-server", "redis-server")
    pids = [main_pid(fleet, unit) for unit in units]
    assert all(pids)
    assert play(fleet) == 0
    assert pids == [main_pid(fleet, unit) for unit in units]


def test_every_executor_works_inside_the_unit(fleet):
    data = os.urandom(1_000_000)  # beyond a message: by the gateway's /blobs, with the worker's key
    (fleet.shown / "data").write_bytes(data)
    assert millrace(fleet, "hash", fleet.shown / "data", "-n", "1") == hashlib.sha512(data).hexdigest()

    numpy.save(fleet.shown / "A.npy", numpy.eye(300) * 2)
    millrace(fleet, "matmul", fleet.shown / "A.npy", fleet.shown / "A.npy", "-o", "/root/C.npy")
    assert fleet.run("stat", "-c", "%s", "/root/C.npy").strip() == str(128 + 300 * 300 * 8)

    (fleet.shown / "leaves").mkdir()
    Image.frombytes("RGB", (700, 500), os.urandom(700 * 500 * 3)).save(fleet.shown / "leaves" / "leaf.png")
    said = millrace(fleet, "map", "--kind", "image", "--ops", "rotate:90", fleet.shown / "leaves", "/root/turned")
    assert "1 of 1 files done" in said

    (fleet.shown / "words").write_text("leaves")
    shout = millrace(fleet, "submit", "command", "command=shout", "-f", fleet.shown / "words")
    assert millrace(fleet, "wait", shout).endswith("completed")
    assert millrace(fleet, "result", shout) == "LEAVES"
    log = fleet.run("journalctl", "--no-pager", "--unit", "millrace-worker")
    assert "executor-broken" not in log, log


def test_nobody_comes_in_without_a_secret(fleet):
    assert "NOAUTH" in fleet.run("redis-cli", "-h", ADDRESS, "ping")
    assert fleet.try_run("rabbitmqctl", "authenticate_user", "guest", "guest").returncode
    refused = fleet.try_run("env", f"MILLRACE_URL=http://{ADDRESS}:8080", "millrace", "stats")
    assert refused.returncode == 3 and "401" in refused.stderr
    for name in ("common.env", "keys", "worker.key"):
        assert fleet.run("stat", "-c", "%U %A", f"/etc/millrace/{name}").split()[1].endswith("---"), name
    assert fleet.run("ps", "-o", "user=", "-p", main_pid(fleet, "millrace-worker")).strip() == "millrace"


def test_a_listed_program_sees_no_password(fleet):
    (fleet.shown / "nothing").write_text("-")
    peek = millrace(fleet, "submit", "command", "command=peek", "-f", fleet.shown / "nothing")
    assert millrace(fleet, "wait", peek).endswith("completed")
    seen = millrace(fleet, "result", peek)
    assert "HOME=" in seen and "MILLRACE_AMQP_URL" not in seen and "MILLRACE_REDIS_URL" not in seen


def test_a_stop_lets_the_running_job_finish(fleet):
    job = millrace(fleet, "submit", "spin", "seconds=3")
    eventually(lambda: json.loads(millrace(fleet, "status", job, "--json"))["state"] == "in-progress", deadline=20)
    fleet.run("systemctl", "stop", "millrace-worker", timeout=60)
    record = json.loads(millrace(fleet, "status", job, "--json"))
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)
    assert fleet.run("systemctl", "show", "--property=Result", "--value", "millrace-worker").strip() == "success"
    assert not is_ready(fleet)
    fleet.run("systemctl", "start", "millrace-worker")
    eventually(lambda: is_ready(fleet), deadline=30, what="the worker is back")


def test_what_dies_is_started_again(fleet):
    for unit in ("millrace-api", "millrace-worker"):
        before = main_pid(fleet, unit)
        fleet.run("kill", "-KILL", str(before))
        eventually(lambda: main_pid(fleet, unit) not in (0, before), deadline=20, what=f"{unit} again")
    (fleet.shown / "more").write_bytes(b"leaf")
    assert millrace(fleet, "--patience", "30", "hash", fleet.shown / "more", "-n", "1") == \
        hashlib.sha512(b"leaf").hexdigest()


def test_redis_comes_up_when_its_address_comes_late(fleet):
    """As at a boot. Debian's unit alone gives up for good after five tries."""
    def show(name):
        return fleet.run("systemctl", "show", f"--property={name}", "--value", "redis-server").strip()

    fleet.run("systemctl", "stop", "redis-server")
    fleet.run("ip", "address", "del", f"{ADDRESS}/24", "dev", "lan")
    fleet.try_run("systemctl", "start", "redis-server")
    eventually(lambda: int(show("NRestarts")) > 0, what="a failed start")
    assert show("StartLimitIntervalUSec") == "0"
    fleet.run("ip", "address", "add", f"{ADDRESS}/24", "dev", "lan")
    eventually(lambda: show("ActiveState") == "active", what="redis-server is up")
