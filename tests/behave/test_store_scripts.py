# SPDX-License-Identifier: Apache-2.0
"""The Lua scripts against docs/delivery.md: each guard and each answer."""

import uuid

import pytest

from store_scripts import (  # noqa: F401  (some are fixtures)
    DAY, KIND, LEASE, LUA, PRELUDES, Job, expire_lease, make_pending, pending, server, store)

# ---- epoch -------------------------------------------------------------------

def test_boot_keeps_the_epoch_of_the_same_process_and_raises_it_for_another(store):
    first = store.epoch
    assert store.boot() == first
    store.run_id = "second-run"
    assert int(store.boot()) > int(first)


def test_boot_never_goes_back_when_the_clock_does(store):
    store.r.set("epoch", "8999999999999999")
    store.run_id = "second-run"
    assert store.boot() == "9000000000000000"


@pytest.mark.parametrize("name", sorted(p.stem for p in LUA.glob("*.lua") if p.stem not in ("boot", *PRELUDES)))
def test_every_script_refuses_another_epoch_and_one_without_meta(store, name):
    assert store.call(name, *["1"] * 12, epoch="1") == "epoch"
    epoch = store.epoch
    store.r.flushall()
    assert store.call(name, *["1"] * 12, epoch=epoch) == "epoch"
    store.boot()


# ---- create, accept ------------------------------------------------------------

def test_created_record_is_uncounted_and_short_lived(store):
    job = Job(store)
    assert store.create(job) == "ok"
    assert store.state(job) == "unconfirmed"
    assert 0 < store.ttl(f"job:{job.id}") <= 60_000
    assert store.stats()["jobs"]["accepted"] == 0
    assert store.call("get", job.id, 1, 0) == "gone"
    assert store.create(job) == "ok"


def test_accept_counts_once_and_lifts_the_time_limit(store):
    job = make_pending(store, idem="key", digest="d")
    assert store.state(job) == "pending"
    assert store.ttl(f"job:{job.id}") == store.ttl("idem:key") == -1
    assert store.accept(job) == "ok"
    assert store.stats()["jobs"] == {"accepted": 1, "pending": 1, "in-progress": 0, "retrying": 0, "completed": 0,
                                     "failed": 0, "cancelled": 0}


def test_accept_never_creates(store):
    job = Job(store)
    assert store.accept(job) == "gone"
    job.epoch = "1"
    assert store.accept(job) == "ok"
    assert store.state(job) is None


def test_accept_after_a_fast_worker_changes_nothing(store):
    job = Job(store)
    store.create(job)
    lease = store.leased(job)
    assert store.accept(job) == "ok"
    assert store.finish(lease) == "ok"
    assert store.accept(job) == "ok"
    assert store.state(job) == "completed"
    assert 0 < store.ttl(f"job:{job.id}") <= DAY


def test_idempotency_key_leads_to_the_first_job(store):
    first = Job(store, idem="key", digest="d")
    store.create(first)
    again = Job(store, idem="key", digest="d")
    assert store.create(again) == ["exists", first.id, KIND, "unconfirmed"]
    store.accept(first)
    assert store.create(again) == ["exists", first.id, KIND, "pending"]
    assert store.create(Job(store, idem="key", digest="other")) == "mismatch"
    assert store.create(first) == ["exists", first.id, KIND, "pending"]


def test_idempotency_key_of_a_vanished_record_is_free(store):
    first = Job(store, idem="key", digest="d")
    store.create(first)
    store.r.delete(f"job:{first.id}")
    again = Job(store, idem="key", digest="d")
    assert store.create(again) == "ok"
    assert store.r.get("idem:key").decode() == again.id


def test_idempotency_key_ends_with_the_record(store):
    job = make_pending(store, idem="key", digest="d")
    store.finish(store.leased(job))
    assert 0 < store.ttl("idem:key") <= DAY


# ---- claim ------------------------------------------------------------------------

