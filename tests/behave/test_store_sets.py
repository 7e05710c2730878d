# SPDX-License-Identifier: Apache-2.0
"""Clients' groups in the store ("sets"): each guard, and what replays and losses do to their counts and ends.
The books of each set are audited behind every test."""

import uuid

import pytest

from store_scripts import (  # noqa: F401  (some are fixtures)
    CHECK, DAY, KIND, STATES, Group, Job, expire_lease, finish_member, make_pending, new_set_id, server, store)

HALF_DAY = DAY // 2


@pytest.fixture
def name(store):
    return store.make_set("leaves")


def counts(store, name):
    """The states that some member is in."""
    view = store.view(name)
    return {state: view[state] for state in STATES if view[state]}


def fail_for_good(store, job):
    lease = store.leased(job, copy=uuid.uuid4().hex)
    assert store.fail(lease, "permanent") == "failed"
    return lease


# ---- making, joining ------------------------------------------------------------------

def test_a_set_is_made_once_and_knows_its_name(store, name):
    first = store.view(name)
    assert (first["state"], first["name"], first["accepted"], first["ends"]) == ("open", "leaves", 0, 0)
    assert abs(first["created"] - store.now()) < 10_000
    store.make_set("leaves", name)
    assert store.view(name) == first


def test_a_job_joins_when_it_is_accepted(store, name):
    job = Job(store, group=name)
    assert store.create(job) == "ok"
    assert store.view(name)["accepted"] == 0
    assert store.accept(job) == store.accept(job) == "ok"
    assert counts(store, name) == {"pending": 1} and store.view(name)["accepted"] == 1
    assert not store.r.exists(f"set-coming:{name}")


def test_a_job_joins_by_a_fast_claim_or_by_the_outbox(store, name):
    claimed, held = Job(store, group=name), Job(store, group=name)
    store.create(claimed), store.create(held)
    store.leased(claimed)
    store.accept(claimed)
    assert store.outbox(held) == "ok"
    assert counts(store, name) == {"pending": 1, "in-progress": 1}


def test_a_set_that_is_closed_or_unknown_is_not_joined(store, name):
    assert store.create(Job(store, group=new_set_id(store))) == "no-group"
    store.close_set(name)
    job = Job(store, group=name, idem="key", digest="d")
    assert store.create(job) == "closed"
    assert store.state(job) is None and not store.r.exists("idem:key")


def test_a_repeated_submit_joins_once_also_when_the_set_was_closed_meanwhile(store, name):
    first = Job(store, group=name, idem="key", digest="d")
    store.create(first)
    store.close_set(name)
    again = Job(store, group=name, idem="key", digest="d")
    assert store.create(again)[:2] == ["exists", first.id]
    assert store.create(first) == "ok"
    store.accept(first)
    assert store.create(again) == ["exists", first.id, KIND, "pending"]
    assert store.view(name)["accepted"] == 1 and store.view(name)["state"] == "closed"


def test_a_submit_under_way_keeps_its_set_from_ending(store, name):
    job = Job(store, group=name)
    store.create(job)
    assert store.close_set(name)["state"] == "closed"
    store.r.zadd(f"set-coming:{name}", {job.id: store.now() - 1})
    assert store.view(name)["state"] == "ended"
    store.accept(job)
    assert store.view(name)["state"] == "closed"


def test_submits_that_come_to_nothing_are_forgotten_while_others_come(store, name):
    for _ in range(3):
        store.create(Job(store, group=name))
    for job in store.r.zrange(f"set-coming:{name}", 0, -1):
        store.r.zadd(f"set-coming:{name}", {job: store.now() - 1})
    last = Job(store, group=name)
    store.create(last)
    assert [job.decode() for job in store.r.zrange(f"set-coming:{name}", 0, -1)] == [last.id]


def test_jobs_without_a_set_touch_none(store, name):
    job = make_pending(store)
    store.finish(store.leased(job))
    assert store.view(name)["accepted"] == store.view(name)["ends"] == 0
    assert "ties" not in store.record(job) and "group" not in store.record(job)


# ---- moves -------------------------------------------------------------------------------

def test_each_move_of_a_member_is_one_of_its_set(store, name):
    job = make_pending(store, group=name)
    lease = store.leased(job)
    assert counts(store, name) == {"in-progress": 1}
    store.drain(lease)
    assert counts(store, name) == {"pending": 1}
    lease = store.leased(job)
    assert store.fail(lease, wait=0) == store.fail(lease, wait=0) == "retrying"
    assert counts(store, name) == {"retrying": 1}
    lease = store.leased(job)
    assert store.renew(lease) == "ok"
    assert store.finish(lease) == store.finish(lease) == "ok"
    assert counts(store, name) == {"completed": 1}
    assert store.ends(name) == ("open", 1, [job.id])


