# SPDX-License-Identifier: Apache-2.0
"""The broker or Redis goes away, fills up, forgets or freezes: nothing accepted is lost, the gateway answers."""
import hashlib
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import LONG, eventually
from proxy import Proxy
from replica import Replica

HURRY = {"MILLRACE_CONFIRM_DEADLINE_MS": 500, "MILLRACE_HEARTBEAT_SECONDS": 2}


def sha(data, rounds=1):
    for _ in range(rounds):
        data = hashlib.sha512(data).digest()
    return data.hex()


def answered(status, answer):
    """For eventually: a refusal is false by itself, so it comes in a list."""
    return [answer] if answer.status_code == status else None


def answers_quickly(fleet, job):
    """Probes and reads do not wait for a broker that is silent."""
    slowest = 0
    for path in ("/healthz", f"/jobs/{job}") * 10:
        start = time.monotonic()
        assert fleet.call("GET", path).status_code == 200
        slowest = max(slowest, time.monotonic() - start)
    return slowest


def all_complete(fleet, jobs, deadline=60):
    for job, value in jobs.items():
        record = fleet.wait_end(job, deadline)
        assert record["state"] == "completed", record
        assert fleet.result(job).json()["value"] == value
    return fleet.assert_adds_up()


# ---- the broker ------------------------------------------------------------------------


def test_a_frozen_broker_sends_jobs_to_the_outbox_and_reads_go_on(servers, make_fleet):
    fleet = make_fleet(servers, **HURRY)
    fleet.start_gateway()
    fleet.start_worker()
    before = fleet.submit_hash(b"before")
    fleet.wait_end(before)
    servers.rabbitmq.sigstop()
    jobs = {}
    for i in range(5):
        answer = fleet.call("PUT", "/enqueue?iterations=1", data=b"%d" % i)
        assert answer.status_code == 202 and answer.json()["held"] == "outbox", answer.text
        jobs[answer.json()["id"]] = sha(b"%d" % i)
        # A silent broker shows only in confirms that do not come: the loop never waits for it.
        assert answers_quickly(fleet, before) < 1
    assert fleet.call("GET", "/readyz").status_code == 200
    eventually(lambda: fleet.call("GET", "/readyz").json()["accepts_by"] == "outbox", deadline=20)
    assert fleet.stats()["outbox"]["count"] == 5
    servers.rabbitmq.sigcont()
    jobs[before] = sha(b"before")
    all_complete(fleet, jobs)
    eventually(lambda: fleet.stats()["outbox"] == {"count": 0, "bytes": 0})
    eventually(lambda: fleet.call("GET", "/readyz").json()["accepts_by"] == "broker", deadline=20)


def test_a_full_outbox_is_a_503_and_no_job(servers, make_fleet):
    fleet = make_fleet(servers, MILLRACE_OUTBOX_MAX="20K", **HURRY)
    fleet.start_gateway()
    servers.rabbitmq.kill9()
    eventually(lambda: fleet.call("GET", "/readyz").json().get("accepts_by") == "outbox", deadline=20)
    codes = [fleet.call("PUT", "/enqueue?iterations=1", data=b"x" * 8000) for _ in range(4)]
    assert [answer.status_code for answer in codes] == [202, 202, 503, 503]
    assert codes[3].headers["Retry-After"] and codes[3].json()["code"] == "broker-down"
    assert fleet.assert_adds_up()["accepted"] == 2
    servers.rabbitmq.start()
    servers.rabbitmq.wait_ready()
    fleet.start_worker()
    eventually(lambda: fleet.stats()["jobs"]["completed"] == 2, deadline=30)
    eventually(lambda: fleet.call("PUT", "/enqueue?iterations=1", data=b"y" * 8000).status_code == 202)