def test_claim_runs_a_pending_job(store, pending):
    lease = store.leased(pending)
    record = store.record(pending)
    assert record["state"] == "in-progress" and record["owner"] == "w1" and record["copy"] == pending.copy
    assert lease.attempt == 1 and int(record["fence"]) == lease.fence
    assert store.now() < int(record["lease"]) <= store.now() + LEASE


def test_claim_counts_an_unconfirmed_job(store):
    job = Job(store, idem="key", digest="d")
    store.create(job)
    store.leased(job)
    assert store.ttl(f"job:{job.id}") == store.ttl("idem:key") == -1
    assert store.stats()["jobs"]["accepted"] == 1


def test_claim_of_a_missing_record_depends_on_the_epoch_of_the_message(store):
    job = Job(store, idem="key", digest="d", attempt=2)
    assert store.claim(job) == "gone"
    job.epoch = "0"
    assert store.leased(job).attempt == 3
    assert store.r.get("idem:key").decode() == job.id
    assert store.stats()["jobs"]["accepted"] == 1


def test_claim_repeated_by_its_owner_gets_the_same_fence(store, pending):
    lease = store.leased(pending)
    assert store.claim(pending) == ["mine", lease.fence, 1, 0, lease.started, 0]
    assert store.record(pending).get("losses") is None


def test_mine_says_all_that_run_had_said(store, pending):
    store.fail(store.leased(pending), wait=0)
    answer = store.claim(pending)
    assert answer[0] == "run" and answer[2:4] == [2, 1]
    assert store.claim(pending) == ["mine", *answer[1:]]


def test_the_same_copy_at_another_owner_is_asked_twice(store, pending):
    first = store.leased(pending)
    assert store.claim(pending, "w2") == "ask"
    second = store.leased(pending, "w2", second=1)
    assert second.fence > first.fence and second.attempt == 2
    assert store.record(pending)["losses"] == "1"
    assert store.finish(first) == "stale"
    assert store.finish(second) == "ok"


def test_another_copy_is_held_until_the_lease_is_over(store, pending):
    store.leased(pending)
    word, wait = store.claim(pending, "w2", copy="other")
    assert word == "held" and 0 < wait <= LEASE
    assert store.claim(pending, "w2", copy="other", second=1)[0] == "held"
    expire_lease(store, pending)
    store.leased(pending, "w2", copy="other")
    assert store.record(pending)["losses"] == "1"


def test_the_copy_of_a_detached_owner_is_held(store, pending):
    lease = store.leased(pending)
    assert store.renew(lease, away=1) == "ok"
    assert store.claim(pending, "w2", second=1)[0] == "held"
    assert store.claim(pending, "w1")[:2] == ["mine", lease.fence]
    assert store.renew(lease, away=0) == "ok"
    assert store.claim(pending, "w2") == "ask"


def test_a_message_without_a_copy_id_never_steals_a_live_lease(store, pending):
    store.leased(pending, copy="")
    assert store.claim(pending, "w2", copy="", second=1)[0] == "held"


def test_a_job_lost_too_often_fails_and_keeps_its_input(store, pending):
    for loss in range(3):
        store.leased(pending, f"w{loss}")
        expire_lease(store, pending)
    assert store.claim(pending, "w9") == "pack"
    assert store.state(pending) == "in-progress"
    assert store.claim(pending, "w9", packed=b"the message")[0] == "terminal"
    record = store.record(pending)
    assert (record["state"], record["code"], record["losses"]) == ("failed", "lost", "3")
    assert store.r.get(f"in:{pending.id}") == b"the message"
    assert 0 < store.ttl(f"in:{pending.id}") <= DAY


def test_the_owner_of_a_job_that_failed_as_lost_is_stale(store, pending):
    lease = store.leased(pending)
    expire_lease(store, pending)
    assert store.claim(pending, "w2", packed=b"m", losses_max=0)[0] == "terminal"
    assert store.finish(lease) == "stale"
    assert store.fail(lease) == "stale"