@pytest.mark.parametrize("how", ["fail", "lost", "expired", "cancel"])
def test_each_way_to_an_end_is_one_end(store, name, how):
    job = make_pending(store, group=name, deadline=store.now() + 1 if how == "expired" else 0)
    if how == "fail":
        lease = fail_for_good(store, job)
        assert store.fail(lease, "permanent") == "failed"
    elif how == "lost":
        for owner in ("w1", "w2", "w3"):
            store.leased(job, owner)
            expire_lease(store, job)
        assert store.claim(job, "w4", packed=b"packed")[0] == "terminal"
    elif how == "expired":
        while store.now() < job.deadline:
            pass
        assert store.claim(job)[0] == "terminal"
    else:
        assert store.cancel(job)[0] == "ok" and store.cancel(job)[0] == "refused"
    state = "cancelled" if how == "cancel" else "failed"
    assert counts(store, name) == {state: 1} and store.ends(name)[2] == [job.id]


def test_a_retried_member_lives_again_and_ends_again(store, name):
    job = make_pending(store, group=name)
    fail_for_good(store, job)
    store.close_set(name)
    assert store.view(name)["state"] == "ended" and 0 < store.ttl(f"set:{name}") <= DAY
    assert store.call("retry", job.id)[0] == "ok"
    assert counts(store, name) == {"pending": 1} and store.view(name)["state"] == "closed"
    assert store.ttl(f"set:{name}") == store.ttl(f"set-ends:{name}") == -1
    store.finish(store.leased(job))
    assert counts(store, name) == {"completed": 1}
    assert store.ends(name) == ("ended", 2, [job.id, job.id])


def test_a_product_in_tiles_is_one_member(store, name):
    group = Group(store, 2, group=name)
    group.split()
    members = group.relay()
    assert counts(store, name) == {"in-progress": 1}
    for number in range(2):
        finish_member(store, members[number])
    assert counts(store, name) == {"completed": 1} and store.ends(name)[2] == [group.parent.id]


def test_a_product_that_fails_by_a_tile_is_one_end(store, name):
    group = Group(store, 2, group=name)
    group.split()
    fail_for_good(store, group.relay()[1])
    assert counts(store, name) == {"failed": 1} and store.ends(name)[2] == [group.parent.id]


# ---- ends -------------------------------------------------------------------------------------

def test_ends_are_read_from_any_position(store, name):
    jobs = [make_pending(store, group=name) for _ in range(5)]
    for job in reversed(jobs):
        store.finish(store.leased(job))
    expected = [job.id for job in reversed(jobs)]
    assert store.ends(name, limit=2) == ("open", 2, expected[:2])
    assert store.ends(name, 2, 2) == ("open", 4, expected[2:4])
    assert store.ends(name, 4) == ("open", 5, expected[4:])
    assert store.ends(name, 5) == ("open", 5, [])


def test_ends_name_an_expired_record_and_show_the_others(store, name):
    jobs = [make_pending(store, group=name) for _ in range(2)]
    for job in jobs:
        store.finish(store.leased(job))
    store.r.delete(f"job:{jobs[0].id}")
    *_, first, nothing, second, record = store.call("set_ends", name, DAY, 0, 10, 0)
    assert (first, nothing, second) == (jobs[0].id, None, jobs[1].id)
    assert dict(zip(record[::2], record[1::2]))["state"] == "completed"


def test_one_notice_for_who_waits_however_many_end(store, name):
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:group")
    assert heard.get_message(timeout=5) is None
    jobs = [make_pending(store, group=name) for _ in range(4)]
    store.finish(store.leased(jobs[0]))
    store.ends(name, 0, watch=1)                # there is one: nothing to wait for
    store.finish(store.leased(jobs[1]))
    store.ends(name, 2, watch=1)
    for job in jobs[2:]:
        store.finish(store.leased(job))
    store.r.publish("millrace:group", "mark")
    assert [heard.get_message(timeout=5)["data"] for _ in range(2)] == [name.encode(), b"mark"]
    heard.close()


def test_who_waits_for_the_end_of_all_hears_of_that_alone(store, name):
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:group")
    assert heard.get_message(timeout=5) is None
    jobs = [make_pending(store, group=name) for _ in range(2)]
    store.view(name, watch=1)
    store.finish(store.leased(jobs[0]))
    store.close_set(name)
    store.r.publish("millrace:group", "mark")
    assert heard.get_message(timeout=5)["data"] == b"mark"
    store.finish(store.leased(jobs[1]))
    assert heard.get_message(timeout=5)["data"] == name.encode()
    heard.close()


