# SPDX-License-Identifier: Apache-2.0
"""The schedules of docs/delivery.md that concern the store, staged on its scripts."""

import pytest
import redis

from store_scripts import (  # noqa: F401  (some are fixtures)
    DAY, KIND, Job, expire_lease, make_pending, pending, server, store)


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
    rolled_back = store.r.dump(f"job:{job.id}"), store.r.dump(f"ix:{KIND}"), store.r.dump("count")
    lease = store.leased(job, "w1", second=1)
    for key, dump in zip((f"job:{job.id}", f"ix:{KIND}", "count"), rolled_back):
        store.r.delete(key)
        if dump:
            store.r.restore(key, 60_000 if state == "unconfirmed" and key[:3] == "job" else 0, dump)
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