def test_claim_of_an_ended_job_is_terminal(store):
    for end in ("completed", "failed", "cancelled"):
        job = make_pending(store)
        lease = store.leased(job)
        {"completed": lambda: store.finish(lease), "failed": lambda: store.fail(lease, "permanent"),
         "cancelled": lambda: store.cancel(job)}[end]()
        assert store.state(job) == end
        assert store.claim(job, "w2") == "terminal"


def test_a_job_past_its_deadline_fails_at_claim(store):
    for prepare in (store.create, lambda job: (store.create(job), store.accept(job))):
        job = Job(store, deadline=store.now() - 1)
        prepare(job)
        assert store.claim(job)[0] == "terminal"
        assert store.record(job)["code"] == "expired"
    job = make_pending(store, deadline=store.now() + 3_600_000)
    store.fail(store.leased(job), wait=0)
    store.r.hset(f"job:{job.id}", "deadline", store.now() - 1)
    assert store.claim(job)[0] == "terminal"
    assert store.claim(job) == "terminal"
    assert not store.r.exists(f"in:{job.id}")


def test_retrying_is_not_claimed_before_it_is_due(store, pending):
    store.fail(store.leased(pending), wait=60_000)
    word, wait = store.claim(pending, copy="c2")
    assert word == "later" and 59_000 < wait <= 60_000
    store.r.hset(f"job:{pending.id}", "next", store.now())
    lease = store.leased(pending, copy="c2")
    assert (lease.attempt, lease.errors) == (2, 1)
    assert not store.r.exists(f"in:{pending.id}")


# ---- renew, finish, fail, drain -------------------------------------------------------

def test_renew_moves_lease_and_progress(store, pending):
    lease = store.leased(pending, lease=1000)
    assert store.renew(lease, progress=0.25) == "ok"
    record = store.record(pending)
    assert record["progress"] == "0.25" and int(record["lease"]) > store.now() + 10_000


@pytest.mark.parametrize("name", ["renew", "finish", "fail", "drain"])
def test_another_fence_is_stale(store, pending, name):
    old = store.leased(pending)
    expire_lease(store, pending)
    store.leased(pending, "w2")
    assert getattr(store, name)(old) == "stale"
    assert store.record(pending)["owner"] == "w2"


@pytest.mark.parametrize("name", ["renew", "finish", "fail", "drain"])
def test_a_cancelled_job_says_so_to_its_owner(store, pending, name):
    lease = store.leased(pending)
    assert store.cancel(pending)[0] == "ok"
    assert getattr(store, name)(lease) == "cancelled"


@pytest.mark.parametrize("name", ["renew", "finish", "fail", "drain"])
def test_a_missing_record_of_the_same_epoch_is_gone(store, pending, name):
    lease = store.leased(pending)
    store.finish(lease)
    store.r.delete(f"job:{pending.id}")
    store.r.delete(f"done:{KIND}")
    assert getattr(store, name)(lease) == "gone"


@pytest.mark.parametrize("size", [0, 64, 65])
def test_finish_keeps_the_result_as_long_as_the_record(store, pending, size):
    assert store.finish(store.leased(pending), b"x" * size) == "ok"
    record = store.record(pending)
    assert (record["state"], record["bytes"], record["type"]) == ("completed", str(size), "application/octet-stream")
    assert store.call("get", pending.id, 0, 1)[2] == "x" * size
    assert 0 < store.ttl(f"job:{pending.id}") <= DAY
    assert size <= 64 or 0 < store.ttl(f"out:{pending.id}") <= DAY
    assert store.pull() == {pending.id: "x" * size}


def test_a_tiny_record_stays_compact_to_its_end(store, pending):
    store.finish(store.leased(pending), b"x" * 64)
    assert store.r.object("encoding", f"job:{pending.id}") == b"listpack"


