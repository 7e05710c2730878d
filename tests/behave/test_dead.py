# SPDX-License-Identifier: Apache-2.0
"""The dead queue, on a real fleet: what is in it and why, and another try for it."""
import concurrent.futures
import hashlib
import json
import random
import time
import uuid

import pika
import pytest

from harness import eventually, refused

QUEUE = "millrace.dead"


@pytest.fixture
def channel(servers):
    connection = servers.amqp()
    channel = connection.channel()
    channel.confirm_delivery()
    yield channel
    if connection.is_open:
        connection.close()


def send(channel, queue, body=b"x", id=None, kind="hash", headers=None, **more):
    """A foreign producer's message; its id."""
    id = id or str(uuid.uuid4())
    headers = {"params": '{"iterations":1}'} if headers is None else headers
    channel.basic_publish("", queue, body, pika.BasicProperties(
        message_id=id or None, type=kind, delivery_mode=2, headers=headers, **more), mandatory=True)
    return id


def dead(fleet, limit=100, gateway=None):
    answer = fleet.call("GET", f"/dead?limit={limit}", gateway)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(fleet, **how):
    return [letter["id"] for letter in dead(fleet, **how)["dead"]]


def replay(fleet, id, gateway=None):
    return fleet.call("POST", f"/dead/{id}/replay", gateway)


def counted(fleet, count):
    return eventually(lambda: dead(fleet) if dead(fleet)["count"] == count else None, what=f"{count} dead messages")


# ---- what is in it ------------------------------------------------------------------


def test_an_empty_dead_queue_is_an_empty_list(fleet):
    fleet.start_gateway()
    assert dead(fleet) == {"dead": [], "count": 0}
    refused(replay(fleet, str(uuid.uuid4())), 404, "not-found", "no such dead message")