def test_a_broker_out_of_memory_blocks_nobody(servers, make_fleet):
    """connection.blocked: the broker stops reading; jobs go to the outbox, and through when it is over."""
    fleet = make_fleet(servers, **HURRY)
    fleet.start_gateway()
    fleet.start_worker()
    first = fleet.submit_hash(b"first")
    fleet.wait_end(first)

    set_alarm(servers, "0.00001")
    try:
        jobs = {first: sha(b"first")}
        for i in range(20):
            answer = fleet.call("PUT", "/enqueue?iterations=1", data=b"%d" % i * 8000)
            assert answer.status_code == 202, answer.text
            jobs[answer.json()["id"]] = sha(b"%d" % i * 8000)
        assert answer.json().get("held") == "outbox"
        assert answers_quickly(fleet, first) < 1
    finally:
        set_alarm(servers, "0.6")
    all_complete(fleet, jobs)


def set_alarm(servers, watermark):
    program = servers.rabbitmq.program
    tool = "/usr/lib/rabbitmq/bin/rabbitmqctl"
    done = subprocess.run([tool, "-n", program.env["RABBITMQ_NODENAME"], "set_vm_memory_high_watermark", watermark],
                          env=program.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done


def test_a_broker_that_is_killed_under_a_running_job_costs_nothing(servers, fleet):
    """The worker says that it lost its delivery, goes on, and settles without an ack: no loss, no second run."""
    fleet.start_gateway()
    fleet.start_worker()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=12)
    fleet.wait_state(job, "in-progress")
    servers.rabbitmq.restart()
    record = fleet.wait_end(job, 60)
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)
    assert fleet.wait_end(fleet.submit("spin", seconds=0), 30)["state"] == "completed"
    fleet.assert_adds_up()


def test_a_channel_cut_under_a_running_job_costs_nothing(servers, make_fleet):
    proxy = Proxy(servers.amqp_port)
    try:
        fleet = make_fleet(servers)
        fleet.start_gateway()
        fleet.start_worker(MILLRACE_AMQP_URL=proxy.url(servers.amqp_url))
        fleet.start_worker(MILLRACE_AMQP_URL=proxy.url(servers.amqp_url))
        job = fleet.submit("spin", seconds=5)
        fleet.wait_state(job, "in-progress")
        for _ in range(3):
            proxy.cut()
            eventually(lambda: all(worker.is_ready() for worker in fleet.workers), deadline=20)
        record = fleet.wait_end(job, 60)
        assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)
    finally:
        proxy.close()


def test_a_deleted_queue_loses_no_job_that_is_held(servers, fleet):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=3)
    fleet.wait_state(job, "in-progress")
    connection = servers.amqp()
    connection.channel().queue_delete("millrace.spin")
    connection.close()
    assert fleet.wait_end(job)["state"] == "completed"
    assert fleet.wait_end(fleet.submit("spin", seconds=0))["state"] == "completed"


def test_an_unroutable_publish_goes_to_the_outbox(servers, make_fleet):
    fleet = make_fleet(servers)
    fleet.start_gateway()
    connection = servers.amqp()
    connection.channel().queue_delete("millrace.hash")
    answer = fleet.call("PUT", "/enqueue?iterations=1", data=b"x")
    assert answer.status_code == 202 and answer.json()["held"] == "outbox"
    connection.close()
    fleet.start_worker()  # declares it again
    assert fleet.wait_end(answer.json()["id"])["state"] == "completed"


# ---- Redis --------------------------------------------------------------------------------


def test_redis_down_is_a_503_and_a_result_made_meanwhile_is_kept(servers, fleet):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=2)
    fleet.wait_state(job, "in-progress")
    time_of_end = time.monotonic() + 2.5
    servers.redis.kill9()
    answer = eventually(lambda: answered(503, fleet.call("PUT", "/enqueue?iterations=1", data=b"x")))[0]
    assert answer.headers["Retry-After"] and answer.headers["Content-Type"] == "application/problem+json"
    assert fleet.call("GET", f"/jobs/{job}").status_code == 503
    assert fleet.call("GET", "/readyz").status_code == 503
    assert fleet.call("GET", "/healthz").status_code == 200
    assert fleet.call("GET", "/metrics").status_code == 200
    eventually(lambda: time.monotonic() > time_of_end)  # the job ends while nobody can be told
    servers.redis.start()
    servers.redis.wait_ready()
    eventually(lambda: fleet.call("GET", "/readyz").status_code == 200)
    record = fleet.wait_end(job)
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)
    fleet.assert_adds_up()