def test_settles_repeat_their_first_answer(store):
    a, b, c, d = (make_pending(store) for _ in range(4))
    finished, failed, retried, drained = (store.leased(job) for job in (a, b, c, d))
    for _ in range(2):
        assert store.finish(finished) == "ok"
        assert store.fail(failed, "permanent") == "failed"
        assert store.fail(retried) == "retrying"
        assert store.drain(drained) == "ok"
    assert store.record(c)["errors"] == "1"
    assert store.record(d)["attempt"] == "0"
    assert list(store.pull()) == [a.id]


def test_permanent_error_fails_at_once_and_keeps_the_input(store, pending):
    assert store.fail(store.leased(pending), "permanent") == "failed"
    record = store.record(pending)
    assert (record["code"], record["detail"], record["input"]) == ("io", "it broke", "1")
    assert 0 < store.ttl(f"in:{pending.id}") <= DAY


def test_transient_errors_use_up_the_attempts(store, pending):
    for expected in ("retrying", "retrying", "failed"):
        assert store.fail(store.leased(pending), wait=0) == expected
        assert store.ttl(f"in:{pending.id}") == (-1 if expected == "retrying" else pytest.approx(DAY, abs=5000))
    assert store.record(pending)["errors"] == "3"


def test_losses_have_a_budget_of_their_own(store, pending):
    for expected in ("retrying", "retrying", "failed"):
        assert store.fail(store.leased(pending), "loss", wait=0) == expected
    record = store.record(pending)
    assert (record["errors"], record["losses"], record["code"]) == ("0", "3", "lost")
    assert record["detail"] == "it broke"


def test_drain_spends_no_attempt_and_does_not_free_the_fence(store, pending):
    first = store.leased(pending)
    assert store.drain(first) == "ok"
    record = store.record(pending)
    assert record["state"] == "pending" and "owner" not in record and record["fence"] == str(first.fence)
    second = store.leased(pending, "w2")
    assert second.attempt == 1 and second.fence > first.fence
    assert store.finish(first) == "stale"
    assert store.finish(second) == "ok"


# ---- cancel, retry -----------------------------------------------------------------------

@pytest.mark.parametrize("state", ["pending", "in-progress", "retrying"])
def test_cancel_ends_what_has_not_ended(store, pending, state):
    if state != "pending":
        lease = store.leased(pending)
    if state == "retrying":
        store.fail(lease)
    assert store.cancel(pending)[0] == "ok"
    assert store.state(pending) == "cancelled"
    assert not store.r.exists(f"in:{pending.id}")
    assert store.cancel(pending)[0] == "refused"


def test_cancel_of_what_nobody_was_promised_is_gone(store):
    job = Job(store)
    assert store.cancel(job) == "gone"
    store.create(job)
    assert store.cancel(job) == "gone"


def test_retry_puts_record_and_message_back_in_one_step(store, pending):
    store.fail(store.leased(pending), "permanent", packed=b"the message")
    assert store.call("retry", pending.id)[0] == "ok"
    record = store.record(pending)
    assert (record["state"], record["errors"], record["input"]) == ("pending", "0", "0")
    left = {"owner", "lease", "started", "away", "progress", "code", "detail", "next", "finished"} & set(record)
    assert not left, "of the failed attempt"
    assert store.ttl(f"job:{pending.id}") == store.ttl(f"ob:{pending.id}") == -1
    assert store.r.get("outbox:bytes") == b"11" and not store.r.exists(f"in:{pending.id}")
    word, _, *items = store.call("outbox_take", 10)
    assert (word, items) == ("ok", [pending.id, "the message"])
    store.finish(store.leased(pending, copy="c2"))


