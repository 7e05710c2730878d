# SPDX-License-Identifier: Apache-2.0
"""Blobs in the store: results that are blobs, and inputs that a record still needs."""

import json
import uuid

import pytest

from store_scripts import (  # noqa: F401  (some are fixtures)
    CHECK, DAY, KIND, Group, Job, finish_member, group, make_pending, server, store)

# ---- results that are blobs -----------------------------------------------------

def test_a_result_may_be_a_blob(store):
    job = make_pending(store)
    lease = store.leased(job)
    assert store.finish(lease, b"", 0, CHECK % 0.25, "the-blob", 12345) == "ok"
    record = store.record(job)
    assert (record["blob"], record["bytes"], record["verified"]) == ("the-blob", "12345", CHECK % 0.25)
    assert "out" not in record and not store.r.exists(f"out:{job.id}")
    word, fields, data = store.call("get", job.id, 0, 1)
    assert word == "ok" and data is None


def test_an_inline_result_may_be_verified(store):
    job = make_pending(store)
    assert store.finish(store.leased(job), b"r", 0, CHECK % 1) == "ok"
    assert store.record(job)["verified"] == CHECK % 1
    assert store.call("get", job.id, 0, 1)[2] == "r"
    assert "verified" not in store.record(finished(store))


def finished(store):
    job = make_pending(store)
    assert store.finish(store.leased(job), b"r", 0) == "ok"
    return job


# ---- blobs that are needed -------------------------------------------------------------------

A, B = str(uuid.uuid4()), str(uuid.uuid4())
REFS = json.dumps({"blobs": [A, B], "A": {"at": "blob"}})


def needed(store, *names, grace=0):
    word, *items = store.call("blobs_needed", grace, *names)
    assert word == "ok"
    return items


def test_who_needed_a_blob_for_a_while_is_forgotten_while_others_need_it(store):
    for _ in range(3):
        store.create(Job(store, refs=REFS))  # never accepted
    for job in store.r.zrange(f"blob:{A}", 0, -1):
        store.r.zadd(f"blob:{A}", {job: store.now() - 1})
    user = make_pending(store, refs=REFS)
    assert [job.decode() for job in store.r.zrange(f"blob:{A}", 0, -1)] == [user.id]


def test_an_input_is_needed_until_its_job_has_ended(store):
    job = Job(store, refs=REFS)
    assert needed(store, A, B) == []
    store.create(job)
    assert needed(store, A, B) == [A, B] and 0 < store.ttl(f"blob:{A}") <= 60_000
    store.accept(job)
    assert store.ttl(f"blob:{A}") == -1
    other = make_pending(store, refs=json.dumps({"blobs": [B]}))
    store.finish(store.leased(job))
    assert needed(store, A, B, "no-such-blob") == [B]
    store.cancel(other)
    assert needed(store, A, B) == []


@pytest.mark.parametrize("begin", ["outbox", "claim", "recreate", "settle"])
def test_an_input_is_needed_from_whatever_counts_the_job(store, begin):
    job = Job(store, refs=REFS)
    store.create(job)
    if begin == "outbox":
        store.outbox(job)
    elif begin == "claim":
        store.leased(job)
    else:
        lease = store.leased(job)
        store.lose_all()
        store.renew(lease) if begin == "settle" else store.leased(job, "w2")
    assert needed(store, A, B) == [A, B] and store.ttl(f"blob:{A}") == -1


def test_an_input_is_needed_while_a_failed_job_can_be_retried(store):
    job, poor = (make_pending(store, refs=REFS) for _ in range(2))
    store.fail(store.leased(poor), "permanent", kept_max=0)
    store.fail(store.leased(job), "permanent")
    assert needed(store, A) == [A] and DAY - 5000 < store.ttl(f"blob:{A}") <= DAY
    store.call("retry", job.id)
    assert store.ttl(f"blob:{A}") == -1
    store.finish(store.leased(job, copy="2"))
    assert needed(store, A) == []


def test_a_group_needs_its_input_as_long_as_its_parent(store):
    group = Group(store, refs=REFS)
    group.split()
    members = group.relay()
    assert json.loads(members[0].refs)["blobs"] == [A, B]
    finish_member(store, members[0])
    store.cancel(group.parent)
    for number in (1, 2):
        store.claim(members[number])
    assert needed(store, A, B) == []


def test_two_messages_under_one_key_tie_the_blobs_of_both(store):
    first = Job(store, idem="key", digest="d", refs=json.dumps({"blobs": [A]}))
    second = Job(store, idem="key", digest="d", refs=json.dumps({"blobs": [B, A]}))
    assert store.create(first) == "ok"
    assert store.create(second) == ["exists", first.id, KIND, "unconfirmed"] and needed(store, A, B) == [A]
    second.id = first.id
    assert store.create(second) == store.create(first) == "ok"
    assert needed(store, A, B) == [A, B] and store.record(first)["blobs"] == f"{A} {B}"
    store.accept(first)
    assert store.ttl(f"blob:{A}") == store.ttl(f"blob:{B}") == -1
    assert store.create(second) == ["exists", first.id, KIND, "pending"]  # too late to publish another
    store.finish(store.leased(first))
    assert needed(store, A, B) == []


def test_a_result_is_needed_as_long_as_its_record(store, group):
    group.split()
    name = f"{group.parent.id}-0-123"
    assert needed(store, name, f"{uuid.uuid4()}-5") == [name]
    store.cancel(group.parent)
    assert needed(store, name) == [name]
    store.r.delete(f"job:{group.parent.id}")
    assert needed(store, name) == []


@pytest.mark.parametrize("name", ["%s-5", "%s-3-5"])
def test_a_result_that_is_the_input_of_another_job_is_needed_by_that(store, name):
    name = name % uuid.uuid4()  # of a job whose record has expired
    job = make_pending(store, refs=json.dumps({"blobs": [name]}))
    assert needed(store, name) == [name]
    store.finish(store.leased(job))
    assert needed(store, name) == []


def test_in_a_young_epoch_every_blob_is_needed(store):
    assert needed(store, A, "x", grace=60_000) == [A, "x"]


@pytest.mark.parametrize("refs", ["", "no json", "[]", "7", '{"blobs":7}', '{"blobs":[7,null,"../x",{}]}', "{}"])
def test_refs_that_are_no_such_json_tie_nothing(store, refs):
    job = make_pending(store, refs=refs)
    assert "ties" not in store.record(job)
    store.lose_all()
    store.finish(store.leased(job))


def test_a_job_without_ties_has_none_of_it_in_its_record(store):
    job = finished(store)
    assert not {"ties", "blobs", "parent", "total", "blob", "verified"} & set(store.record(job))
