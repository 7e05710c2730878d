# SPDX-License-Identifier: Apache-2.0
"""What gateways and workers say of jobs: every line is an object, every transition of a job is one line of one program."""
import fcntl
import json
import os
import re
import signal
import uuid

import pika
import pytest

from bench import Bench
from harness import eventually, events_of

KEYS = ["time", "level", "program", "pid", "event"]
TRANSITIONS = {"job-accepted", "job-started", "job-split", "job-completed", "job-failed", "job-retrying", "job-lost",
               "job-handed-back", "job-cancelled", "job-retried", "job-replayed", "message-dead"}


def no_twins(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), pairs
    return dict(pairs)


def checked_lines(fleet):
    """All that the programs wrote, none of it anything but objects with the keys of every line in front."""
    lines = []
    for running in fleet.gateways + fleet.workers:
        for text in running.log().splitlines():  # wherever any reader would break a line
            line = json.loads(text, object_pairs_hook=no_twins)
            assert list(line)[:5] == KEYS and line["level"] in ("debug", "info", "warn", "error"), text
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) and len(text) < 4096
            assert line["pid"] == running.pid or not running.is_alive()
            lines.append(line)
    return lines


def life(fleet, job):
    """The transitions of a job, in the order in which they must have happened, as (event, attempt)."""
    lines = [line for line in checked_lines(fleet) if line.get("job_id") == job and line["event"] in TRANSITIONS]
    assert all(line["level"] == "info" and line["kind"] for line in lines)
    return sorted(((line["event"], line.get("attempt", 0)) for line in sorted(lines, key=lambda line: line["time"])),
                  key=lambda step: step[1])


@pytest.fixture
def channel(servers):
    connection = servers.amqp()
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    connection.close()


def end(fleet, job):
    """The record; its last line is written by then or soon."""
    record = fleet.wait_end(job)
    eventually(lambda: fleet.events("job-completed", "job-failed", "job-cancelled", job_id=job))
    return record


def test_the_life_of_a_job_is_followed_by_its_id(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_BACKOFF_BASE_SECONDS=1)
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_KINDS="spin")
    job = fleet.submit("spin", seconds=1)
    fleet.wait_state(job, "in-progress")
    os.kill(worker.executors()[0], signal.SIGKILL)
    assert end(fleet, job)["state"] == "completed"
    assert life(fleet, job) == [("job-accepted", 0), ("job-started", 1), ("job-retrying", 1), ("job-started", 2),
                                ("job-completed", 2)]
    retrying, = fleet.events("job-retrying", job_id=job)
    assert retrying["error"] == "executor-died" and "signal 9" in retrying["reason"] and retrying["again_s"] >= 1
    assert retrying["worker"] == fleet.events("worker-started")[0]["worker"]
    completed, = fleet.events("job-completed", job_id=job)
    assert completed["run_ms"] >= 900 and completed["program"] == "millrace-worker"
    assert fleet.events("job-accepted", job_id=job)[0]["program"] == "millrace-api"


def test_many_jobs_have_three_lines_each(fleet):
    fleet.start_gateway()
    for _ in range(2):
        fleet.start_worker(MILLRACE_SLOTS=2)
    jobs = [fleet.submit_hash(b"%d" % i) for i in range(60)]
    for job in jobs:
        end(fleet, job)
    for job in jobs:
        assert life(fleet, job) == [("job-accepted", 0), ("job-started", 1), ("job-completed", 1)]


def test_a_repeated_submit_is_accepted_once(fleet):
    fleet.start_gateway()
    headers = {"Idempotency-Key": "k1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    job = fleet.submit_hash(b"x", headers=headers)
    assert fleet.submit_hash(b"x", headers=headers) == job
    line, = fleet.events("job-accepted")
    assert line["job_id"] == job and line["traceparent"] == headers["traceparent"]


def test_a_lost_worker_is_one_line_of_the_worker_that_takes_over(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_LEASE_SECONDS=3)
    fleet.start_gateway()
    lost = fleet.start_worker(MILLRACE_KINDS="spin")
    job = fleet.submit("spin", seconds=1)
    eventually(lambda: fleet.events("job-started"), what="the line behind the claim")
    lost.kill9()
    fleet.start_worker(MILLRACE_KINDS="spin")
    assert end(fleet, job)["attempt"] == 2
    assert life(fleet, job) == [("job-accepted", 0), ("job-started", 1), ("job-lost", 1), ("job-started", 2),
                                ("job-completed", 2)]
    assert fleet.events("job-lost")[0]["losses"] == 1


def test_a_job_that_is_lost_too_often_fails_by_the_claim(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_LEASE_SECONDS=3, MILLRACE_LOSSES_MAX=0)
    fleet.start_gateway()
    lost = fleet.start_worker(MILLRACE_KINDS="spin")
    job = fleet.submit("spin", seconds=30)
    eventually(lambda: fleet.events("job-started"), what="the line behind the claim")
    lost.kill9()
    fleet.start_worker(MILLRACE_KINDS="spin")
    end(fleet, job)
    assert life(fleet, job) == [("job-accepted", 0), ("job-started", 1), ("job-failed", 1)]
    assert fleet.events("job-failed")[0]["error"] == "lost"


def test_a_cancel_is_one_line_of_the_gateway_and_the_worker_says_when_it_stopped(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=60)
    fleet.wait_state(job, "in-progress")
    assert fleet.call("DELETE", f"/jobs/{job}").status_code == 202
    eventually(lambda: worker.events("job-stopped", job_id=job))
    assert life(fleet, job) == [("job-accepted", 0), ("job-started", 1), ("job-cancelled", 1)]
    assert len(worker.events("job-stopped")) == 1


def test_a_drained_job_is_handed_back_and_starts_elsewhere(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_GRACE_SECONDS=1)
    fleet.start_gateway()
    drained = fleet.start_worker(MILLRACE_KINDS="spin")
    job = fleet.submit("spin", seconds=2.5)
    fleet.wait_state(job, "in-progress")
    drained.sigterm()
    assert drained.wait() == 0
    fleet.start_worker(MILLRACE_KINDS="spin")
    end(fleet, job)
    names = [event for event, _ in life(fleet, job)]
    assert sorted(names) == ["job-accepted", "job-completed", "job-handed-back", "job-started", "job-started"]
    assert [line["event"] for line in drained.events("worker-stops", "worker-hands-back", "worker-ended")] == [
        "worker-stops", "worker-hands-back", "worker-ended"]


def test_a_failed_job_and_its_retry_by_a_person(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_ATTEMPTS_MAX=1, MILLRACE_TIMEOUT_SECONDS=1, MILLRACE_TIMEOUT_MAX_SECONDS=1)
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=30, timeout=1)
    end(fleet, job)
    assert fleet.call("POST", f"/jobs/{job}/retry").status_code == 202
    eventually(lambda: len(worker.events("job-failed", job_id=job)) == 2)
    names = sorted(event for event, _ in life(fleet, job))
    assert names == ["job-accepted", "job-failed", "job-failed", "job-retried", "job-started", "job-started"]
    assert worker.events("job-failed")[0]["error"] == "timeout"