@pytest.mark.parametrize("how", ["retry", "replay"])
def test_who_is_to_run_again_by_a_persons_will_has_no_deadline_any_more(store, how):
    job = make_pending(store, deadline=store.now() + 3_600_000)
    store.fail(store.leased(job), "permanent")
    store.r.hset(f"job:{job.id}", "deadline", store.now() - 1)
    assert store.call(how, job.id, *([b"packed"] if how == "replay" else []))[0] == "ok"
    assert "deadline" not in store.record(job)
    store.finish(store.leased(job, copy="c2"))


def test_a_replayed_retry_is_the_retry_of_its_own_failure(store, pending):
    store.fail(store.leased(pending), "permanent")
    before = store.snapshot()
    fence = store.record(pending)["fence"]
    assert store.call("retry", pending.id)[0] == "ok"
    store.roll_back(before)
    store.new_epoch()
    assert store.call("retry", pending.id, fence)[0] == "ok"
    assert store.call("retry", pending.id, fence)[0] == "refused"
    assert store.state(pending) == "pending" and store.kept() == 0


# ---- replay of a dead message --------------------------------------------------------------

def test_a_replay_lets_a_failed_job_run_by_another_message(store, pending):
    store.fail(store.leased(pending), "permanent", packed=b"the old message")
    fence = int(store.record(pending)["fence"])
    word, until, answered = store.call("replay", pending.id, "the new one")
    assert (word, answered) == ("ok", fence) and store.state(pending) == "pending"
    assert store.r.get(f"ob:{pending.id}") == b"the new one" and store.r.get("outbox:bytes") == b"11"
    assert store.kept() == 0 and not store.r.exists(f"in:{pending.id}")
    assert store.call("outbox_take", 10)[2:] == [], "it is reserved for who publishes it"
    assert store.call("outbox_done", pending.id, until) == "ok"
    assert store.r.zcard("outbox") == 0 and not store.r.exists(f"ob:{pending.id}")
    assert store.call("replay", pending.id, "the new one") == "exists"
    store.finish(store.leased(pending, copy="c2"))
    assert store.call("replay", pending.id, "the new one")[0] == "refused"


def test_a_replay_needs_no_kept_input_and_no_record(store, pending):
    store.fail(store.leased(pending), "permanent", packed=b"x")
    store.r.delete(f"in:{pending.id}")
    assert store.call("replay", pending.id, "m")[0] == "ok"
    stranger = Job(store)
    assert store.call("replay", stranger.id, "m") == "gone"
    store.create(stranger)
    assert store.call("replay", stranger.id, "m") == "exists"
    assert store.cancel(pending)[0] == "ok"
    assert store.call("replay", pending.id, "m")[0] == "refused"


def test_a_replay_said_again_is_that_of_its_own_failure(store, pending):
    store.fail(store.leased(pending), "permanent")
    before = store.snapshot()
    fence = store.call("replay", pending.id, "m")[2]
    store.roll_back(before)
    store.new_epoch()
    assert store.call("replay", pending.id, "m", fence)[0] == "ok"
    store.fail(store.leased(pending, copy="c2"), "permanent")
    assert store.call("replay", pending.id, "m", fence)[0] == "refused"
    assert store.state(pending) == "failed"


def test_the_owner_of_the_failed_attempt_has_no_say_after_a_retry(store, pending):
    lease = store.leased(pending)
    store.fail(lease, "permanent")
    store.call("retry", pending.id)
    assert store.renew(lease) == store.finish(lease) == store.fail(lease) == "stale"
    assert store.leased(pending, copy="c2").attempt == 2


# ---- kept inputs --------------------------------------------------------------------------

def failed(store, size, **more):
    job = make_pending(store)
    assert store.fail(store.leased(job), "permanent", packed=b"p" * size, **more) == "failed"
    return job


def test_inputs_of_failed_jobs_are_kept_within_a_bound(store):
    kept = failed(store, 60, kept_max=100)
    too_much = failed(store, 41, kept_max=100)
    assert [store.record(job)["input"] for job in (kept, too_much)] == ["1", "0"]
    assert not store.r.exists(f"in:{too_much.id}") and store.kept() == 60
    assert store.call("retry", too_much.id) == "no-input"
    assert store.call("retry", kept.id)[0] == "ok"
    assert store.kept() == 0 and not store.r.exists("kept", "kept:bytes")
    assert store.record(failed(store, 100, kept_max=100))["input"] == "1"


