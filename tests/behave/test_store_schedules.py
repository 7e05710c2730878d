# SPDX-License-Identifier: Apache-2.0
"""The schedules of docs/delivery.md that concern the store, staged on its scripts."""

import pytest
import redis

from store_scripts import (  # noqa: F401  (some are fixtures)
    DAY, KIND, Job, Lease, expire_lease, make_pending, pending, server, store)


def test_schedule_2_two_claims_around_a_loss_have_different_fences(store, pending):
    first = store.leased(pending)
    store.lose_all()
    second = store.leased(pending, "w2", copy="other")
    assert first.fence != second.fence
    assert store.finish(first) == "stale"


@pytest.mark.parametrize("name, state", [("finish", "completed"), ("fail", "retrying"), ("drain", "pending"),
                                         ("renew", "in-progress")])
def test_schedule_3_a_call_of_an_older_epoch_makes_the_record_again(store, name, state):
    job = make_pending(store, idem="key", digest="d")
    lease = store.leased(job)
    store.lose_all()
    assert getattr(store, name)(lease) in ("ok", "retrying")
    record = store.record(job)
    assert record["state"] == state and record["kind"] == KIND and record["idem"] == "key"
    assert store.r.get("idem:key").decode() == job.id
    assert store.stats()["jobs"]["accepted"] == 1
    if name == "renew":
        assert record["owner"] == "w1" and store.finish(lease) == "ok"


@pytest.mark.parametrize("state", ["unconfirmed", "pending", "retrying", "in-progress"])
def test_schedule_3_a_record_rolled_back_to_before_the_claim_takes_the_settle(store, state):
    job = Job(store)
    store.create(job)
    if state in ("pending", "retrying", "in-progress"):
        store.accept(job)
    if state in ("retrying", "in-progress"):
        before = store.leased(job, "w0")
    if state == "retrying":
        store.fail(before, wait=0)
    before_claim = store.snapshot()
    lease = store.leased(job, "w1", second=1)
    store.roll_back(before_claim)
    assert store.finish(lease) == "stale", "same epoch: another holds it"
    store.new_epoch()
    assert store.finish(lease) == "ok"
    assert store.state(job) == "completed" and list(store.pull()) == [job.id]


def test_schedule_3_a_newer_owner_keeps_its_claim_after_a_restart(store, pending):
    old = store.leased(pending)
    expire_lease(store, pending)
    store.leased(pending, "w2")
    store.new_epoch()
    for name in ("finish", "fail", "drain", "renew"):
        assert getattr(store, name)(old) == "stale"


def test_schedule_4_replayed_settles_bring_the_ends_back(store):
    a, b = make_pending(store), make_pending(store)
    finished_lease, failed_lease = store.leased(a), store.leased(b)
    store.finish(finished_lease)
    store.fail(failed_lease, "permanent")
    store.lose_all()
    assert store.finish(finished_lease) == "ok"
    assert store.fail(failed_lease, "permanent") == "failed"
    assert store.claim(a, "w2") == store.claim(b, "w2") == "terminal"


@pytest.mark.parametrize("state", ["pending", "in-progress", "retrying"])
def test_schedule_4_a_replayed_finish_wins_over_a_newer_claim(store, pending, state):
    first = store.leased(pending)
    before_finish = store.snapshot()
    store.finish(first, b"first")
    store.roll_back(before_finish)
    store.new_epoch()
    second = store.leased(pending, "w2", second=1)
    if state == "pending":
        store.drain(second)
    if state == "retrying":
        store.fail(second)
    assert store.state(pending) == state
    assert store.finish(first, b"first") == "stale", "not confirmed before: the newer claim stands"
    assert store.finish(first, b"first", replay=["ok"]) == "ok"
    assert store.renew(second) == store.finish(second) == store.fail(second) == "stale"
    assert store.claim(pending, "w2") == "terminal"
    assert store.pull() == {pending.id: "first"}
    assert not store.r.exists(f"in:{pending.id}")


def test_schedule_4_a_replayed_finish_wins_over_an_older_failure_only(store):
    a, b = make_pending(store, idem="key", digest="d"), make_pending(store)
    store.fail(store.leased(a), "permanent")
    before_retry = store.snapshot()
    store.call("retry", a.id)
    lease_a, lease_b = store.leased(a, copy="c2"), store.leased(b)
    store.finish(lease_a)
    store.roll_back(before_retry)
    store.new_epoch()
    assert store.fail(store.leased(b, "w2", second=1), "permanent") == "failed"
    assert store.finish(lease_a, replay=["ok"]) == "ok"
    assert store.finish(lease_b, replay=["ok"]) == "stale"
    assert (store.state(a), store.state(b)) == ("completed", "failed")
    assert not store.r.exists(f"in:{a.id}") and 0 < store.ttl("idem:key") <= DAY


def test_schedule_4_a_replayed_finish_does_not_undo_a_cancel(store, pending):
    lease = store.leased(pending)
    store.new_epoch()
    store.cancel(pending)
    assert store.finish(lease, replay=["ok"]) == "cancelled"


