# SPDX-License-Identifier: Apache-2.0
"""Each row of the state table (docs/delivery.md), on real servers."""
import hashlib
import json
import uuid

import pika
import pytest

from harness import eventually

# One attempt may take a second, the next comes after a second.
QUICK = {"MILLRACE_BACKOFF_BASE_SECONDS": 1, "MILLRACE_BACKOFF_CAP_SECONDS": 1}


def publish(servers, kind="hash", body=b"x", message_id=None, headers=None, **properties):
    """As a foreign producer would: any AMQP client, no epoch, no copy."""
    connection = servers.amqp()
    connection.channel().basic_publish(
        "", f"millrace.{kind}", body,
        pika.BasicProperties(message_id=message_id, headers=headers, delivery_mode=2, **properties))
    connection.close()


def queue_length(servers, queue):
    connection = servers.amqp()
    count = connection.channel().queue_declare(queue, passive=True).method.message_count
    connection.close()
    return count


# ---- pending -----------------------------------------------------------------------


def test_pending_to_cancelled(fleet):
    fleet.start_gateway()
    job = fleet.submit("spin", seconds=1)
    answer = fleet.call("DELETE", f"/jobs/{job}")
    assert answer.status_code == 202 and answer.json()["state"] == "cancelled"
    refused = fleet.call("DELETE", f"/jobs/{job}")
    assert refused.status_code == 409 and "cancelled" in refused.json()["detail"]
    fleet.start_worker()  # its message comes, and is forgotten
    eventually(lambda: queue_length(fleet.servers, "millrace.spin") == 0)
    done = fleet.submit("spin", seconds=0)
    fleet.wait_end(done)
    assert fleet.job(job)["state"] == "cancelled" and fleet.job(job)["attempt"] == 0
    jobs = fleet.assert_adds_up()
    assert (jobs["accepted"], jobs["cancelled"], jobs["completed"]) == (2, 1, 1)


def test_pending_to_failed_when_the_deadline_passed(fleet):
    fleet.start_gateway()
    job = fleet.submit("spin", seconds=0, deadline=1)
    record = fleet.job(job)
    assert record["deadline"] > record["created"]
    eventually(lambda: fleet.stats()["queues"]["spin"]["oldest_seconds"] > 1.1)
    fleet.start_worker()
    record = fleet.wait_end(job)
    assert record["state"] == "failed" and record["error"]["code"] == "expired" and record["attempt"] == 0
    fleet.assert_adds_up()


# ---- in progress --------------------------------------------------------------------


def test_in_progress_to_cancelled_within_two_seconds(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=60)
    fleet.wait_state(job, "in-progress")
    executor = worker.executors()[0]
    assert fleet.call("DELETE", f"/jobs/{job}").status_code == 202
    eventually(lambda: executor not in worker.executors(), deadline=2.5)
    after = fleet.submit("spin", seconds=0)
    assert fleet.wait_end(after)["state"] == "completed"
    assert fleet.job(job)["state"] == "cancelled"
    fleet.assert_adds_up()


def test_in_progress_to_retrying_to_completed_or_failed_by_time_limit(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_ATTEMPTS_MAX=2, **QUICK)
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=60, timeout=1)
    record = fleet.wait_state(job, "retrying")
    assert record["error"]["code"] == "timeout" and record["next_attempt_at"] > record["started"]
    assert fleet.assert_adds_up()["retrying"] == 1
    record = fleet.wait_end(job)
    assert record["state"] == "failed" and record["attempt"] == 2 and record["max_attempts"] == 2
    assert record["losses"] == 0 and record["error"]["code"] == "timeout"
    fleet.assert_adds_up()


def test_retrying_to_cancelled(make_fleet, servers):
    fleet = make_fleet(servers, **QUICK)
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=60, timeout=1)
    fleet.wait_state(job, "retrying")
    assert fleet.call("DELETE", f"/jobs/{job}").json()["state"] == "cancelled"
    eventually(lambda: queue_length(fleet.servers, "millrace.delay.1") == 0)
    assert fleet.wait_end(fleet.submit("spin", seconds=0))["state"] == "completed"
    assert fleet.job(job)["state"] == "cancelled"