def test_a_frozen_redis_is_answered_for_within_seconds(servers, fleet):
    fleet.start_gateway()
    job = fleet.submit_hash(b"x")
    servers.redis.sigstop()
    start = time.monotonic()
    assert fleet.call("GET", f"/jobs/{job}").status_code == 503
    assert fleet.call("GET", "/healthz").status_code == 200
    assert time.monotonic() - start < 20
    servers.redis.sigcont()
    eventually(lambda: fleet.call("GET", f"/jobs/{job}").status_code == 200)


def test_who_waits_gets_his_answer_though_the_end_was_told_to_nobody(servers, make_fleet):
    proxy = Proxy(servers.redis_port)
    try:
        fleet = make_fleet(servers)
        fleet.start_gateway(MILLRACE_REDIS_URL=proxy.url(servers.redis_url))
        fleet.start_worker()
        job, answers = fleet.submit("spin", seconds=1), []
        waits = threading.Thread(target=lambda: answers.append(fleet.call("GET", f"/jobs/{job}?wait=50")))
        waits.start()
        eventually(lambda: servers.store().hget(f"job:{job}", "watch"))
        proxy.refusing = True
        servers.store().client_kill_filter(_type="pubsub")
        eventually(lambda: servers.store().hget(f"job:{job}", "state") == "completed")
        assert servers.store().pubsub_numsub("millrace:ended")[0][1] == 0 and not answers
        proxy.refusing = False
        waits.join(10)  # a subscription is tried again within 2 s
        assert answers and answers[0].json()["state"] == "completed"
    finally:
        proxy.close()


def test_redis_that_lost_everything_makes_queued_jobs_again(servers, fleet):
    fleet.start_gateway()
    jobs = {fleet.submit_hash(b"%d" % i): sha(b"%d" % i) for i in range(20)}
    servers.store().flushall()
    some = next(iter(jobs))
    answer = eventually(lambda: answered(404, fleet.call("GET", f"/jobs/{some}")))[0]
    assert "lost its data" in answer.json()["detail"]
    fleet.start_worker()
    for job, value in jobs.items():
        eventually(lambda: (fleet.job(job) or {}).get("state") == "completed", deadline=30)
        assert fleet.result(job).json()["value"] == value
    counts = fleet.assert_adds_up()
    assert counts["accepted"] == counts["completed"] == 20


def test_redis_that_lost_everything_under_a_running_job(servers, fleet):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=3)
    fleet.wait_state(job, "in-progress")
    servers.store().flushall()
    eventually(lambda: (fleet.job(job) or {}).get("state") == "completed", deadline=30)
    assert fleet.wait_end(fleet.submit("spin", seconds=0))["state"] == "completed"
    fleet.assert_adds_up()


def test_a_full_redis_refuses_new_jobs_and_settles_old_ones(servers, fleet):
    fleet.start_gateway()
    jobs = {fleet.submit_hash(b"%d" % i): sha(b"%d" % i) for i in range(10)}
    store = servers.store()
    store.config_set("maxmemory", 1)
    try:
        answer = fleet.call("PUT", "/enqueue?iterations=1", data=b"x")
        assert answer.status_code == 503 and answer.json()["code"] == "store-full" and answer.headers["Retry-After"]
        fleet.start_worker()
        all_complete(fleet, jobs)
        assert len(fleet.pull()) == 10
    finally:
        store.config_set("maxmemory", 0)
    assert fleet.wait_end(fleet.submit_hash(b"x"))["state"] == "completed"


def test_a_queue_that_the_broker_cannot_make_is_named(private_servers, make_fleet):
    """The broker says "internal error" and no more; here because the queue's folder cannot be made."""
    program = private_servers.rabbitmq.program
    [names] = Path(program.env["RABBITMQ_MNESIA_BASE"]).rglob("quorum/*/names.dets")
    if subprocess.run(["chattr", "+i", names.parent], check=False).returncode:
        pytest.skip("no file can be made immutable here")
    try:
        gateway = make_fleet(private_servers).start_gateway(wait=False)
        eventually(lambda: "broker-topology queue=millrace.dead code=541" in gateway.log())
    finally:
        subprocess.run(["chattr", "-i", names.parent], check=True)
    gateway.wait_ready()


