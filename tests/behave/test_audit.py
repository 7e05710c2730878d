# SPDX-License-Identifier: Apache-2.0
"""GET /audit on a real fleet: silent while all is well, whatever moves; by name when something is not."""
import concurrent.futures
import json
import time
import uuid

import pytest

from harness import eventually, refused
from proxy import Proxy


def audit(fleet, gateway=None):
    answer = fleet.call("GET", "/audit", gateway)
    assert answer.status_code == 200, answer.text
    return answer.json()


def is_fine(report):
    assert report["ok"] is True and report["sum_ok"] and report["exceptions"] == [], json.dumps(report, indent=1)
    assert report["accepted"] == sum(report["states"].values())
    return report


def exceptions(fleet):
    report = audit(fleet)
    assert report["ok"] is False, report
    return report["exceptions"]


def purge(servers, kind):
    connection = servers.amqp()
    connection.channel().queue_purge(f"millrace.{kind}")
    connection.close()


@pytest.fixture
def store(servers):
    return servers.store()


# ---- all is well ------------------------------------------------------------------------


def test_an_empty_fleet_and_an_idle_one_are_fine(fleet):
    fleet.start_gateway()
    report = is_fine(audit(fleet))
    assert report["accepted"] == 0 and report["unchecked"] == [] and report["at"]
    fleet.start_worker()
    done = fleet.submit_hash(b"x")
    fleet.wait_end(done)
    report = is_fine(audit(fleet))
    assert report["states"]["completed"] == 1
    assert report["kinds"]["hash"] == {"live": 0, "messages": 0, "outbox": 0, "leases": 0}
    refused(fleet.call("GET", "/audit?deep=1"), 400, "bad-parameter", "deep")


def test_jobs_that_wait_run_and_retry_are_backed(fleet):
    """Queued, leased, in a delay queue."""
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_KINDS="spin")
    running = fleet.submit("spin", seconds=30)
    fleet.wait_state(running, "in-progress")
    waiting = [fleet.submit("spin", seconds=0) for _ in range(3)]
    hashes = [fleet.submit_hash(b"x") for _ in range(5)]
    report = is_fine(audit(fleet))
    assert report["kinds"]["spin"] == {"live": 4, "messages": 4, "outbox": 0, "leases": 1}
    assert report["kinds"]["hash"]["messages"] == len(hashes) and len(waiting) == 3
    fleet.call("DELETE", f"/jobs/{running}")
    late = fleet.submit("spin", seconds=20, timeout=1)
    fleet.wait_state(late, "retrying", deadline=20)
    report = is_fine(audit(fleet))
    assert report["states"]["retrying"] == 1 and report["delayed"] == 1


def test_a_busy_fleet_gives_no_false_alarm(fleet):
    """500 jobs of two kinds over two workers of two slots, with groups, cancels and retries among them."""
    fleet.start_gateway()
    other = fleet.start_gateway()
    for _ in range(2):
        fleet.start_worker(MILLRACE_SLOTS=2)
    group = fleet.call("POST", "/groups").json()["id"]
    jobs = []
    reports = 0
    for i in range(500):
        kind, params = (("hash", {"iterations": 20_000}) if i % 3 else ("spin", {"seconds": 0.01}))
        jobs.append(fleet.submit(kind, b"%d" % i if kind == "hash" else b"", **params,
                                 **({"group": group} if i % 5 == 0 else {})))
        if i % 50 == 7:
            fleet.call("DELETE", f"/jobs/{jobs[-1]}")
        if i % 60 == 59:
            is_fine(audit(fleet, other))
            reports += 1
    while fleet.stats()["jobs"]["pending"] + fleet.stats()["jobs"]["in-progress"]:
        is_fine(audit(fleet, other))
        reports += 1
    assert reports >= 8
    report = is_fine(audit(fleet))
    assert report["accepted"] == 500