@pytest.mark.parametrize("code", ["lost", "expired"])
def test_schedule_4_the_end_that_a_claim_gave_a_job_can_be_replayed(store, code):
    job = make_pending(store, deadline=0 if code == "lost" else store.now() - 1)
    if code == "lost":
        first = store.leased(job)
        expire_lease(store, job)
    before_end = store.snapshot()
    answer = store.claim(job, "w2", packed=b"m", losses_max=0)
    ended = Lease(job, "w2", job.copy, answer, store.epoch, "terminal")
    assert answer[5:] == [code, store.record(job)["detail"]]
    assert (ended.attempt, ended.started) == ((1, first.started) if code == "lost" else (0, 0))
    for lose in (lambda: store.roll_back(before_end), store.r.flushall):
        lose()
        store.new_epoch()
        for _ in range(2):
            assert store.fail(ended, "permanent", code=code, detail=answer[6], replay=["failed"]) == "failed"
        record = store.record(job)
        assert (record["code"], record["detail"], record["input"]) == (code, answer[6], "1")
        assert store.claim(job, "w3") == "terminal"


@pytest.mark.parametrize("why, counter, code", [("transient", "errors", "io"), ("loss", "losses", "lost")])
def test_schedule_4_a_replayed_failure_is_the_last_whatever_the_counters_say(store, pending, why, counter, code):
    before = store.snapshot()
    for _ in range(2):
        store.fail(store.leased(pending), why, wait=0)
    last = store.leased(pending)
    assert store.fail(last, why) == "failed"
    store.roll_back(before)
    store.new_epoch()
    assert store.fail(last, why, replay=["failed"]) == "failed"
    record = store.record(pending)
    assert (record["state"], record["code"], record[counter]) == ("failed", code, "1")
    assert store.stats()["jobs"]["failed"] == 1


def test_schedule_5_an_ended_and_expired_job_is_not_run_again(store, pending):
    store.cancel(pending)
    store.r.delete(f"job:{pending.id}")
    assert store.claim(pending, "w2", copy="other") == "gone"


def test_schedule_5_a_replayed_cancel_stops_the_message_of_a_lost_record(store, pending):
    epoch = store.epoch
    store.cancel(pending)
    store.lose_all()
    assert store.cancel(pending, epoch, KIND)[0] == "ok"
    assert store.claim(pending) == "terminal"
    assert store.state(pending) == "cancelled"


def test_schedule_13_a_replayed_retry_names_its_failure(store, pending):
    store.fail(store.leased(pending), "permanent")
    fence = store.record(pending)["fence"]
    assert store.call("retry", pending.id)[0] == "ok"
    store.fail(store.leased(pending, copy="c2"), "permanent")
    assert store.call("retry", pending.id, fence)[0] == "refused"
    assert store.call("retry", pending.id, store.record(pending)["fence"])[0] == "ok"


def test_schedule_16_repeated_fail_does_not_count_twice_after_a_restart(store, pending):
    lease = store.leased(pending)
    store.fail(lease, wait=60_000)
    store.new_epoch()
    assert store.fail(lease, wait=60_000) == "retrying"
    assert store.record(pending)["errors"] == "1"


def test_schedule_17_a_full_redis_takes_no_work_but_ends_what_it_has(store):
    unclaimed, running, failing, done = (make_pending(store) for _ in range(4))
    accepted_late, new = Job(store), Job(store)
    store.create(accepted_late)
    lease, fail_lease = store.leased(running), store.leased(failing)
    store.finish(store.leased(done))
    store.r.config_set("maxmemory", 1)
    try:
        for refused in (lambda: store.create(new), lambda: store.outbox(accepted_late),
                        lambda: store.call("retry", new.id)):
            with pytest.raises(redis.ResponseError, match="OOM"):
                refused()
        assert store.accept(accepted_late) == "ok"
        assert store.renew(lease) == "ok"
        assert store.finish(lease) == "ok"
        assert store.fail(fail_lease, "permanent") == "failed"
        assert store.drain(store.leased(unclaimed)) == "ok"
        assert store.cancel(unclaimed)[0] == "ok"
        assert len(store.pull()) == 2
        store.run_id = "while-full"
        store.boot()
    finally:
        store.r.config_set("maxmemory", 0)


def test_schedule_18_a_replayed_outbox_brings_job_and_message_back(store):
    job = Job(store)
    store.create(job)
    store.outbox(job)
    store.lose_all()
    assert store.outbox(job) == store.outbox(job) == "ok"
    assert store.state(job) == "pending"
    assert store.stats()["outbox"] == {"count": 1, "bytes": 6}


@pytest.mark.parametrize("mark_first", [True, False])
def test_schedule_20_a_replayed_pull_stops_a_second_hand_out(store, pending, mark_first):
    lease = store.leased(pending)
    store.finish(lease)
    assert list(store.pull()) == [pending.id]
    store.lose_all()
    replays = [lambda: store.call("pulled", KIND, DAY, pending.id), lambda: store.finish(lease)]
    for replay in replays if mark_first else reversed(replays):
        assert replay() == "ok"
    assert store.pull() == {}
    assert store.state(pending) == "completed"


def test_schedule_21_counters_restart_with_what_is_known(store):
    jobs = [make_pending(store) for _ in range(3)]
    store.lose_all()
    for job in jobs:
        store.finish(store.leased(job))
    assert store.stats()["jobs"]["accepted"] == store.stats()["jobs"]["completed"] == 3