def test_a_close_tells_who_waits(store, name):
    heard = store.r.pubsub(ignore_subscribe_messages=True)
    heard.subscribe("millrace:group")
    assert heard.get_message(timeout=5) is None
    store.ends(name, 0, watch=1)
    store.close_set(name)
    assert heard.get_message(timeout=5)["data"] == name.encode()
    heard.close()


# ---- cancel ---------------------------------------------------------------------------------------

def test_a_cancel_goes_in_batches(store, name):
    jobs = [make_pending(store, group=name) for _ in range(5)]
    store.leased(jobs[0])
    assert store.close_set(name, 2)["cancelled"] == 2
    assert store.close_set(name, 2)["cancelled"] == 4
    last = store.close_set(name, 2)
    assert (last["state"], last["cancelled"]) == ("ended", 5) and store.close_set(name, 2) == last
    assert sorted(store.ends(name)[2]) == sorted(job.id for job in jobs)


def test_a_member_that_no_batch_reaches_is_cancelled_when_it_is_met(store, name):
    pending, running = make_pending(store, group=name), make_pending(store, group=name)
    lease = store.leased(running)
    unseen = Job(store, group=name)
    store.create(unseen)
    store.r.hset(f"set:{name}", mapping={"closed": store.now(), "cancelled": store.now()})
    assert store.claim(pending)[5] == store.claim(unseen)[5] == "cancelled"
    assert store.renew(lease) == "cancelled"
    assert counts(store, name) == {"cancelled": 3} and store.view(name)["state"] == "ended"


def test_a_person_may_retry_a_member_of_a_cancelled_set(store, name):
    job = make_pending(store, group=name)
    fail_for_good(store, job)
    store.close_set(name, 10)
    assert store.call("retry", job.id)[0] == "ok"
    lease = store.leased(job)
    assert store.renew(lease) == "ok" and store.finish(lease) == "ok"
    assert counts(store, name) == {"completed": 1}


def test_a_tile_of_a_cancelled_member_is_cancelled(store, name):
    group = Group(store, 2, group=name)
    group.split()
    members = group.relay()
    store.close_set(name, 10)
    assert group.state() == "cancelled" and store.claim(members[0])[5] == "cancelled"
    assert counts(store, name) == {"cancelled": 1}


# ---- how long it is kept -----------------------------------------------------------------------------

def test_a_set_is_kept_while_members_live_and_then_for_a_while(store, name):
    assert HALF_DAY < store.ttl(f"set:{name}") <= DAY
    job = make_pending(store, group=name)
    assert store.ttl(f"set:{name}") == -1
    store.finish(store.leased(job))
    store.r.pexpire(f"set:{name}", 5000), store.r.pexpire(f"set-ends:{name}", 5000)
    store.ends(name)                            # somebody comes for it
    assert HALF_DAY < store.ttl(f"set:{name}") and HALF_DAY < store.ttl(f"set-ends:{name}")
    store.close_set(name)
    store.r.pexpire(f"set:{name}", 5000)
    store.view(name)                            # a closed one goes in its time
    assert store.ttl(f"set:{name}") <= 5000
    store.r.pexpire(f"set-ends:{name}", 5000)


def test_a_submit_keeps_the_set_that_it_is_on_its_way_to(store, name):
    store.r.pexpire(f"set:{name}", 500)
    store.create(Job(store, group=name))
    assert store.ttl(f"set:{name}") > 60_000


# ---- loss -------------------------------------------------------------------------------------------------

def test_a_member_makes_its_set_again(store, name):
    job = make_pending(store, group=name)
    store.lose_all()
    assert store.call("set_get", name, DAY, 0) == "gone"
    lease = store.leased(job)
    view = store.view(name)
    assert (view["state"], view["accepted"], view["in-progress"]) == ("open", 1, 1)
    assert store.create(Job(store, group=name)) == "ok"
    store.r.delete(f"set-coming:{name}")
    store.finish(lease)
    assert store.view(name)["state"] == "ended" and store.ends(name)[2] == [job.id]
    assert store.close_set(name)["state"] == "ended"


def test_a_settle_whose_claim_was_lost_makes_the_set_again(store, name):
    job = make_pending(store, group=name)
    lease = store.leased(job)
    store.lose_all()
    assert store.finish(lease) == store.finish(lease) == "ok"
    assert counts(store, name) == {"completed": 1} and len(store.ends(name)[2]) == 1