def test_messages_that_make_no_job_are_listed_with_their_reasons_and_stay_as_they_came(fleet, channel):
    fleet.start_gateway()
    fleet.start_worker()
    started = time.time()
    bad_params = send(channel, "millrace.hash", b"12345", headers={"params": 7, "shop": "north", "copy": "c"},
                      correlation_id="order-7")
    send(channel, "millrace.hash", b"no id", id="not-an-id")
    stranger = send(channel, "millrace.hash", b"xy", headers={"params": '{"colour":"red"}'})
    listed = counted(fleet, 3)
    by_id = {letter["id"]: letter for letter in listed["dead"]}
    assert by_id[bad_params]["reason"] == "header params must be text"
    assert "colour" in by_id[stranger]["reason"]
    (nameless,) = [letter for letter in listed["dead"] if letter["id"].startswith("d-")]
    assert nameless["reason"] == "message-id must be a UUID in lower case" and nameless["bytes"] == 5
    for letter in listed["dead"]:
        assert letter["kind"] == "hash"
        at = time.mktime(time.strptime(letter["received"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        assert started - 2 < at < time.time() + 2
    for letter in listed["dead"]:
        refused(replay(fleet, letter["id"]), 409, "wrong-state", "still no job")
    assert dead(fleet) == listed  # the same, in the same order, under the same ids
    found = {}
    for _ in range(3):
        _, properties, body = channel.basic_get(QUEUE)
        found[properties.message_id] = (properties, body)
    properties, body = found[bad_params]
    assert body == b"12345" and properties.correlation_id == "order-7" and properties.delivery_mode == 2
    assert properties.headers["params"] == 7 and properties.headers["shop"] == "north"
    assert properties.headers["queue"] == "millrace.hash"
    assert found["not-an-id"][1] == b"no id"
    assert fleet.job(bad_params)["error"]["code"] == "undecodable"


def test_looking_changes_neither_order_nor_count(fleet, channel):
    fleet.start_gateway()
    sent = [send(channel, QUEUE, b"x" * size) for size in (1, 300_000, 1, 20, 1)]
    for _ in range(3):
        for limit in (1, 3, 5, 100):
            listed = dead(fleet, limit=limit)
            assert [letter["id"] for letter in listed["dead"]] == sent[:limit] and listed["count"] == 5
        refused(replay(fleet, str(uuid.uuid4())), 404, "not-found")
    assert [letter["bytes"] for letter in listed["dead"]] == [1, 300_000, 1, 20, 1]
    assert [channel.basic_get(QUEUE)[1].message_id for _ in range(5)] == sent


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_hundreds_keep_their_order_whatever_is_looked_at_or_taken_out(make_fleet, servers, channel, queue_type):
    fleet = make_fleet(servers, MILLRACE_QUEUE_TYPE=queue_type)
    fleet.start_gateway()
    sent = [send(channel, QUEUE, b"x") for _ in range(1100)]
    eventually(lambda: dead(fleet)["count"] == 1100)
    for _ in range(2):
        assert ids(fleet, limit=1000) == sent[:1000]
    refused(replay(fleet, sent[1050]), 404, "not-found", "first 1000")
    for n in (999, 900, 64, 32, 31, 30, 0):  # the last of a portion, the first, one of its middle
        assert replay(fleet, sent[n]).status_code == 202
        del sent[n]
    assert ids(fleet, limit=1000) == sent[:1000]


def test_a_message_that_the_broker_buried_says_why(fleet, channel):
    fleet.start_gateway()
    id = send(channel, "millrace.hash")
    method, _, _ = eventually(lambda: (got := channel.basic_get("millrace.hash"))[0] and got)
    channel.basic_nack(method.delivery_tag, requeue=False)
    (letter,) = counted(fleet, 1)["dead"]
    assert letter["id"] == id and letter["kind"] == "hash" and letter["reason"] == "a consumer rejected it"
    assert letter["received"]
    fleet.start_worker()
    assert replay(fleet, id).status_code == 202
    assert fleet.wait_end(id)["state"] == "completed"
    assert dead(fleet)["count"] == 0


def test_a_message_that_nobody_explains(fleet, channel):
    fleet.start_gateway()
    known = send(channel, QUEUE, kind="spin", headers={})
    strange = send(channel, QUEUE, kind="dance")
    none = send(channel, QUEUE, kind=None)
    letters = dead(fleet)["dead"]
    assert [(letter["id"], letter["kind"]) for letter in letters] == [(known, "spin"), (strange, "dance"), (none, "")]
    assert all(letter["reason"] == "nothing says why it is here" and "received" not in letter for letter in letters)
    refused(replay(fleet, strange), 409, "wrong-state", "there is no kind 'dance'")
    refused(replay(fleet, none), 409, "wrong-state", "which kind")


def test_the_list_is_refused_what_it_does_not_take(fleet):
    fleet.start_gateway()
    refused(fleet.call("GET", "/dead?limit=0"), 400, "bad-parameter", "limit")
    refused(fleet.call("GET", "/dead?limit=1001"), 400, "bad-parameter", "limit")
    refused(fleet.call("GET", "/dead?queue=x"), 400, "bad-parameter", "queue")
    refused(fleet.call("POST", f"/dead/{uuid.uuid4()}/replay?force=1"), 400, "bad-parameter", "force")


def test_without_the_broker_there_is_nothing_to_list(make_fleet, private_servers):
    fleet = make_fleet(private_servers)
    fleet.start_gateway()
    private_servers.rabbitmq.kill9()
    refused(fleet.call("GET", "/dead"), 503, "broker-away")
    refused(replay(fleet, str(uuid.uuid4())), 503, "broker-away")


def test_a_broker_that_stood_still_in_the_middle_of_a_look_is_looked_at_again(make_fleet, private_servers):
    """Longer than a look takes, not so long that the connection ends; nobody is told of a part for the whole."""
    fleet = make_fleet(private_servers)
    fleet.start_gateway()
    connection = private_servers.amqp()
    channel = connection.channel()
    sent = [send(channel, QUEUE, b"x" * 262144) for _ in range(800)]
    eventually(lambda: dead(fleet)["count"] == len(sent))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        looks = 0
        while not looks or answer.result().status_code == 200:  # it may be over before it can be stopped
            answer = pool.submit(fleet.call, "GET", "/dead")
            eventually(lambda: channel.queue_declare(QUEUE, passive=True).method.message_count < len(sent), every=0)
            private_servers.rabbitmq.sigstop()
            frozen = time.monotonic()
            looks += 1
            assert looks < 10
            if not eventually(lambda: answer.done() or time.monotonic() > frozen + 5, deadline=10) or answer.done():
                private_servers.rabbitmq.sigcont()
                continue
            refused(answer.result(), 503, "broker-away")  # 12 s
            eventually(lambda: time.monotonic() > frozen + 16, deadline=20)
            private_servers.rabbitmq.sigcont()
    eventually(lambda: sorted(ids(fleet, limit=1000)) == sorted(sent), deadline=30)
    assert len(fleet.gateways[0].events("broker-connected", connection="publish")) == 1  # not thanks to another one
    connection.close()


def test_a_gateway_that_stops_answers_who_looks_at_a_frozen_broker(make_fleet, private_servers):
    fleet = make_fleet(private_servers)
    gateway = fleet.start_gateway()
    private_servers.rabbitmq.sigstop()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(fleet.call, "GET", "/dead"), pool.submit(replay, fleet, str(uuid.uuid4()))]
        eventually(lambda: gateway.clients() >= 2)
        gateway.sigterm()
        assert [answer.result().status_code for answer in answers] == [503, 503]
    assert gateway.wait(15) == 0


# ---- another try --------------------------------------------------------------------


def test_a_replayed_message_runs_and_leaves_the_queue_to_the_others(fleet, channel):
    fleet.start_gateway()
    fleet.start_worker()
    sent = [send(channel, QUEUE, body) for body in (b"one", b"two", b"three")]
    answer = replay(fleet, sent[1])
    assert answer.status_code == 202 and answer.json()["id"] == sent[1]
    record = fleet.wait_end(sent[1])
    assert record["state"] == "completed"
    assert fleet.result(sent[1]).json()["value"] == hashlib.sha512(b"two").hexdigest()
    assert ids(fleet) == [sent[0], sent[2]]
    refused(replay(fleet, sent[1]), 404, "not-found")
    fleet.assert_adds_up()


def test_only_our_own_headers_go_with_a_replay(fleet, channel):
    fleet.start_gateway()
    id = send(channel, QUEUE, headers={"params": '{"iterations":2}', "x-death": [], "CC": ["elsewhere"], "shop": "n",
                                       "reason": "none", "copy": "old", "idempotency": "k"})
    assert replay(fleet, id).status_code == 202
    _, properties, body = eventually(lambda: (got := channel.basic_get("millrace.hash"))[0] and got)
    headers = {name: value for name, value in properties.headers.items() if not name.startswith("x-")}
    assert body == b"x" and properties.message_id == id and properties.delivery_mode == 2
    assert headers.pop("copy") != "old"
    assert headers == {"params": '{"iterations":2}', "epoch": 0, "attempt": 0, "created": 0, "idempotency": "k"}


def test_a_job_that_failed_as_no_job_runs_when_its_message_is_one(fleet, channel, servers):
    """As when a newer worker knows the parameter: here the dead message is exchanged for a good one."""
    fleet.start_gateway()
    fleet.start_worker()
    id = send(channel, "millrace.hash", headers={"params": '{"iterations":0}'})
    record = fleet.wait_end(id)
    assert record["state"] == "failed"
    counted(fleet, 1)
    refused(replay(fleet, id), 409, "wrong-state", "iterations")
    channel.queue_purge(QUEUE)
    send(channel, QUEUE, b"good", id=id)
    assert replay(fleet, id).status_code == 202
    record = fleet.wait_end(id)
    assert record["state"] == "completed" and "error" not in record
    assert fleet.result(id).json()["value"] == hashlib.sha512(b"good").hexdigest()
    jobs = fleet.assert_adds_up()
    assert jobs["accepted"] == jobs["completed"] == 1
    assert servers.store().keys("ob:*") == [] and fleet.stats()["outbox"] == {"count": 0, "bytes": 0}


def test_a_replay_is_not_refused_by_the_deadline_that_has_passed(fleet, channel):
    fleet.start_gateway()
    fleet.start_worker()
    id = send(channel, QUEUE, b"late", headers={"params": '{"iterations":1}', "deadline": 1})
    assert replay(fleet, id).status_code == 202
    assert fleet.wait_end(id)["state"] == "completed"


def test_what_has_ended_otherwise_is_not_replayed(fleet, channel):
    fleet.start_gateway()
    cancelled = fleet.submit("spin", seconds=0)
    fleet.call("DELETE", f"/jobs/{cancelled}")
    send(channel, QUEUE, id=cancelled, kind="spin", body=b"", headers={"params": '{"seconds":0}'})
    refused(replay(fleet, cancelled), 409, "wrong-state", "cancelled")
    assert ids(fleet) == [cancelled]


def test_a_second_copy_of_a_live_job_is_sorted_out_by_its_claim(fleet, channel):
    fleet.start_gateway()
    job = fleet.submit("spin", seconds=0.2)
    send(channel, QUEUE, id=job, kind="spin", body=b"", headers={"params": '{"seconds":0.2}'})
    assert replay(fleet, job).status_code == 202
    fleet.start_worker()
    record = fleet.wait_end(job)
    assert (record["state"], record["attempt"]) == ("completed", 1)
    eventually(lambda: fleet.stats()["queues"]["spin"]["ready"] == 0)
    assert fleet.assert_adds_up()["completed"] == 1


def test_two_gateways_replay_and_look_at_once(fleet, channel):
    """Each message is replayed by exactly one; who looks meanwhile sees whole lists."""
    gateways = [fleet.start_gateway(), fleet.start_gateway()]
    fleet.start_worker()
    sent = [send(channel, QUEUE, b"%d" % i) for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        tries = [pool.submit(replay, fleet, id, gateway) for id in sent for gateway in gateways]
        looks = [pool.submit(dead, fleet, 100, gateway) for gateway in gateways * 4]
    for look in looks:
        listed = look.result()
        assert listed["count"] == len(listed["dead"])
        seen = [letter["id"] for letter in listed["dead"]]
        assert seen == [id for id in sent if id in seen]
    codes = [each.result().status_code for each in tries]
    assert sorted(codes) == [202] * 12 + [404] * 12, codes
    for id in sent:
        assert fleet.wait_end(id)["state"] == "completed"
    jobs = fleet.assert_adds_up()
    assert jobs["accepted"] == jobs["completed"] == 12 and dead(fleet)["count"] == 0


def test_a_gateway_killed_in_the_middle_of_a_replay_loses_nothing(fleet, channel):
    """Once the broker has noticed: the message is dead still, or alive, or both; never neither."""
    dice = random.Random(7)
    fleet.start_gateway()
    fleet.start_worker()
    failed = send(channel, "millrace.hash", headers={"params": '{"iterations":0}'})
    assert fleet.wait_end(failed)["state"] == "failed"  # one job that is to be pending again
    counted(fleet, 1)
    channel.queue_purge(QUEUE)
    sent = [send(channel, QUEUE, b"%d" % i, id=failed if i == 0 else None) for i in range(8)]
    for id in sent:
        victim = fleet.start_gateway()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(replay, fleet, id, victim)
            time.sleep(dice.uniform(0, 0.025))  # not a wait: the moment of the fault
            victim.kill9()
            was_accepted = answer.exception() is None and answer.result().status_code == 202
        eventually(lambda: id in ids(fleet) or fleet.call("GET", f"/jobs/{id}").status_code == 200, deadline=30)
        if was_accepted:
            assert fleet.wait_end(id)["state"] == "completed"
    for id in ids(fleet):
        answer = replay(fleet, id)
        if answer.status_code != 202:
            assert fleet.wait_end(id)["state"] == "completed", answer.text
    for id in sent:
        assert fleet.wait_end(id)["state"] == "completed"
    jobs = fleet.assert_adds_up()
    assert jobs["accepted"] == jobs["completed"] == len(sent), json.dumps(jobs)
