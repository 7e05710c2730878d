# SPDX-License-Identifier: Apache-2.0
"""GET /jobs: records, the newest first, by state, kind and group."""

import uuid

import pika
import pytest

from harness import refused


def page(fleet, **params):
    answer = fleet.call("GET", "/jobs", params=params)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"jobs", "next"}
    return answer.json()


def listed(fleet, **params):
    """Ids over all pages."""
    ids, after = [], {}
    while True:
        answer = page(fleet, **params, **after)
        ids += [record["id"] for record in answer["jobs"]]
        if answer["next"] is None:
            return ids
        after = {"after": answer["next"]}


@pytest.fixture
def gateway(fleet):
    fleet.start_gateway()
    return fleet


def test_an_empty_store_lists_nothing(gateway):
    assert page(gateway) == {"jobs": [], "next": None}


def test_the_newest_job_comes_first_whatever_its_state(gateway):
    jobs = [gateway.submit("hash", b"x", iterations=1) for _ in range(5)]
    gateway.call("DELETE", f"/jobs/{jobs[1]}")
    assert listed(gateway) == jobs[::-1]
    records = page(gateway)["jobs"]
    assert [record["state"] for record in records] == ["pending"] * 3 + ["cancelled", "pending"]
    assert records[3] == gateway.job(jobs[1])


def test_pages_of_any_size_have_each_job_once(gateway):
    jobs = [gateway.submit("hash", b"x", iterations=1) for _ in range(7)]
    for limit in (1, 2, 3, 7, 1000):
        assert listed(gateway, limit=limit) == jobs[::-1]
        assert listed(gateway, limit=limit, state="pending") == jobs[::-1]
    assert page(gateway, limit=7)["next"] is None


def test_filters_by_state_kind_and_group(gateway):
    group = gateway.call("POST", "/groups").json()["id"]
    hashes = [gateway.submit("hash", b"x", iterations=1, group=group) for _ in range(2)]
    spins = [gateway.submit("spin", seconds=0, group=group), gateway.submit("spin", seconds=0)]
    gateway.call("DELETE", f"/jobs/{hashes[0]}")
    gateway.call("DELETE", f"/jobs/{spins[1]}")
    assert listed(gateway, kind="spin") == spins[::-1]
    assert listed(gateway, state="cancelled") == [spins[1], hashes[0]]
    assert listed(gateway, state="cancelled", kind="hash") == [hashes[0]]
    assert listed(gateway, group=group) == [spins[0], hashes[1], hashes[0]]
    assert listed(gateway, group=group, state="pending", limit=1) == [spins[0], hashes[1]]
    assert listed(gateway, group=group, kind="spin", state="pending") == [spins[0]]
    assert listed(gateway, state="in-progress") == listed(gateway, state="failed") == []
    assert listed(gateway, group=str(uuid.uuid4())) == []


def test_a_cursor_outlives_the_job_that_it_names(gateway):
    jobs = [gateway.submit("hash", b"x", iterations=1) for _ in range(4)]
    first = page(gateway, limit=2)
    store = gateway.servers.store()
    store.delete(f"job:{jobs[2]}")
    store.zrem("jobs", jobs[2])
    store.zrem("ix:hash", jobs[2])
    newer = gateway.submit("hash", b"x", iterations=1)
    rest = page(gateway, limit=2, after=first["next"])
    assert [record["id"] for record in rest["jobs"]] == [jobs[1], jobs[0]]
    assert listed(gateway) == [newer, jobs[3], jobs[1], jobs[0]]


def test_jobs_of_workers_and_of_foreign_producers_are_listed(fleet):
    fleet.start_gateway()
    fleet.start_worker()
    job = fleet.submit("spin", seconds=60)
    fleet.wait_state(job, "in-progress")
    assert listed(fleet, state="in-progress") == [job] and listed(fleet, state="pending") == []
    fleet.call("DELETE", f"/jobs/{job}")
    foreign = str(uuid.uuid4())
    connection = fleet.servers.amqp()
    connection.channel().basic_publish("", "millrace.spin", b"", pika.BasicProperties(
        message_id=foreign, headers={"params": '{"seconds":0}', "created": 2**52}, delivery_mode=2))
    connection.close()
    fleet.wait_state(foreign, "completed")
    assert listed(fleet) == [foreign, job]


def test_a_long_list_is_searched_in_steps(gateway):
    """More jobs than one script looks at: what is sought lies behind them."""
    store = gateway.servers.store()
    wanted = gateway.submit("spin", seconds=0)
    gateway.call("DELETE", f"/jobs/{wanted}")
    created = int(store.zscore("jobs", wanted))
    pipe = store.pipeline(transaction=False)
    for n in range(4500):
        job = str(uuid.uuid4())
        pipe.hset(f"job:{job}", mapping={"state": "completed", "kind": "hash", "created": created + 1, "max": 3})
        pipe.zadd("jobs", {job: created + 1 + n // 3000})
    pipe.execute()
    assert listed(gateway, kind="spin") == listed(gateway, state="cancelled") == [wanted]
    everything = listed(gateway, limit=1000)
    assert len(everything) == len(set(everything)) == 4501 and everything[-1] == wanted


def test_what_the_list_does_not_take_is_refused_by_name(gateway):
    for query, words in (("state=running", ("state", "'running'", "in-progress")), ("state=unconfirmed", ("state",)),
                         ("kind=nap", ("kind", "'nap'")), ("group=plants", ("group", "'plants'")),
                         ("limit=0", ("limit", "from 1 to 1000")), ("limit=1001", ("limit",)),
                         ("limit=x", ("limit", "'x'")), ("after=12", ("after", "'12'", "next")),
                         (f"after=12-{'x' * 36}", ("after",)), (f"after={'1' * 16}-{uuid.uuid4()}", ("after",)),
                         (f"after=-{uuid.uuid4()}", ("after",)), ("states=failed", ("'states'", "state, kind, group")),
                         ("state=failed&state=failed", ("state", "twice"))):
        refused(gateway.call("GET", f"/jobs?{query}"), 400, "bad-parameter", *words)