def test_retrying_to_failed_when_the_deadline_passed(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_BACKOFF_BASE_SECONDS=2, MILLRACE_BACKOFF_CAP_SECONDS=2)
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=60, timeout=1, deadline=2)
    record = fleet.wait_end(job)
    assert record["state"] == "failed" and record["error"]["code"] == "expired" and record["attempt"] == 1


def test_in_progress_to_failed_by_a_permanent_error(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit_matrix([[1e300]], [[1e300]])
    record = fleet.wait_end(job)
    assert (record["state"], record["attempt"], record["error"]["code"]) == ("failed", 1, "overflow")


def test_a_killed_executor_is_a_loss_and_the_job_runs_again(fleet):
    import os
    import signal

    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=2)
    fleet.wait_state(job, "in-progress")
    os.kill(worker.executors()[0], signal.SIGKILL)
    record = fleet.wait_end(job)
    assert record["state"] == "completed" and record["losses"] == 1 and record["attempt"] == 2
    assert worker.is_alive()


def test_in_progress_to_failed_when_lost_too_often(make_fleet, servers):
    import os
    import signal

    fleet = make_fleet(servers, MILLRACE_LOSSES_MAX=1)
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=60)
    for attempt in (1, 2):
        eventually(lambda: (r := fleet.job(job))["state"] == "in-progress" and r["attempt"] == attempt, deadline=20)
        os.kill(eventually(worker.executors)[0], signal.SIGKILL)
        eventually(lambda: fleet.job(job)["losses"] == attempt)
    record = fleet.wait_end(job)
    assert record["state"] == "failed" and record["error"]["code"] == "lost" and "signal 9" in record["error"]["detail"]
    fleet.assert_adds_up()


def test_drain_hands_a_job_back_without_spending_an_attempt(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_GRACE_SECONDS=0)
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = fleet.submit("spin", seconds=3)
    fleet.wait_state(job, "in-progress")
    worker.sigterm()
    assert worker.wait() == 0
    record = fleet.job(job)
    assert record["state"] == "pending" and record["attempt"] == 0 and record["losses"] == 0
    assert fleet.stats()["queues"]["spin"]["ready"] == 1
    fleet.start_worker()
    record = fleet.wait_end(job)
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)


def test_a_node_that_is_taken_away_leaves_its_job_to_another_within_the_notice(fleet):
    """What a node of Spot, when it goes, asks of a worker: a grace shorter than the job (k8s/components/spot)."""
    fleet.start_gateway()
    leaving = fleet.start_worker(MILLRACE_GRACE_SECONDS=1)
    job = fleet.submit("spin", seconds=4)
    fleet.wait_state(job, "in-progress")
    staying = fleet.start_worker()
    leaving.sigterm()
    assert leaving.wait(10) == 0
    eventually(staying.executors, deadline=10)
    record = fleet.wait_end(job)
    assert (record["state"], record["attempt"], record["losses"]) == ("completed", 1, 0)
    fleet.assert_adds_up()


def test_sigterm_lets_a_job_finish_within_the_grace(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_GRACE_SECONDS=20)
    running = fleet.submit("spin", seconds=2)
    fleet.wait_state(running, "in-progress")
    waiting = fleet.submit("spin", seconds=0)
    worker.sigterm()
    assert worker.wait() == 0
    assert fleet.job(running)["state"] == "completed"
    assert fleet.job(waiting)["state"] == "pending"


def test_a_second_sigterm_ends_at_once(fleet):
    fleet.start_gateway()
    worker = fleet.start_worker(MILLRACE_GRACE_SECONDS=600)
    job = fleet.submit("spin", seconds=600)
    fleet.wait_state(job, "in-progress")
    worker.sigterm()
    eventually(lambda: not worker.is_ready())
    worker.sigterm()
    assert worker.wait(10) == 0
    assert fleet.job(job)["state"] == "pending" and fleet.job(job)["attempt"] == 0


# ---- failed -------------------------------------------------------------------------