def test_what_is_submitted_while_messages_are_counted_is_backed(fleet, servers):
    """Beside a job that waits for long: by a gateway that is far from the store, so that many come meanwhile."""
    proxy = Proxy(servers.redis_port)
    auditor = fleet.start_gateway(MILLRACE_REDIS_URL=proxy.url(servers.redis_url))
    near = fleet.start_gateway()
    waiting = fleet.submit_hash(b"first", gateway=near)
    proxy.lag_s = 0.05
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        report = pool.submit(audit, fleet, auditor)
        count = 0
        while not report.done():
            list(pool.map(lambda n: fleet.submit_hash(b"%d" % n, gateway=near), range(10)))
            count += 10
    is_fine(report.result())
    assert count > 100 and waiting
    proxy.lag_s = 0
    assert is_fine(audit(fleet, auditor))["kinds"]["hash"]["messages"] == count + 1
    auditor.stop()
    proxy.close()


def test_what_is_held_in_the_outbox_is_backed_and_what_the_broker_has_is_not_told(make_fleet, private_servers):
    fleet = make_fleet(private_servers)
    fleet.start_gateway()
    queued = fleet.submit_hash(b"x")
    private_servers.rabbitmq.kill9()
    held = eventually(lambda: (answer := fleet.call("PUT", "/enqueue?iterations=1", data=b"y")).status_code == 202
                      and answer.json())
    assert held["held"] == "outbox" and queued
    report = is_fine(audit(fleet))
    assert report["unchecked"] == ["messages: the broker does not answer"]
    assert report["kinds"]["hash"] == {"live": 2, "messages": None, "outbox": 1, "leases": 0}


def test_without_the_store_there_are_no_books(fleet, servers):
    fleet.start_gateway()
    servers.redis.kill9()
    refused(fleet.call("GET", "/audit"), 503, "store-down")


# ---- something is not -----------------------------------------------------------------------


def test_jobs_whose_messages_were_purged_are_suspected(servers, fleet):
    fleet.start_gateway()
    fleet.start_worker(MILLRACE_KINDS="spin")
    alive = [fleet.submit("spin", seconds=30), fleet.submit("spin", seconds=0)]
    fleet.wait_state(alive[0], "in-progress")
    lost = [fleet.submit_hash(b"%d" % i) for i in range(3)]
    purge(servers, "hash")
    found = exceptions(fleet)
    assert [each["id"] for each in found] == lost
    for each in found:
        assert each["kind"] == "hash" and each["state"] == "pending" and each["suspected"] is True
        assert "0 messages for 3 jobs" in each["why"]
    later = fleet.submit_hash(b"later")  # its message may be anybody's: there are three too few still
    found = exceptions(fleet)
    assert [each["id"] for each in found] == lost and later not in lost


def test_a_single_lost_message_is_noticed_beside_idle_workers(servers, fleet):
    fleet.start_gateway()
    lost = fleet.submit_hash(b"x")
    purge(servers, "hash")
    fleet.start_worker()
    (found,) = exceptions(fleet)
    assert found["id"] == lost


def test_a_worker_that_vanished_with_its_message_is_told_by_its_lease(servers, fleet, store):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=60)
    fleet.wait_state(job, "in-progress")
    worker.kill9()
    eventually(lambda: fleet.stats()["queues"]["spin"]["ready"] == 1)
    store.hset(f"job:{job}", "lease", int(time.time() * 1000) - 120_000)
    is_fine(audit(fleet))  # its message is back
    purge(servers, "spin")
    (found,) = exceptions(fleet)
    assert found["id"] == job and found["state"] == "in-progress" and "its lease ended 12" in found["why"]


def test_a_record_that_was_deleted_by_hand(fleet, store):
    fleet.start_gateway()
    job = fleet.submit_hash(b"x")
    store.delete(f"job:{job}")
    (found,) = exceptions(fleet)
    assert found == {"id": job, "kind": "hash", "state": "", "why": "the index names it, and it has no record"}


