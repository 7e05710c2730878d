# SPDX-License-Identifier: Apache-2.0
"""Gateways, workers and executors are killed at every step: each accepted job ends, once."""
import hashlib
import os
import random
import signal

import pytest

from harness import LONG, eventually
from proxy import Proxy


def sha(data, rounds=1):
    for _ in range(rounds):
        data = hashlib.sha512(data).digest()
    return data.hex()


@pytest.fixture
def proxies():
    made = []

    def make(port):
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


# ---- workers ------------------------------------------------------------------------------


def test_worker_killed_at_its_claim(servers, fleet, proxies):
    """The delivery is in its hands, its claim never arrives."""
    proxy = proxies(servers.redis_port)
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_REDIS_URL=proxy.url(servers.redis_url))
    proxy.black_hole = True
    job = fleet.submit_hash(b"x")
    eventually(lambda: fleet.stats()["queues"]["hash"]["ready"] == 0)
    assert fleet.job(job)["state"] == "pending"
    worker.kill9()
    fleet.start_worker()
    record = fleet.wait_end(job)
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)


def test_worker_killed_between_claim_and_its_answer(servers, fleet, proxies):
    """The claim was made, the worker never learned: another one takes over when it asks twice."""
    proxy = proxies(servers.redis_port)
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_REDIS_URL=proxy.url(servers.redis_url))
    job = fleet.submit("spin", seconds=60)
    fleet.wait_state(job, "in-progress")
    fleet.call("DELETE", f"/jobs/{job}")
    worker.kill9()
    job = fleet.submit_hash(b"x")
    fleet.start_worker()
    assert fleet.wait_end(job)["state"] == "completed"


def test_worker_killed_while_it_computes(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=2)
    fleet.wait_state(job, "in-progress")
    executor = worker.executors()[0]
    worker.kill9()
    eventually(lambda: not os.path.exists(f"/proc/{executor}"))  # it dies with its parent
    fleet.start_worker()
    record = fleet.wait_end(job)
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 2, 1)
    fleet.assert_adds_up()


def test_worker_killed_between_finish_and_ack(servers, fleet, proxies):
    """Completed, but the ack is lost: the message comes again and is forgotten."""
    proxy = proxies(servers.amqp_port)
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_AMQP_URL=proxy.url(servers.amqp_url))
    job = fleet.submit("spin", seconds=1)
    fleet.wait_state(job, "in-progress")
    proxy.black_hole = True
    assert fleet.wait_end(job)["state"] == "completed"
    worker.kill9()
    proxy.cut()
    fleet.start_worker()
    eventually(lambda: fleet.stats()["queues"]["spin"]["ready"] == 0)
    after = fleet.submit("spin", seconds=0)
    assert fleet.wait_end(after)["state"] == "completed"
    record = fleet.job(job)
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)
    jobs = fleet.assert_adds_up()
    assert jobs["accepted"] == jobs["completed"] == 2


def test_frozen_worker_loses_its_job_and_may_not_settle_it(servers, make_fleet):
    """SIGSTOP: the lease runs out, another one runs the job; the first one's result is refused."""
    fleet = make_fleet(servers, MILLRACE_LEASE_SECONDS=3, MILLRACE_HEARTBEAT_SECONDS=2)
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=2)
    fleet.wait_state(job, "in-progress")
    executor = worker.executors()[0]
    worker.sigstop()
    os.kill(executor, signal.SIGSTOP)
    second = fleet.start_worker()
    record = fleet.wait_end(job, 60)
    assert record["state"] == "completed" and record["losses"] == 1 and f"-{second.pid}-" in record["worker"]
    os.kill(executor, signal.SIGCONT)
    worker.sigcont()
    other = fleet.submit("spin", seconds=0)
    assert fleet.wait_end(other)["state"] == "completed"
    assert fleet.job(job)["worker"] == record["worker"]
    jobs = fleet.assert_adds_up()
    assert jobs["accepted"] == jobs["completed"] == 2


def test_executor_killed_while_idle_is_replaced(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker()
    first = eventually(worker.executors)[0]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: worker.executors() and worker.executors()[0] != first)
    record = fleet.wait_end(fleet.submit_hash(b"x"))
    assert (record["state"], record["losses"]) == ("completed", 0)


def test_executor_out_of_memory_is_a_loss(servers, make_fleet):
    """What the kernel's OOM killer does, done by hand, as often as is allowed."""
    fleet = make_fleet(servers, MILLRACE_LOSSES_MAX=2)
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=60)
    for losses in (1, 2, 3):
        eventually(lambda: (r := fleet.job(job))["state"] == "in-progress" and r["attempt"] == losses, deadline=30)
        os.kill(eventually(worker.executors)[0], signal.SIGKILL)
        eventually(lambda: fleet.job(job)["losses"] == losses)
    assert fleet.wait_end(job)["error"]["code"] == "lost"
    assert fleet.wait_end(fleet.submit_hash(b"x"))["state"] == "completed" and worker.is_alive()