def test_a_bound_of_zero_keeps_nothing(store):
    assert store.record(failed(store, 1, kept_max=0))["input"] == "0"


def test_the_input_of_a_retrying_job_is_kept_beyond_the_bound_and_not_counted(store, pending):
    assert store.fail(store.leased(pending), wait=0, kept_max=0) == "retrying"
    assert store.r.exists(f"in:{pending.id}") and store.kept() == 0
    store.fail(store.leased(pending), "permanent", kept_max=0)
    assert not store.r.exists(f"in:{pending.id}")


def test_a_job_lost_too_often_keeps_its_input_within_the_bound(store):
    for bound, kept in ((3, "0"), (4, "1")):
        job = make_pending(store)
        store.leased(job)
        expire_lease(store, job)
        assert store.claim(job, "w2", packed=b"four", losses_max=0, kept_max=bound)[0] == "terminal"
        assert store.record(job)["input"] == kept
    assert store.kept() == 4


@pytest.mark.parametrize("by", ["fail", "overdue"])
def test_expired_inputs_make_room(store, by):
    old = failed(store, 80, kept_max=100)
    store.r.delete(f"in:{old.id}")
    store.r.zadd("kept", {f"{old.id}|80": store.now() - 1})
    if by == "overdue":
        store.call("overdue", "gw1", DAY)
        assert store.kept() == 0
    assert store.record(failed(store, 90, kept_max=100))["input"] == "1"
    assert store.kept() == 90


def test_a_replayed_finish_gives_back_what_a_failure_had_kept(store):
    job = failed(store, 50)
    before = store.snapshot()
    store.call("retry", job.id)
    lease = store.leased(job, copy="c2")
    store.finish(lease)
    store.roll_back(before)
    store.new_epoch()
    assert store.kept() == 50
    assert store.finish(lease, replay=["ok"]) == "ok"
    assert store.kept() == 0 and not store.r.exists(f"in:{job.id}")


def test_a_failure_said_twice_counts_its_input_once(store, pending):
    lease = store.leased(pending)
    before = store.snapshot()
    store.fail(lease, "permanent", packed=b"12345")
    assert store.fail(lease, "permanent", packed=b"12345") == "failed"
    assert store.kept() == 5
    store.roll_back(before)
    store.new_epoch()
    assert store.fail(lease, "permanent", packed=b"12345", replay=["failed"]) == "failed"
    assert store.kept() == 5


def test_retry_refuses_other_states_and_missing_inputs(store, pending):
    assert store.call("retry", pending.id)[0] == "refused"
    store.fail(store.leased(pending), "permanent")
    store.r.delete(f"in:{pending.id}")
    assert store.call("retry", pending.id) == "no-input"
    assert store.call("retry", str(uuid.uuid4())) == "gone"


# ---- outbox --------------------------------------------------------------------------------

def test_outbox_accepts_and_keeps_the_message_once(store):
    job = Job(store)
    assert store.outbox(job) == "gone"
    store.create(job)
    assert store.outbox(job) == store.outbox(job) == "ok"
    assert store.stats()["outbox"] == {"count": 1, "bytes": 6}
    assert store.stats()["jobs"]["pending"] == 1


def test_outbox_has_a_bound_in_bytes(store):
    a, b = Job(store), Job(store)
    store.create(a), store.create(b)
    assert store.outbox(a, bound=10) == "ok"
    assert store.outbox(b, bound=10) == "full"
    assert store.state(b) == "unconfirmed"


def test_outbox_keeps_nothing_for_a_job_that_a_worker_has(store):
    job = Job(store)
    store.create(job)
    store.leased(job)
    assert store.outbox(job) == "ok"
    assert store.stats()["outbox"] == {"count": 0, "bytes": 0}


