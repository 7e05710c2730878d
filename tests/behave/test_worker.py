# SPDX-License-Identifier: Apache-2.0
"""The supervisor alone: messages go in by hand, records are read in Redis. What
takes a gateway is in test_states.py and under tests/faults."""

import os
import signal

import pika
import pytest
from bench import Bench, new_id
from harness import BUILD, eventually

SHORT_LEASE = 3


@pytest.fixture
def bench(servers, fleet):
    return Bench(servers, fleet)


@pytest.fixture
def private_bench(private_servers, make_fleet):
    return Bench(private_servers, make_fleet(private_servers))


@pytest.mark.parametrize("text, said", [("#!/bin/false\n", "executor-broken"), ("", "executor-cannot-start")])
def test_a_broken_executor_is_named_tried_ever_more_slowly_and_gets_no_jobs(bench, tmp_path, text, said):
    path = str(tmp_path / "executor")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)
    bench.fleet.start_worker()  # declares the queues
    bench.fleet.workers[0].stop()
    job = bench.put("hash", b"x", iterations=1)
    worker = bench.fleet.start_worker(wait=False, MILLRACE_EXEC=path, MILLRACE_KINDS="hash,matrix,spin")
    eventually(lambda: len(worker.events(said)) >= 4)
    starts = len(worker.events(said))
    assert path in worker.log() and not worker.is_ready() and starts < 12
    assert bench.ready("hash") == 1 and bench.field(job, "state") is None
    worker.sigterm()
    assert worker.wait() == 0


def test_an_executor_is_replaced_after_its_number_of_jobs(bench):
    worker = bench.fleet.start_worker(MILLRACE_RECYCLE_JOBS=3, MILLRACE_LOG="debug")
    jobs = [bench.put("hash", b"x", iterations=1) for _ in range(12)]
    for job in jobs:
        bench.wait(job, "completed")
    assert len(worker.events("executor-replaced")) == 4
    assert not worker.events("executor-died")


def test_an_executor_has_no_secrets(bench):
    worker = bench.fleet.start_worker(AWS_SECRET_ACCESS_KEY="hush", OPENBLAS_CORETYPE="Haswell")
    executor, = worker.executors()
    with open(f"/proc/{executor}/environ", encoding="utf-8") as file:
        names = {entry.partition("=")[0] for entry in file.read().split("\0") if entry}
    assert names <= {"PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "OPENBLAS_NUM_THREADS",
                     "OPENBLAS_THREAD_TIMEOUT", "OPENBLAS_CORETYPE"}
    links = [os.readlink(f"/proc/{executor}/fd/{fd}") for fd in os.listdir(f"/proc/{executor}/fd")]
    assert sum(link.startswith("socket:") for link in links) == 1, links


def test_a_kernel_that_is_slow_here_is_not_passed_on_and_said_so(bench):
    assert bench.fleet.start_worker().events("kernel", "kernel-slow")
    worker = bench.fleet.start_worker(OPENBLAS_CORETYPE="Nehalem")
    line, = worker.events("kernel", "kernel-slow")
    assert line["level"] == "warn" and line["name"] and "OPENBLAS_CORETYPE=Nehalem" in line["reason"]
    with open(f"/proc/{worker.executors()[0]}/environ", encoding="utf-8") as file:
        assert "Nehalem" not in file.read()


def test_the_ready_file_says_whether_the_broker_confirmed_a_consumer(private_bench):
    worker = private_bench.fleet.start_worker()
    private_bench.servers.rabbitmq.kill9()
    eventually(lambda: not worker.is_ready())
    private_bench.servers.rabbitmq.start()
    private_bench.servers.rabbitmq.wait_ready()
    eventually(worker.is_ready, deadline=30)
    os.kill(worker.executors()[0], signal.SIGKILL)
    private_bench.wait(private_bench.put("hash", b"x", iterations=1), "completed")
    worker.sigterm()
    assert worker.wait() == 0 and not worker.is_ready()


def test_the_time_limit_of_a_job_is_cut_to_the_largest_one(bench):
    bench.fleet.start_worker(MILLRACE_TIMEOUT_SECONDS=1, MILLRACE_TIMEOUT_MAX_SECONDS=1,
                             MILLRACE_ATTEMPTS_MAX=1)
    job = bench.put("spin", seconds=30, timeout=3600)
    bench.wait(job, "failed")
    assert bench.field(job, "code") == "timeout" and "1 s" in bench.field(job, "detail")


@pytest.mark.parametrize("name, size", [("params", 130_850), ("idempotency", 130_850), ("params", 65_537)])
def test_a_message_whose_successor_would_not_fit_a_frame_fails_and_stops_no_slot(bench, name, size):
    worker = bench.fleet.start_worker(MILLRACE_SLOTS=1)
    long, job = new_id(), new_id()
    properties = [pika.BasicProperties(message_id=long, headers={name: "x" * size}),
                  pika.BasicProperties(message_id=job, headers={"params": '{"iterations":1}'})]
    for each in properties:
        bench._on_channel(lambda channel: channel.basic_publish("", "millrace.hash", b"x", each))
    bench.wait(job, "completed")
    assert (bench.field(long, "state"), bench.field(long, "code")) == ("failed", "undecodable")
    assert not worker.events("publish-refused")
    eventually(lambda: worker.events("message-dead"))