def test_records_that_the_index_has_wrong(fleet, store):
    fleet.start_gateway()
    ended, moved, mortal = (fleet.submit_hash(b"x") for _ in range(3))
    store.hset(f"job:{ended}", "state", "completed")
    store.zadd("ix:hash", {moved: 2e13 + (time.time() + 600) * 1000})
    store.pexpire(f"job:{mortal}", 600_000)
    why = {each["id"]: each["why"] for each in exceptions(fleet)}
    assert "its record as completed" in why[ended] and "has it as retrying" in why[moved]
    assert why[mortal] == "it has not ended, and its record expires" and len(why) == 3


def test_wrong_counters(fleet, store):
    fleet.start_gateway()
    fleet.start_worker()
    fleet.wait_end(fleet.submit_hash(b"x"))
    group = fleet.call("POST", "/groups").json()["id"]
    member = fleet.submit("spin", seconds=30, group=group)
    store.hincrby("count", "completed:hash", 2)
    store.hincrby(f"set:{group}", "accepted", 1)
    store.set("outbox:bytes", 77)
    store.zadd("outbox", {"nobody": int(time.time() * 1000) + 600_000})
    report = audit(fleet)
    assert report["sum_ok"] is False and member
    found = {each.get("id", each.get("kind")): each["why"] for each in report["exceptions"]}
    assert found == {"hash": "1 jobs were accepted, and 3 are in all states together",
                     group: "this group has accepted 2 jobs, and its states have 1",
                     "nobody": "the outbox names it, and has no message of it",
                     "outbox:bytes": "it says 77, and the entries have 0"}


def test_inputs_that_are_not_kept_as_they_are_said_to_be(fleet, store, servers):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=20, timeout=1, attempts=1)
    assert fleet.wait_end(job)["state"] == "failed"
    is_fine(audit(fleet))
    kept = store.get(f"in:{job}")
    store.delete(f"in:{job}")
    (found,) = exceptions(fleet)
    assert found["id"] == job and "input" in found["why"]
    store.set(f"in:{job}", kept)
    store.incrby("kept:bytes", 5)
    (found,) = exceptions(fleet)
    assert found["id"] == "kept:bytes"


def test_a_hundred_thousand_live_jobs_are_walked_without_holding_anybody_up(fleet, store):
    """Made by hand, as their submits would take minutes: all of them without a message."""
    fleet.start_gateway()
    fleet.submit_hash(b"x")
    count, now = 100_000, int(time.time() * 1000)
    pipe = store.pipeline(transaction=False)
    for i in range(count):
        id = str(uuid.UUID(int=i))
        pipe.hset(f"job:{id}", mapping={"state": "pending", "kind": "hash", "created": now + i, "max": 3})
        pipe.zadd("ix:hash", {id: now + i})
        if i % 5000 == 4999:
            pipe.execute()
    store.hincrby("count", "accepted:hash", count)
    store.config_resetstat()
    report = audit(fleet)
    assert report["ok"] is False and report["sum_ok"] and report["kinds"]["hash"]["live"] == count + 1
    assert all(each["suspected"] for each in report["exceptions"]) and len(report["exceptions"]) == 500
    assert report["more"] == count - 500
    scripts = store.info("commandstats")["cmdstat_evalsha"]
    assert scripts["calls"] > count / 1000 and scripts["usec_per_call"] < 10_000, scripts


def test_a_gateway_that_stops_answers_who_waits_for_an_audit(servers, fleet, store):
    gateway = fleet.start_gateway()
    lost = fleet.submit_hash(b"x")
    purge(servers, "hash")
    store.config_resetstat()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(fleet.call, "GET", "/audit") for _ in range(2)]
        # the counters twice, the walk and the oldest: then it waits for its second look
        eventually(lambda: store.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0) >= 8 and lost and
                   gateway.clients() >= 2)
        gateway.sigterm()
        codes = sorted(answer.result().status_code for answer in answers)
    assert codes in ([200, 503], [503, 503]) and gateway.wait(15) == 0