def test_a_taken_entry_is_reserved_and_forgotten_when_done(store):
    job = Job(store)
    store.create(job)
    store.outbox(job)
    _, until, *items = store.call("outbox_take", 10)
    assert items == [job.id, "packed"]
    assert len(store.call("outbox_take", 10)) == 2
    assert store.call("outbox_done", job.id, until) == "ok"
    assert store.stats()["outbox"] == {"count": 0, "bytes": 0}
    assert not store.r.exists(f"ob:{job.id}", "outbox:bytes")


def test_done_does_not_drop_an_entry_that_came_after_its_take(store):
    job = Job(store)
    store.create(job)
    store.outbox(job)
    _, until, *_ = store.call("outbox_take", 10)
    store.fail(store.leased(job), "permanent", packed=b"second")
    store.call("retry", job.id)
    assert store.call("outbox_done", job.id, until) == "ok"
    assert store.r.get(f"ob:{job.id}") == b"second"
    assert store.r.get("outbox:bytes") == b"6"


def test_entries_of_ended_jobs_are_dropped(store):
    a, b = Job(store), Job(store)
    for job in (a, b):
        store.create(job)
        store.outbox(job)
    store.cancel(a)
    store.cancel(b)
    store.r.delete(f"job:{b.id}")
    assert len(store.call("outbox_take", 10)) == 2
    assert store.stats()["outbox"] == {"count": 0, "bytes": 0}


def test_overdue_retrying_jobs_go_to_the_outbox_by_one_leader(store, pending):
    store.fail(store.leased(pending), packed=b"the message")
    store.r.zadd(f"ix:{KIND}", {pending.id: 2 * 10**13 + store.now() - 61_000})
    store.r.hset(f"job:{pending.id}", "next", store.now() - 61_000)
    store.r.set("leader", "gw1", px=5000)
    assert store.call("overdue", "gw2", DAY) == "ok"
    assert store.stats()["outbox"]["count"] == 0
    for _ in range(2):
        assert store.call("overdue", "gw1", DAY) == "ok"
        assert store.stats()["outbox"] == {"count": 1, "bytes": 11}
    _, until, *items = store.call("outbox_take", 10)
    assert items == [pending.id, "the message"]
    store.call("outbox_done", pending.id, until)
    store.call("overdue", "gw1", DAY)
    assert store.stats()["outbox"]["count"] == 0, "not again within the minute"
    store.leased(pending, copy="c2")


# ---- pull ------------------------------------------------------------------------------------

def finished(store, value):
    job = make_pending(store)
    store.finish(store.leased(job), value)
    return job


def test_pull_hands_each_job_out_once_newest_first(store):
    jobs = [finished(store, b"%d" % i) for i in range(5)]
    for i, job in enumerate(jobs):
        store.r.zadd(f"done:{KIND}", {job.id: 1000 + i})
    assert list(store.pull(2).values()) == ["4", "3"]
    assert list(store.pull(10).values()) == ["2", "1", "0"]
    assert store.pull() == {}
    assert store.call("get", jobs[0].id, 0, 1)[2] == "0"


def test_pull_skips_results_that_have_expired(store):
    jobs = [finished(store, b"%d" % i) for i in range(5)]
    for i, job in enumerate(jobs):
        store.r.zadd(f"done:{KIND}", {job.id: 1000 + i})
    store.r.delete(f"job:{jobs[4].id}", f"job:{jobs[2].id}")
    assert list(store.pull(2).values()) == ["3", "1"]


def test_pull_with_a_key_repeats_its_batch(store):
    finished(store, b"a")
    first = store.pull(10, "key")
    later = finished(store, b"b")
    assert store.pull(10, "key") == first and len(first) == 1
    assert 0 < store.ttl(f"batch:{KIND}:key") <= 600_000
    assert list(store.pull(10, "other")) == [later.id]


