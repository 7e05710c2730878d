# SPDX-License-Identifier: Apache-2.0
"""./run up, down and demo: one command brings a whole fleet, keeps it alive, and leaves nothing behind."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import types

import psutil
import pytest
import requests

from fleet import folder, scaler
from harness import eventually, free_port, start_time_of
from local import FLEET, Local, environment, run


def gone(processes):
    return not any(start_time_of(each.pid) and each.is_running() for each in processes)


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """One fleet for the tests that leave it as it was."""
    local = Local(tmp_path_factory.mktemp("steady") / "data", "--workers", "1").up()
    yield local
    local.end()


@pytest.fixture
def make_local(tmp_path):
    made = []

    def make(*arguments, **env):
        made.append(Local(tmp_path / f"data-{len(made)}", *arguments, **env))
        return made[-1]

    yield make
    for local in made:
        local.end()


# -- the scaler's formula ------------------------------------------------------

@pytest.mark.parametrize("ready, unacknowledged, slots, bounds, wanted", [
    (0, 0, 1, (0, 8), 0),
    (0, 0, 1, (2, 8), 2),
    (1, 0, 4, (0, 8), 1),
    (0, 1, 4, (0, 8), 1),
    (4, 4, 4, (0, 8), 2),
    (5, 4, 4, (0, 8), 3),
    (1000, 0, 4, (0, 8), 8),
])
def test_scaler__wants_backlog_by_slots_rounded_up_within_bounds(ready, unacknowledged, slots, bounds, wanted):
    queues = {"hash": {"ready": ready, "unacknowledged": 0}, "spin": {"ready": 0, "unacknowledged": unacknowledged}}
    assert scaler.workers_wanted(queues, slots, *bounds) == wanted


def test_scaler__grows_at_once_and_shrinks_to_the_largest_wish_of_the_window():
    stabiliser = scaler.Stabiliser(seconds=10)
    wishes = [(0, 1), (1, 5), (2, 3), (8, 2), (11, 2), (11.5, 2), (12.5, 2), (23, 0)]
    assert [stabiliser.target(*wish) for wish in wishes] == [1, 5, 5, 5, 5, 3, 2, 0]


def test_scaler__idle_workers_go_first_then_the_youngest():
    workers = [types.SimpleNamespace(pid=pid) for pid in (11, 12, 13)]  # by age, the oldest first
    stats = [{"pid": 11, "busy": 0}, {"pid": 12, "busy": 0}, {"pid": 13, "busy": 1}]
    assert [worker.pid for worker in scaler.surplus_first(workers, stats)] == [12, 11, 13]


# -- up, and what it refuses ---------------------------------------------------

def test_up__a_job_is_computed_and_its_result_is_right(steady):
    content = random.randbytes(20000)
    answer = requests.put(f"{steady.url}/enqueue?iterations=3", data=content, timeout=10)
    steady.completes(answer.json()["id"])
    value = requests.get(f"{steady.url}/jobs/{answer.json()['id']}/result", timeout=10).json()["value"]
    digest = content
    for _ in range(3):
        digest = hashlib.sha512(digest).digest()
    assert value == digest.hex()


def test_up__everything_listens_on_loopback_alone(steady):
    addresses = {connection.laddr.ip for process in steady.everyone()
                 for connection in process.connections() if connection.status == psutil.CONN_LISTEN}
    assert addresses and addresses <= {"127.0.0.1", "::1"}


def test_up__a_second_one_on_the_same_folder_is_refused(steady):
    second = run("up", "--data", steady.data, "--port", "0")
    assert second.returncode == 1
    assert "a fleet already runs on" in second.stderr and "down" in second.stderr


def test_up__a_busy_port_is_named(steady, tmp_path):
    refused = run("up", "--data", str(tmp_path / "data"), "--port", str(steady.port))
    assert refused.returncode == 1
    assert f"port {steady.port} is in use" in refused.stderr


def test_up__a_folder_that_rabbitmq_would_hang_in_is_named(tmp_path):
    refused = run("up", "--data", str(tmp_path / "it's"), "--port", "0")
    assert refused.returncode == 1 and "it's" in refused.stderr and "RabbitMQ" in refused.stderr


def test_up__an_unknown_setting_is_named(tmp_path):
    refused = run("up", "--data", str(tmp_path / "data"), "--port", "0", MILLRACE_SLOT="4")
    assert refused.returncode == 1
    assert "MILLRACE_SLOT is not a setting" in refused.stderr


def test_up__a_malformed_setting_ends_it_with_the_words_of_the_daemon(tmp_path):
    refused = run("up", "--data", str(tmp_path / "data"), "--port", "0", MILLRACE_RETENTION_SECONDS="soon")
    assert refused.returncode == 1
    assert "MILLRACE_RETENTION_SECONDS" in refused.stderr


@pytest.mark.parametrize("argument, value", [
    ("--workers", "4..2"), ("--workers", "0"), ("--workers", "-1..2"), ("--workers", "few"),
    ("--port", "70000"), ("--slots", "x"),
])
def test_up__a_malformed_argument_is_named(argument, value):
    refused = run("up", f"{argument}={value}")
    assert refused.returncode == 2
    assert argument in refused.stderr


# -- supervision ---------------------------------------------------------------

@pytest.mark.parametrize("victim", ["worker-1", "gateway", "redis", "rabbitmq", "epmd"])
def test_supervision__a_killed_program_is_back_within_a_second_with_its_data(steady, victim):
    job = steady.submit(0.01)
    steady.completes(job)
    old = steady.pid_of(victim)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: steady.state()["processes"].get(victim, [old])[0] != old, deadline=1.0, what=f"{victim} again")
    eventually(lambda: requests.get(steady.url + "/readyz", timeout=2).status_code == 200, deadline=30)
    assert steady.job(job)["state"] == "completed"
    steady.completes(steady.submit(0.01))


def test_supervision__a_queued_job_survives_the_death_of_both_servers(make_local):
    local = make_local("--workers", "1").up()
    first, second = local.submit(3), local.submit(0.01)
    for server in ("rabbitmq", "redis"):
        os.kill(local.pid_of(server), signal.SIGKILL)
    local.completes(second, deadline=60)
    local.completes(first, deadline=60)


def test_supervision__what_cannot_be_written_ends_nothing(steady):
    """A disk that is full: neither who runs can be noted, nor a log be opened, for a while."""
    log, note = (os.path.join(steady.data, *names) for names in (("log", "worker-1.log"), ("state.json.new",)))
    old = steady.pid_of("worker-1")
    os.unlink(log)
    for path in (log, note):
        os.mkdir(path)
    try:
        os.kill(old, signal.SIGKILL)
        eventually(lambda: "worker-1 cannot be started" in steady.output())
        os.rmdir(log)
        steady.completes(steady.submit(0.01))
        assert "who runs cannot be noted" in steady.output() and steady.pid_of("worker-1") == old
    finally:
        for path in (log, note):
            if os.path.isdir(path):
                os.rmdir(path)
    eventually(lambda: steady.state()["processes"].get("worker-1", [old])[0] != old, what="worker-1 is noted")
    assert steady.process.poll() is None


def test_supervision__restarts_are_never_more_than_five_seconds_apart():
    from fleet.pool import RESTART_DELAYS
    assert RESTART_DELAYS[0] < 1 and max(RESTART_DELAYS) <= 5


# -- down ----------------------------------------------------------------------

def test_interrupt__running_jobs_finish_and_nothing_is_left(make_local):
    local = make_local("--workers", "1").up()
    job = local.submit(2)
    eventually(lambda: local.job(job)["state"] == "in-progress")
    everyone = local.everyone()
    assert local.stop(signal.SIGINT) == 0
    assert gone(everyone)
    local.up()
    assert local.job(job)["state"] == "completed"
    assert local.job(job)["attempt"] == 1


def test_interrupt__the_second_one_ends_it_at_once(make_local):
    local = make_local("--workers", "1").up()
    job = local.submit(60)
    eventually(lambda: local.job(job)["state"] == "in-progress")
    everyone = local.everyone()
    local.process.send_signal(signal.SIGTERM)
    eventually(lambda: "stopping" in local.output())
    assert local.stop(signal.SIGTERM, seconds=3) == 0
    assert gone(everyone)


def test_killed_supervisor__takes_all_along_and_the_next_up_has_the_data(make_local):
    local = make_local("--workers", "1").up()
    job = local.submit(0.01)
    local.completes(job)
    before, everyone = local.state(), local.everyone()
    local.process.kill()
    local.process.wait()
    eventually(lambda: gone(everyone), deadline=5, what="nothing left")
    local.up()
    assert local.job(job)["state"] == "completed"
    assert [local.state()[key] for key in ("node", "ports")] == [before[key] for key in ("node", "ports")]


def test_folder__keeps_the_name_of_the_queues_when_the_rest_is_lost(tmp_path):
    """A crash of the host may leave state.json empty. Under another name RabbitMQ would begin anew, without a word."""
    names = []
    for _ in range(2):
        kept = folder.Folder(str(tmp_path))
        kept.open()
        names.append(kept.state["node"])
        os.makedirs(kept.file("rabbitmq", "data", kept.state["node"]), exist_ok=True)
        kept.unlock()
        with open(kept.file("state.json"), "w", encoding="utf-8"):
            pass
    assert names[0] == names[1]


def test_detach__an_interrupt_on_the_way_leaves_nothing(tmp_path):
    data = str(tmp_path / "data")
    up = subprocess.Popen([sys.executable, FLEET, "up", "--data", data, "--port", "0", "--detach"], env=environment(),
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    everyone = eventually(lambda: starting(psutil.Process(up.pid)), what="a server")
    up.send_signal(signal.SIGINT)
    assert up.wait(60) != 0
    eventually(lambda: gone(everyone), what="nothing left")


def starting(process):
    """It, its supervisor, and what that has started, once there is such a thing."""
    children = process.children(recursive=True)
    return [process, *children] if len(children) > 1 else None


def test_detach__returns_when_ready_and_down_leaves_nothing(tmp_path):
    data, port = str(tmp_path / "data"), free_port()
    up = run("up", "--data", data, "--port", str(port), "--workers", "0..1", "--detach")
    try:
        assert (up.returncode, up.stdout) == (0, f"ready: http://127.0.0.1:{port}\n"), up.stderr
        with open(os.path.join(data, "state.json"), encoding="utf-8") as file:
            supervisor = psutil.Process(json.load(file)["supervisor"][0])
        everyone = [supervisor, *supervisor.children(recursive=True)]
    finally:
        down = run("down", "--data", data)
    assert down.returncode == 0 and down.stdout == f"stopped the fleet on {data}\n"
    assert gone(everyone)
    assert run("down", "--data", data).stdout == f"nothing runs on {data}\n"


# -- the local scaler at work --------------------------------------------------

def test_scaling__from_zero_to_the_maximum_and_back(make_local):
    local = make_local("--workers", "0..2", "--stabilise", "1").up()
    assert local.workers() == []
    jobs = [local.submit(1) for _ in range(4)]
    eventually(lambda: len(local.workers()) == 2, what="two workers")
    for job in jobs:
        local.completes(job)
    eventually(lambda: local.workers() == [], deadline=20, what="no worker")
    assert [local.job(job)["attempt"] for job in jobs] == [1] * 4
    assert "ended" not in local.output()


def test_scaling__goes_on_when_the_gateway_asks_for_keys(make_local, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"me:{hashlib.sha256(b'secret').hexdigest()}\n")
    local = make_local("--workers", "0..1", MILLRACE_API_KEY_FILE=str(keys)).up()
    assert requests.get(f"{local.url}/stats", timeout=10).status_code == 401
    bearer = {"Authorization": "Bearer secret"}
    answer = requests.post(f"{local.url}/jobs/spin?seconds=0.01", headers=bearer, timeout=10)
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]
    eventually(lambda: requests.get(f"{local.url}/jobs/{job}", headers=bearer, timeout=10).json()["state"]
               == "completed", deadline=20)


def test_up__uses_servers_that_exist(make_local, servers):
    local = make_local("--workers", "1", MILLRACE_AMQP_URL=servers.amqp_url, MILLRACE_REDIS_URL=servers.redis_url).up()
    assert sorted(local.state()["processes"]) == ["gateway", "worker-1"]
    local.completes(local.submit(0.01))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_demo__that_is_ended_from_outside_leaves_nothing(number, tmp_path):
    demo = subprocess.Popen([sys.executable, FLEET, "demo"], env={**environment(), "TMPDIR": str(tmp_path)},
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    everyone = eventually(lambda: starting(psutil.Process(demo.pid)), what="a server")
    demo.send_signal(number)
    assert demo.wait(60) != 0
    eventually(lambda: gone(everyone), deadline=30, what="nothing left")


def test_demo__shows_a_product_and_leaves_nothing():
    demo = run("demo")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert re.search(r"-4\.5 +20\.5", demo.stdout) and "All results are right" in demo.stdout