# ---- gateways ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5000])
def test_gateway_killed_between_record_and_confirm(servers, make_fleet, size):
    """Its client heard nothing and asks another gateway with the same key: one job, and it runs. A large input is a
    blob, another one of each request; the record names both, for both messages may be out."""
    import threading

    body = b"x" * size
    fleet = make_fleet(servers, MILLRACE_CONFIRM_DEADLINE_MS=30000, MILLRACE_INLINE_MAX=4096)
    first, second = fleet.start_gateway(), fleet.start_gateway()
    key = {"Idempotency-Key": "once"}
    servers.rabbitmq.sigstop()
    asked = threading.Thread(target=lambda: pytest.raises(OSError, fleet.submit_hash, body, 1, first, key))
    asked.start()
    eventually(lambda: servers.store().keys("job:*"))
    assert fleet.stats(second)["jobs"]["accepted"] == 0  # a record that nobody was promised
    first.kill9()
    asked.join(20)
    servers.rabbitmq.sigcont()
    job = fleet.submit_hash(body, 1, second, key)
    blobs = servers.store().hget(f"job:{job}", "blobs")
    assert len((blobs or "").split()) == (2 if size > 4096 else 0)
    fleet.start_worker()
    assert fleet.wait_end(job, gateway=second)["state"] == "completed"
    jobs = fleet.assert_adds_up(second)
    assert jobs["accepted"] == jobs["completed"] == 1
    assert [item["id"] for item in fleet.pull(gateway=second)] == [job]


def test_gateway_killed_with_a_full_outbox_loses_none_of_it(servers, make_fleet):
    fleet = make_fleet(servers, MILLRACE_CONFIRM_DEADLINE_MS=300, MILLRACE_HEARTBEAT_SECONDS=2)
    first = fleet.start_gateway()
    servers.rabbitmq.sigstop()
    jobs = {fleet.submit_hash(b"%d" % i): sha(b"%d" % i) for i in range(10)}
    first.kill9()
    servers.rabbitmq.sigcont()
    fleet.gateways.remove(first)
    fleet.start_gateway()
    fleet.start_worker()
    for job, value in jobs.items():
        assert fleet.wait_end(job)["state"] == "completed"
        assert fleet.result(job).json()["value"] == value
    assert fleet.assert_adds_up()["accepted"] == 10


def test_gateway_ends_in_order_on_sigterm(fleet):
    gateway = fleet.start_gateway()
    job = fleet.submit("spin", seconds=60)
    import threading

    answers = []
    waiting = threading.Thread(target=lambda: answers.append(fleet.call("GET", f"/jobs/{job}?wait=60")))
    waiting.start()
    eventually(lambda: "millrace_http_long_polls 1\n" in fleet.call("GET", "/metrics").text)
    gateway.sigterm()
    assert gateway.wait() == 0
    waiting.join(10)
    assert answers[0].status_code == 200 and answers[0].json()["state"] == "pending"


# ---- everything at once ------------------------------------------------------------------------


def test_two_thousand_jobs_over_four_workers_that_are_killed_at_random(servers, make_fleet):
    """At the end accepted = completed, each result right, none handed out twice."""
    fleet = make_fleet(servers, MILLRACE_LOSSES_MAX=1000)
    fleet.start_gateway()
    fleet.start_gateway()
    dice = random.Random(2026)
    count = 10000 if LONG else 2000
    workers = [fleet.start_worker(wait=False) for _ in range(4)]
    expected = {}
    kills = 0

    def kill_one():
        nonlocal kills
        victim = dice.randrange(4)
        workers[victim].kill9()
        fleet.workers.remove(workers[victim])
        workers[victim] = fleet.start_worker(wait=False)
        kills += 1

    for i in range(count):
        rounds = dice.choice((1, 100, 20000))
        job = fleet.submit_hash(b"%d" % i, rounds, gateway=fleet.gateways[i % 2])
        expected[job] = (b"%d" % i, rounds)
        if i % (count // 20) == count // 40:
            kill_one()
    while fleet.stats()["jobs"]["completed"] < count * 0.95:
        done = fleet.stats()["jobs"]["completed"]
        eventually(lambda: fleet.stats()["jobs"]["completed"] >= min(done + count // 10, count * 0.95), deadline=60)
        kill_one()
    eventually(lambda: fleet.stats()["jobs"]["completed"] == count, deadline=120, every=0.2)
    jobs = fleet.assert_adds_up()
    assert jobs["accepted"] == jobs["completed"] == count and kills >= 20
    pulled = {}
    while batch := fleet.pull(gateway=fleet.gateways[len(pulled) % 2]):
        for item in batch:
            assert item["id"] not in pulled
            pulled[item["id"]] = item["value"]
    assert set(pulled) == set(expected)
    for job, (data, rounds) in expected.items():
        assert pulled[job] == sha(data, rounds)