def test_failed_to_pending_by_a_person_with_the_original_input(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_ATTEMPTS_MAX=1)
    fleet.start_gateway()
    fleet.start_worker()
    data = b"\x00input\n" * 100
    slow = fleet.submit_hash(data, 10 ** 9, headers={"Idempotency-Key": "k"})
    assert fleet.call("POST", f"/jobs/{slow}/retry").status_code == 409
    fleet.call("DELETE", f"/jobs/{slow}")
    assert fleet.call("POST", f"/jobs/{slow}/retry").status_code == 409  # cancelled is not failed
    job = fleet.submit("spin", seconds=2, timeout=1)
    assert fleet.wait_end(job)["state"] == "failed"
    again = fleet.call("POST", f"/jobs/{job}/retry")
    assert again.status_code == 202 and again.json()["state"] == "pending"
    assert fleet.wait_end(job)["state"] == "failed"  # it fails again: same input, same limit
    jobs = fleet.assert_adds_up()
    assert (jobs["accepted"], jobs["failed"], jobs["cancelled"]) == (2, 1, 1)


def test_a_retried_hash_gives_the_digest_of_the_first_input(make_fleet, servers):
    """Fails by a lost executor, is retried by a person, and completes."""
    import os
    import signal

    fleet = make_fleet(servers, MILLRACE_LOSSES_MAX=0)
    fleet.start_gateway()
    worker = fleet.start_worker()
    data, rounds = b"\xff\x00\n" * 333, 4_000_000
    job = fleet.submit_hash(data, rounds)
    fleet.wait_state(job, "in-progress")
    os.kill(worker.executors()[0], signal.SIGKILL)
    assert fleet.wait_end(job)["error"]["code"] == "lost"
    assert fleet.call("POST", f"/jobs/{job}/retry").status_code == 202
    record = fleet.wait_end(job)
    assert record["state"] == "completed" and record["losses"] == 0
    digest = data
    for _ in range(rounds):
        digest = hashlib.sha512(digest).digest()
    assert fleet.pull() == [{"id": job, "value": digest.hex()}]


def test_retry_after_the_input_is_gone_says_so(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_ATTEMPTS_MAX=1)
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=2, timeout=1)
    fleet.wait_end(job)
    servers.store().delete(f"in:{job}")
    answer = fleet.call("POST", f"/jobs/{job}/retry")
    assert answer.status_code == 410 and answer.json()["code"] == "input-gone"


def test_input_beyond_the_bound_is_not_kept_for_a_retry(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_ATTEMPTS_MAX=1, MILLRACE_KEPT_MAX=0)
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=2, timeout=1)
    assert fleet.wait_end(job)["state"] == "failed"
    answer = fleet.call("POST", f"/jobs/{job}/retry")
    assert answer.status_code == 410 and answer.json()["code"] == "input-gone"


# ---- foreign producers, and messages that are no jobs --------------------------------