def test_an_evicting_redis_is_not_used(private_servers, make_fleet):
    private_servers.store().config_set("maxmemory", "100mb")
    private_servers.store().config_set("maxmemory-policy", "allkeys-lru")
    fleet = make_fleet(private_servers)
    gateway = fleet.start_gateway(wait=False)
    eventually(lambda: "noeviction" in gateway.log())
    assert fleet.call("GET", "/readyz").status_code == 503


# ---- both, under load -----------------------------------------------------------------------


class Load(threading.Thread):
    """Submits hashes one after the other until told to end; a 5xx is tried again under the same key."""

    def __init__(self, fleet, name):
        super().__init__(daemon=True)
        self.fleet, self.label, self.accepted, self.ending = fleet, name, {}, threading.Event()
        self.other_codes = set()

    def run(self):
        number = 0
        while not self.ending.is_set():
            data = f"{self.label}-{number}".encode()
            gateway = self.fleet.gateways[number % len(self.fleet.gateways)]
            try:
                answer = self.fleet.call("PUT", "/enqueue?iterations=3", gateway, data=data,
                                         headers={"Idempotency-Key": data.decode()})
            except OSError:  # the gateway was killed: its answer is unknown, so ask the same again
                continue
            if answer.status_code == 202:
                self.accepted[answer.json()["id"]] = sha(data, 3)
                number += 1
            elif answer.status_code != 503:
                self.other_codes.add(answer.status_code)

    def end(self):
        self.ending.set()
        self.join(90)
        assert not self.is_alive() and not self.other_codes
        return self.accepted


@pytest.mark.parametrize("victim", ["rabbitmq", "redis"])
def test_a_server_killed_and_restarted_under_load_loses_nothing(servers, make_fleet, victim):
    fleet = make_fleet(servers, **HURRY)
    fleet.start_gateway()
    fleet.start_gateway()
    fleet.start_worker()
    fleet.start_worker()
    loads = [Load(fleet, f"{victim}-{i}") for i in range(4)]
    for load in loads:
        load.start()
    rounds = 4 if LONG else 2
    for _ in range(rounds):
        before = sum(len(load.accepted) for load in loads)
        eventually(lambda: sum(len(load.accepted) for load in loads) > before + 100, deadline=60)
        getattr(servers, victim).restart()
    before = sum(len(load.accepted) for load in loads)
    eventually(lambda: sum(len(load.accepted) for load in loads) > before + 100, deadline=60)
    accepted = {}
    for load in loads:
        accepted.update(load.end())
    all_complete(fleet, accepted, deadline=90)


def test_a_failover_of_redis_under_load_loses_nothing(servers, make_fleet, tmp_path):
    """The replica takes over without the last writes of the primary: messages and clients know what they were."""
    proxy, replica = Proxy(servers.redis_port), Replica(servers, tmp_path)
    try:
        fleet = make_fleet(servers, MILLRACE_REDIS_URL=proxy.url(servers.redis_url), **HURRY)
        fleet.start_gateway()
        fleet.start_worker()
        fleet.start_worker()
        loads = [Load(fleet, f"failover-{i}") for i in range(4)]
        for load in loads:
            load.start()
        eventually(lambda: sum(len(load.accepted) for load in loads) > 100, deadline=60)
        replica.link.frozen = True  # a replica that lags
        before = sum(len(load.accepted) for load in loads)
        eventually(lambda: sum(len(load.accepted) for load in loads) > before + 20, deadline=60)
        servers.redis.kill9()
        replica.promote()
        proxy.target = replica.port
        proxy.cut()
        eventually(lambda: sum(len(load.accepted) for load in loads) > before + 200, deadline=60)
        accepted = {}
        for load in loads:
            accepted.update(load.end())
        all_complete(fleet, accepted, deadline=90)
        fleet.stop()
    finally:
        replica.close()
        proxy.close()