def test_pull_is_capped(store):
    store.r.zadd(f"done:{KIND}", {str(i): i for i in range(1500)})
    store.r.mset({f"out:{i}": b"x" for i in range(1500)})
    assert len(store.pull(10**15)) == 1000
    assert len(store.pull(10**15)) == 500


# ---- get, stats, watch -------------------------------------------------------------------------

def test_watched_jobs_publish_their_end(store):
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:ended")
    assert heard.get_message(timeout=5) is None
    ends = {"finish": lambda lease: store.finish(lease), "fail": lambda lease: store.fail(lease, "permanent"),
            "cancel": lambda lease: store.cancel(lease.job)}
    for end in ends.values():
        silent, watched = make_pending(store), make_pending(store)
        assert store.call("get", watched.id, 1, 0)[0] == "ok"
        end(store.leased(silent))
        end(store.leased(watched))
        assert heard.get_message(timeout=5)["data"][:36].decode() == watched.id
    assert store.call("get", watched.id, 1, 1)[0] == "ok"
    heard.close()


def unpacked(store, text):
    """Redis reads what Redis has packed: one value, and nothing behind it."""
    return store.r.eval("assert(select('#', cmsgpack.unpack(ARGV[1])) == 1) return cmsgpack.unpack(ARGV[1])", 0, text)


@pytest.mark.parametrize("result", [b"", b"short", bytes(range(256)) * 2, b"\r\n" * 2048, b"x" * 4097, None])
def test_the_end_of_a_watched_job_is_told_with_what_get_would_answer(store, result):
    """But for a result that is long; None: the job fails."""
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:ended")
    assert heard.get_message(timeout=5) is None
    job = make_pending(store)
    store.call("get", job.id, 1, 1)
    if result is None:
        store.fail(store.leased(job), "permanent")
    else:
        store.finish(store.leased(job), result)
    told = unpacked(store, heard.get_message(timeout=5)["data"][37:])
    asked = store.r.evalsha(store.shas["get"], 0, store.epoch, job.id, 1, 1)
    assert told[0].decode() == store.epoch
    assert told[1:] == (asked[1:2] if result and len(result) > 4096 else asked[1:])
    heard.close()


def test_the_end_of_a_job_with_ties_is_told_by_its_id(store):
    """Ties go on changing the record after the end."""
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:ended")
    assert heard.get_message(timeout=5) is None
    job = make_pending(store, refs='{"blobs":["some-blob"]}')
    store.call("get", job.id, 1, 1)
    store.finish(store.leased(job))
    assert heard.get_message(timeout=5)["data"].decode() == job.id
    heard.close()


def test_stats_are_one_consistent_text(store, pending):
    store.finish(store.leased(make_pending(store)))
    store.fail(store.leased(make_pending(store)))
    store.leased(make_pending(store))
    store.cancel(make_pending(store))
    store.fail(store.leased(make_pending(store)), "permanent")
    store.call("beat", "w1", '{"id":"w1"}', '[["wait:hash","0.5",2],["wait:hash","sum",0.75]]')
    store.call("beat", "w1", '{"id":"w1"}', '[["wait:hash","0.5",1]]')
    stats = store.stats()
    states = {"accepted": 6, "pending": 1, "in-progress": 1, "retrying": 1, "completed": 1, "failed": 1,
              "cancelled": 1}
    assert stats["epoch"] == int(store.epoch)
    assert stats["jobs"] == states
    oldest = stats["kinds"][KIND].pop("oldest_ms")
    assert 0 <= oldest < 60_000 and stats["kinds"] == {KIND: states}
    assert stats["workers"] == [{"id": "w1"}]
    assert stats["histograms"] == {"wait:hash": {"0.5": 3, "sum": 0.75}, "retries:hash": {"count": 1}}
    store.call("leave", "w1")
    assert store.stats()["workers"] == []


