# SPDX-License-Identifier: Apache-2.0
"""The index of all jobs: who is in it, who leaves it, and what `list` finds."""

import uuid

import pytest

from store_scripts import (  # noqa: F401  (some are fixtures)
    DAY, KIND, Group, Job, make_pending, server, store)


def names(store):
    return [job.decode() for job in store.r.zrange("jobs", 0, -1)]


def lists(store, limit=10, chunk=100, state="", kind="", group="", score=0, last=""):
    word, has_more, score, last, *rest = store.call("list", limit, chunk, state, kind, group, score, last)
    assert word == "ok"
    return rest[::2], has_more, (score, last)


def everything(store, **how):
    found, cursor = [], (0, "")
    while True:
        ids, has_more, cursor = lists(store, score=cursor[0], last=cursor[1], **how)
        found += ids
        if not has_more:
            return found


# ---- who is in it ------------------------------------------------------------------

def test_a_job_is_listed_from_the_moment_it_counts(store):
    job, held, fast = (Job(store) for _ in range(3))
    for each in (job, held, fast):
        store.create(each)
    assert names(store) == []
    store.accept(job), store.outbox(held), store.leased(fast)
    assert sorted(names(store)) == sorted((job.id, held.id, fast.id))
    assert store.r.zscore("jobs", job.id) == job.created


def test_a_job_that_ends_before_it_counts_is_listed_with_it(store):
    job = Job(store, deadline=1)
    store.create(job)
    assert store.claim(job)[0] == "terminal"
    assert names(store) == [job.id]


def test_a_lost_job_is_listed_again_and_its_time_is_not_believed_beyond_the_present(store):
    job = make_pending(store)
    foreign = Job(store)
    foreign.epoch, foreign.created = "0", 253402300799000
    store.lose_all()
    store.leased(job), store.leased(foreign)
    assert sorted(names(store)) == sorted((job.id, foreign.id))
    assert store.r.zscore("jobs", foreign.id) <= store.now()


def test_tiles_are_listed_as_their_product_is(store):
    group = Group(store, 2)
    group.split()
    assert len(names(store)) == 3 and len(everything(store)) == 3


# ---- who leaves it --------------------------------------------------------------------

def old_jobs(store, count, is_there=False):
    """Entries older than the retention."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for n, job in enumerate(ids):
        store.r.zadd("jobs", {job: store.now() - 2 * DAY + n})
        if is_there:
            store.r.hset(f"job:{job}", mapping={"state": "failed", "kind": KIND})
            store.r.pexpire(f"job:{job}", DAY)
    return ids


def test_the_leader_takes_out_who_has_expired_and_goes_on_while_it_pays(store):
    there = old_jobs(store, 1, is_there=True)
    old_jobs(store, 1500)
    young = make_pending(store)
    store.r.zadd("jobs", {"gone-but-young": store.now()})
    assert store.call("overdue", "g1", DAY) == ["ok", 1]
    assert store.call("overdue", "g2", DAY) == "ok" and store.r.zcard("jobs") == 504   # another is the leader
    assert store.call("overdue", "g1", DAY) == "ok"
    assert names(store) == [*there, *sorted(names(store)[1:], key=lambda job: store.r.zscore("jobs", job))]
    assert set(names(store)) == {*there, young.id, "gone-but-young"}
    assert not store.r.exists("jobs:round")


def test_old_jobs_that_are_still_there_do_not_keep_it_from_the_others(store):
    there = old_jobs(store, 1200, is_there=True)
    old_jobs(store, 100)
    for _ in range(2):
        assert store.call("overdue", "g1", DAY) == "ok"
    assert sorted(names(store)) == sorted(there)


# ---- what is found ----------------------------------------------------------------------

@pytest.mark.parametrize("limit, chunk", [(1, 100), (3, 2), (2, 3), (10, 1), (10, 100)])
def test_jobs_of_one_moment_are_each_found_once(store, limit, chunk):
    jobs = [Job(store) for _ in range(7)]
    for job in jobs:
        job.created = jobs[0].created
        store.create(job), store.accept(job)
    expected = sorted((job.id for job in jobs), reverse=True)
    for how in ({}, {"state": "pending"}, {"kind": KIND}):
        assert everything(store, limit=limit, chunk=chunk, **how) == expected


def test_a_cursor_whose_job_has_gone_stands_where_it_stood(store):
    jobs = [Job(store) for _ in range(5)]
    for job in jobs:
        job.created = jobs[0].created
        store.create(job), store.accept(job)
    ids = sorted((job.id for job in jobs), reverse=True)
    _, _, cursor = lists(store, limit=3)
    assert cursor[1] == ids[2]
    store.cancel(next(job for job in jobs if job.id == ids[2]))
    store.r.delete(f"job:{ids[2]}")
    store.r.zrem("jobs", ids[2])
    assert lists(store, score=cursor[0], last=cursor[1])[0] == ids[3:]
    assert store.r.zcard("jobs") == 4


@pytest.mark.parametrize("count", [3, 2100])
def test_few_and_many_are_found_alike(store, count):
    """Few are found by the index of their state or group, many by that of all jobs."""
    name = store.make_set()
    jobs = [make_pending(store, group=name) for _ in range(count)]
    other = make_pending(store)
    lease = store.leased(other)
    expected = sorted(((job.created, job.id) for job in jobs), reverse=True)
    for how in ({"state": "pending"}, {"group": name}, {"group": name, "state": "pending", "kind": KIND}):
        assert everything(store, limit=1000, chunk=1000, **how) == [job for _, job in expected], how
    assert everything(store, state="in-progress") == [other.id]
    assert everything(store, state="in-progress", group=name) == everything(store, state="pending", kind="spin") == []
    store.finish(lease)