def test_an_attempt_that_was_taken_over_is_stopped_and_its_message_settled(bench):
    worker = bench.fleet.start_worker(MILLRACE_LEASE_SECONDS=SHORT_LEASE)
    job = bench.put("spin", seconds=20)
    bench.wait(job, "in-progress")
    executor = worker.executors()[0]
    bench.redis.hset(f"job:{job}", mapping={"fence": 1, "copy": "another", "owner": "somebody"})
    eventually(lambda: executor not in worker.executors())
    bench.redis.hset(f"job:{job}", "state", "completed")  # somebody did it
    eventually(lambda: worker.events("job-ended-before"))
    bench.assert_all_acked("spin")


def test_a_job_that_comes_back_to_the_worker_that_runs_it_is_rebound(private_bench):
    worker = private_bench.fleet.start_worker(MILLRACE_SLOTS=2)
    job = private_bench.put("spin", seconds=20)
    private_bench.wait(job, "in-progress")
    private_bench.servers.rabbitmq.restart()
    eventually(lambda: worker.events("job-rebound"), deadline=30)
    eventually(lambda: private_bench.field(job, "away") == "0")
    private_bench.wait(job, "completed", deadline=40)
    assert private_bench.field(job, "attempt") == "1" and private_bench.field(job, "losses") in (None, "0")
    private_bench.assert_all_acked("spin")


def test_a_slot_that_has_no_executor_does_not_throw_messages_about(private_bench, tmp_path):
    """It got the channel of another one, with a consumer that it would not have been given itself."""
    path, broken = tmp_path / "executor", tmp_path / "broken"
    path.write_text(f'#!/bin/sh\n[ -e {broken} ] && exit 1\nexec {os.path.join(BUILD, "millrace-exec")}\n')
    path.chmod(0o755)
    worker = private_bench.fleet.start_worker(MILLRACE_SLOTS=2, MILLRACE_KINDS="spin", MILLRACE_EXEC=path)
    idle = worker.executors()
    job = private_bench.put("spin", seconds=50)
    private_bench.wait(job, "in-progress")
    private_bench.servers.redis.sigstop()  # so its attempt has failed, and its slot is not yet free
    broken.touch()
    os.kill(busy_one(idle), signal.SIGKILL)
    eventually(lambda: len(worker.events("executor-broken")) >= 6, deadline=30)  # from here on seconds apart
    private_bench.servers.rabbitmq.restart()
    eventually(lambda: worker.events("job-rebound"), deadline=30)
    private_bench.servers.redis.sigcont()
    eventually(lambda: worker.events("job-retrying"))
    others = [private_bench.put("spin", seconds=50) for _ in range(2)]
    eventually(lambda: "in-progress" in [private_bench.field(other, "state") for other in others])
    starts = len(worker.events("executor-broken"))
    eventually(lambda: len(worker.events("executor-broken")) >= starts + 2, deadline=30)
    worker.kill9()
    eventually(lambda: private_bench.ready("spin") == 3)
    assert max(private_bench.take("spin").headers.get("x-delivery-count", 0) for _ in range(3)) < 10


def busy_one(pids):
    """Which of them computes."""
    def times():
        for pid in pids:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                yield int(file.read().rsplit(")", 1)[1].split()[11])
    return eventually(lambda: next((pid for pid, ticks in zip(pids, times()) if ticks > 50), None))


def test_a_failed_attempt_waits_for_the_broker_and_not_with_an_ack(private_bench):
    private_bench.fleet.start_worker(MILLRACE_ATTEMPTS_MAX=2, MILLRACE_BACKOFF_BASE_SECONDS=1)
    job = private_bench.put("spin", seconds=30, timeout=2)
    private_bench.wait(job, "in-progress")
    private_bench.servers.rabbitmq.kill9()
    private_bench.wait(job, "retrying")
    private_bench.servers.rabbitmq.start()
    private_bench.servers.rabbitmq.wait_ready()
    private_bench.wait(job, "failed", deadline=40)
    assert private_bench.field(job, "errors") == "2"
    private_bench.assert_all_acked("spin")


def test_a_drain_without_redis_gives_the_message_back_all_the_same(bench):
    worker = bench.fleet.start_worker(MILLRACE_GRACE_SECONDS=0, MILLRACE_LEASE_SECONDS=SHORT_LEASE)
    job = bench.put("spin", seconds=2)
    bench.wait(job, "in-progress")
    bench.servers.redis.kill9()
    worker.sigterm()
    assert worker.wait() == 0
    bench.servers.redis.start()
    bench.servers.redis.wait_ready()
    bench.fleet.start_worker(MILLRACE_LEASE_SECONDS=SHORT_LEASE)
    bench.wait(job, "completed", deadline=30)
    bench.assert_all_acked("spin")