def test_a_dead_message_and_its_replay(fleet, channel):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = str(uuid.uuid4())
    message = pika.BasicProperties(message_id=job, type="hash", headers={"params": '{"iterations":1}'})
    channel.basic_publish("", "millrace.dead", b"x", message)
    assert eventually(lambda: fleet.call("POST", f"/dead/{job}/replay").status_code == 202)
    end(fleet, job)
    assert life(fleet, job) == [("job-replayed", 0), ("job-started", 1), ("job-completed", 1)]
    bad = str(uuid.uuid4())
    channel.basic_publish("", "millrace.hash", b"x", pika.BasicProperties(message_id=bad, headers={"params": "{"}))
    eventually(lambda: worker.events("message-dead", job_id=bad))
    assert sorted(life(fleet, bad)) == [("job-failed", 1), ("job-started", 1), ("message-dead", 1)]


def test_the_parent_of_a_group_starts_and_splits_once_however_often_it_is_visited(fleet, servers):
    bench = Bench(servers, fleet)
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_SLOTS=2)
    refs = {"blobs": [], "A": {"at": "random", "seed": 1}, "B": {"at": "random", "seed": 2}}
    job = bench.put("matrix", refs=refs, m=1200, k=1200, n=1200, tile_m=300, tile_n=300)
    eventually(lambda: fleet.events("job-completed", parent=job))
    eventually(lambda: bench.hurry() or fleet.job(job)["state"] == "completed")  # a visit before its time
    assert fleet.wait_end(job)["state"] == "completed"
    eventually(lambda: len(fleet.events("job-completed", parent=job)) == 16)
    assert sorted(life(fleet, job)) == [("job-split", 1), ("job-started", 1)]


def test_whatever_strangers_send_the_lines_stay_lines(make_fleet, servers, channel):
    fleet = make_fleet(servers, MILLRACE_LOG="debug")
    fleet.start_gateway()
    worker = fleet.start_worker()
    nasty = ['"}\n{"event":"job-completed"}', "\x1b[2J\x07\x7f", "\u009b31m", "\\", "\u2028\u0085\U0001f389", "x" * 250]
    for text in nasty:
        for message in (pika.BasicProperties(message_id=text, type=text, headers={"params": text}),
                        pika.BasicProperties(message_id=str(uuid.uuid4()), headers={"params": json.dumps({text: text})}),
                        pika.BasicProperties(message_id=str(uuid.uuid4()), headers={"params": "{}", "parent": text})):
            channel.basic_publish("", "millrace.hash", b"x", message)
        fleet.call("POST", f"/jobs/{text[:20]}?x={text}", data=text.encode())
        fleet.call("GET", "/jobs", params={"kind": text}, headers={"traceparent": "x" * 200})
    last = fleet.submit_hash(b"x")
    end(fleet, last)
    eventually(lambda: len(worker.events("message-dead")) >= 2 * len(nasty))
    fleet.stop()
    lines = checked_lines(fleet)
    assert [line["event"] for line in lines].count("job-completed") >= 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for running in fleet.gateways + fleet.workers
                   for c in running.log().replace("\n", ""))


def test_a_log_that_nobody_reads_stops_nobody(fleet, tmp_path):
    """What had no room is counted, and that is said when there is room again."""
    path = tmp_path / "log"
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 2 * 4096)
    fleet.start_gateway(within=("/bin/sh", "-c", f'exec "$@" 2>{path}', "sh"))
    jobs = [fleet.submit_hash(b"%d" % i) for i in range(60)]
    text = b""

    def lost():
        nonlocal text
        jobs.append(fleet.submit_hash(b"and one more"))
        text += os.read(end, 1 << 20)
        return events_of(text.decode(), "log-lines-lost")
    line, = eventually(lost)
    os.close(end)
    assert line["lines"] > 20 and line["level"] == "warn"
    assert line["lines"] + len(events_of(text.decode(), "job-accepted")) >= 60
    assert jobs[-1] in text.decode()
    assert fleet.call("GET", "/healthz").status_code == 200  # nor is a reader that went away missed


def test_without_a_standard_error_nothing_else_is_taken_for_it(fleet):
    gateway = fleet.start_gateway(within=("/bin/sh", "-c", 'exec "$@" 2>&-', "sh"))
    assert os.readlink(f"/proc/{gateway.pid}/fd/2") == "/dev/null"