def test_any_amqp_client_can_be_a_producer(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    job = str(uuid.uuid4())
    publish(fleet.servers, body=b"foreign", message_id=job, type="hash",
            headers={"params": json.dumps({"iterations": 2}), "idempotency": "from-afar"})
    record = eventually(lambda: (r := fleet.job(job)) and r["state"] == "completed" and r)
    assert record["attempt"] == 1
    expected = hashlib.sha512(hashlib.sha512(b"foreign").digest()).hexdigest()
    assert fleet.result(job).json()["value"] == expected
    assert fleet.assert_adds_up()["accepted"] == 1


@pytest.mark.parametrize("headers,body", [
    ({"params": "{nonsense"}, b"x"),
    ({"params": "[]"}, b"x"),
    ({"params": '{"iterations":0}'}, b"x"),
    ({"params": '{"iterations":"5"}'}, b"x"),
    ({"params": '{"iterations":5,"colour":1}'}, b"x"),
    ({"params": '{"iterations":5}'}, b""),
    ({}, b"x"),
    (None, b"x"),
    ({"params": 5}, b"x"),
])
def test_a_message_whose_parameters_are_none_fails_for_good(fleet, headers, body):
    fleet.start_gateway()
    worker = fleet.start_worker()
    job = str(uuid.uuid4())
    publish(fleet.servers, body=body, message_id=job, headers=headers)
    record = eventually(lambda: (r := fleet.job(job)) and r["state"] == "failed" and r)
    assert record["attempt"] == 1 and record["error"]["detail"]
    assert worker.is_alive() and queue_length(fleet.servers, "millrace.hash") == 0
    fleet.assert_adds_up()


@pytest.mark.parametrize("message_id", [None, "", "not-a-uuid", "x" * 255])
def test_a_message_without_an_id_goes_to_the_dead_queue_and_is_counted(fleet, message_id):
    fleet.start_gateway()
    fleet.start_worker()
    publish(fleet.servers, body=b"poison", message_id=message_id, headers={"params": '{"iterations":1}'})
    eventually(lambda: queue_length(fleet.servers, "millrace.dead") == 1)
    eventually(lambda: queue_length(fleet.servers, "millrace.hash") == 0)
    eventually(lambda: "millrace_dead_messages_total 1\n" in fleet.call("GET", "/metrics").text)
    assert fleet.wait_end(fleet.submit_hash(b"x", 1))["state"] == "completed"
    assert fleet.stats()["jobs"]["accepted"] == 1


def test_a_message_for_another_kind_is_not_run_as_this_one(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    job = str(uuid.uuid4())
    publish(fleet.servers, kind="hash", body=b"x", message_id=job, type="matrix", headers={"params": '{"iterations":1}'})
    record = eventually(lambda: (r := fleet.job(job)) and r["state"] == "failed" and r)
    assert record["error"]["code"] == "undecodable"


# ---- slots ------------------------------------------------------------------------------


def test_a_slot_holds_one_message_over_all_its_queues_and_no_kind_starves(fleet):
    """Many of each kind, one slot: never two unacknowledged, and each kind gets its turn."""
    fleet.start_gateway()
    spins = [fleet.submit("spin", seconds=0.05) for _ in range(60)]
    hashes = [fleet.submit_hash(b"%d" % i, 200000) for i in range(60)]  # some 30 ms each: a turn is 100 ms
    products = [fleet.submit_matrix([[i]], [[2]]) for i in range(60)]
    total = len(spins) + len(hashes) + len(products)
    fleet.start_worker(MILLRACE_SLOTS=1)
    most, first_end = 0, {}

    def look():
        nonlocal most
        stats = fleet.stats()
        most = max(most, sum(queue["unacknowledged"] for queue in stats["queues"].values()))
        ready = {kind: stats["queues"][kind]["ready"] for kind in ("spin", "hash", "matrix")}
        for kind, left in ready.items():
            if left < 60:
                first_end.setdefault(kind, sum(60 - n for n in ready.values()))
        return stats["jobs"]["completed"] == total

    eventually(look, deadline=60, every=0.005)
    assert most == 1
    assert max(first_end.values()) < total - 60  # nobody waited for all the others to end


def test_once_runs_one_job_and_exits(fleet):
    fleet.start_gateway()
    jobs = [fleet.submit_hash(b"%d" % i, 1) for i in range(3)]
    worker = fleet.start_worker("--once", wait=False)
    assert worker.wait(20) == 0
    assert sorted(fleet.job(job)["state"] for job in jobs) == ["completed", "pending", "pending"]
    fleet.assert_adds_up()


def test_kinds_that_are_not_asked_for_are_left_alone(fleet):
    fleet.start_gateway()
    other = fleet.submit("spin", seconds=0)
    fleet.start_worker(MILLRACE_KINDS="hash,matrix")
    assert fleet.wait_end(fleet.submit_hash(b"x", 1))["state"] == "completed"
    assert fleet.wait_end(fleet.submit_matrix([[1]], [[1]]))["state"] == "completed"
    assert fleet.job(other)["state"] == "pending"


def test_classic_queues_carry_the_same_life(make_fleet, servers):
    fleet = make_fleet(servers, MILLRACE_QUEUE_TYPE="classic", **QUICK)
    fleet.start_gateway()
    fleet.start_worker()
    assert fleet.wait_end(fleet.submit_hash(b"x", 3))["state"] == "completed"
    job = fleet.submit("spin", seconds=60, timeout=1)
    assert fleet.wait_end(job)["attempt"] == 3
    fleet.assert_adds_up()