def test_positions_go_on_beyond_a_loss_of_everything(store, name):
    job = make_pending(store, group=name)
    position = 0
    for _ in range(3):
        made = make_pending(store, group=name)
        store.finish(store.leased(made))
        _, position, _ = store.ends(name, position)
    assert position == 3
    store.lose_all()
    store.finish(store.leased(job))
    state, after, ids = store.ends(name, position)
    assert ids == [job.id] and after > position and state == "ended"


def test_positions_go_on_beyond_a_rollback(store, name):
    job = make_pending(store, group=name)
    lease = store.leased(job)
    snapshot = store.snapshot()
    for _ in range(4):
        store.finish(store.leased(make_pending(store, group=name)))
    _, position, _ = store.ends(name)
    assert position == 4
    store.roll_back(snapshot)
    store.new_epoch()
    assert store.finish(lease) == "ok"
    assert store.ends(name, position)[2] == [job.id] and len(store.ends(name)[2]) == 1


def test_a_replay_after_a_rollback_counts_once(store, name):
    job = make_pending(store, group=name)
    lease = store.leased(job)
    snapshot = store.snapshot()
    store.finish(lease)
    store.roll_back(snapshot)
    store.new_epoch()
    assert store.finish(lease, replay=("ok",)) == "ok" == store.finish(lease, replay=("ok",))
    assert counts(store, name) == {"completed": 1} and store.ends(name)[2] == [job.id]


def test_a_result_that_was_accepted_wins_over_a_failure_of_its_loss(store, name):
    job = make_pending(store, group=name)
    lease = store.leased(job)
    store.new_epoch()
    store.claim(job, "w2", second=1)
    expire_lease(store, job)
    fail_for_good(store, job)
    assert store.finish(lease, replay=("ok",)) == "stale"  # a newer claim has failed it
    assert counts(store, name) == {"failed": 1} and store.view(name)["ends"] == 1


def test_a_close_and_a_cancel_outlive_a_loss_by_their_replay(store, name):
    job = make_pending(store, group=name)
    epoch = store.epoch
    store.close_set(name, 10)
    store.lose_all()
    assert store.close_set(name, 10) == "gone"
    assert store.close_set(name, 10, epoch)["state"] == "ended"
    assert store.claim(job)[5] == "cancelled"
    assert counts(store, name) == {"cancelled": 1}
    other = make_pending(store, group=store.make_set())
    epoch = store.epoch
    store.lose_all()
    assert store.close_set(other.group, 0, epoch)["state"] == "ended"
    lease = store.leased(other)
    assert store.view(other.group)["state"] == "closed"
    store.finish(lease)


def test_a_message_with_a_group_that_is_none_runs_all_the_same(store):
    for nonsense in ("plants", "x" * 36, "019'; return"):
        job = Job(store, group=nonsense)
        job.epoch = "0"
        store.finish(store.leased(job))
        assert store.state(job) == "completed"
    assert not list(store.r.scan_iter("set*"))


@pytest.mark.parametrize("text", ["-" * 36, "0000000a-----" + "0" * 23, "a" * 36, "../x", ""])
def test_a_message_that_names_no_set_is_of_none(store, text):
    """Anybody may have written it: its job ends all the same."""
    job = Job(store, group=text)
    job.epoch = 0
    lease = store.leased(job)
    assert store.finish(lease) == store.finish(lease) == "ok"
    assert "group" not in store.record(job) and not list(store.r.scan_iter("set*"))


def test_a_member_that_outlives_its_set_is_counted_when_it_is_retried(store, name):
    """Programs may be set to keep what has ended for different times."""
    job = make_pending(store, group=name)
    fail_for_good(store, job)
    store.r.delete(f"set:{name}", f"set-ends:{name}")
    assert store.call("retry", job.id)[0] == "ok"
    assert counts(store, name) == {"pending": 1} and store.view(name)["accepted"] == 1
    store.finish(store.leased(job, copy=uuid.uuid4().hex))
    assert counts(store, name) == {"completed": 1} and store.view(name)["state"] == "ended"


def test_of_a_member_that_has_expired_a_mark_is_no_record(store, name):
    """The replay of a pull leaves one."""
    job = make_pending(store, group=name)
    store.finish(store.leased(job))
    assert list(store.pull()) == [job.id]
    store.r.delete(f"job:{job.id}")
    store.new_epoch()
    assert store.call("pulled", KIND, DAY, job.id) == "ok"
    assert store.call("set_ends", name, DAY, 0, 10, 0)[3:] == [job.id, None]
    store.r.delete(f"job:{job.id}")
