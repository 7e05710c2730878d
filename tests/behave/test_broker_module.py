# SPDX-License-Identifier: Apache-2.0
"""common/broker against a real RabbitMQ, through a small driver program.

What is published arrives as docs/protocol.md says; what foreign producers
write is read or refused with a reason; and on every bad day of the broker each
publish gets its outcome in time while the loop never stands still.
"""

import json
import os
import re
import socket
import subprocess
import threading
import time
import uuid

import pika
import pytest

from harness import BUILD, eventually, events_of

KINDS = "hash,matrix"
LAG_MS = 1000  # a loop that waits for the broker would stand still for seconds; a busy machine does for less


class Driver:
    """A running broker_driver and the events it told."""

    def __init__(self, url, queue_type="quorum", channels=1, heartbeat=5, log=None):
        self.log_path = log
        self._channels = channels
        with open(log, "ab") as file:
            self._process = subprocess.Popen(
                [os.path.join(BUILD, "broker_driver"), url, KINDS, queue_type, str(channels), str(heartbeat)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file, text=True)
        self.events = []
        self._unseen = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._unseen.append(self.events[-1])
                self._changed.notify_all()

    def say(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def expect(self, event, deadline=20.0, **fields):
        """The first event like this that no expect has had yet."""
        end = time.monotonic() + deadline
        with self._changed:
            while True:
                for found in self._unseen:
                    if found["event"] == event and all(found.get(key) == value for key, value in fields.items()):
                        self._unseen.remove(found)
                        return found
                if not self._changed.wait(end - time.monotonic()):
                    raise AssertionError(f"no {event} {fields} within {deadline} s; unseen: {self._unseen}\n"
                                         + self.log())

    def publish(self, to="work", kind="hash", rung=0, deadline_ms=5000, body=10):
        self.say(f"publish {to} {kind} {rung} {deadline_ms} {body}")

    def outcome(self, to="work", deadline=20.0, **message):
        self.publish(to, **message)
        return self.expect("published", deadline)["outcome"]

    def up(self):
        """Both connections, which come in either order."""
        self.expect("publisher", deadline=40, up=True)
        for number in range(self._channels):
            self.expect("ready", deadline=40, channel=number)
        return self

    def lag_ms(self):
        self.say("lag")
        return self.expect("lag")["ms"]

    def log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def stop(self):
        """The time it took in ms; a sanitizer's complaint is a status other than 0."""
        if self._process.poll() is not None:
            assert self._process.returncode == 0, self.log()
            return 0.0
        self.say("stop")
        took = self.expect("stopped")["ms"]
        assert self._process.wait(10) == 0, self.log()
        return took

    def kill(self):
        self._process.kill()
        self._process.wait()


@pytest.fixture
def make_driver(tmp_path):
    drivers = []

    def make(servers_or_url, **options):
        url = getattr(servers_or_url, "amqp_url", servers_or_url)
        drivers.append(Driver(url, log=str(tmp_path / f"driver-{len(drivers)}.log"), **options))
        return drivers[-1]

    yield make
    try:
        for driver in drivers:
            driver.stop()
    finally:
        for driver in drivers:
            driver.kill()


@pytest.fixture
def channel(servers):
    connection = servers.amqp()
    yield connection.channel()
    if connection.is_open:
        connection.close()


def consuming(driver, kind="hash", channel=0):
    driver.up()
    driver.say(f"consume {channel} {kind}")
    driver.expect("consuming", channel=channel, kind=kind)
    return driver


def get(channel, queue):
    """The next message of the queue, as (properties, body)."""
    def fetch():
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        return (properties, body) if method else None
    return eventually(fetch, what=f"a message in {queue}")


def rabbitmqctl(servers, *arguments):
    subprocess.run(["/usr/lib/rabbitmq/bin/rabbitmqctl", "-q", *arguments], env=servers.rabbitmq.program.env,
                   check=True, timeout=60, stdout=subprocess.DEVNULL)


# ---- messages ----

def test_broker__publishes_what_the_protocol_says_and_nothing_else(servers, channel, make_driver):
    driver = make_driver(servers, channels=0).up()
    assert driver.outcome(body=300_000) == "confirmed"
    properties, body = get(channel, "millrace.hash")
    assert body == b"x" * 300_000
    assert (properties.type, properties.delivery_mode) == ("hash", 2)
    assert properties.content_type == "application/octet-stream"
    assert uuid.UUID(properties.message_id).version == 7
    copy = properties.headers.pop("copy")
    assert re.fullmatch("[0-9a-f]{32}", copy)
    properties.headers.pop("x-delivery-count", None)  # the queue's, not ours
    assert properties.headers == {
        "params": "{}", "epoch": 1700000000000000, "attempt": 2, "created": 1763679000123, "idempotency": "key-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_broker__a_delayed_message_comes_to_its_work_queue_when_its_time_is_over(servers, make_driver, queue_type):
    driver = make_driver(servers, queue_type=queue_type).up()
    began = time.monotonic()
    driver.publish("delay", rung=0)
    first = driver.expect("published", outcome="confirmed")["id"]
    driver.publish("delay", rung=1)
    second = driver.expect("published", outcome="confirmed")["id"]
    driver.say("consume 0 hash")
    for message, seconds in ((first, 1), (second, 2)):
        delivery = driver.expect("delivery", id=message, bad="ok", attempt=2)
        assert seconds - 0.1 < time.monotonic() - began < seconds + 5
        assert delivery["idempotency"] == "key-1" and delivery["body_bytes"] == 10
        driver.say("ack 0")


def test_broker__the_dead_queue_takes_what_is_sent_there(servers, channel, make_driver):
    driver = make_driver(servers, channels=0).up()
    assert driver.outcome("dead") == "confirmed"
    assert get(channel, "millrace.dead")[0].type == "hash"


ID = "01a1fb51-ccfc-7144-a77b-7fdc607c0d91"
FOREIGN = [  # properties, what of them is read, what the fault says
    ({"message_id": ID}, {"params": "{}", "epoch": 0, "attempt": 0, "copy": "", "type": "hash"}, None),
    ({"message_id": ID, "type": "hash", "headers": {"params": '{"iterations":3}', "attempt": 2, "created": 2 ** 40,
                                                    "epoch": True, "deadline": None, "x-death": [{"count": 1}]}},
     {"params": '{"iterations":3}', "attempt": 2, "created": 2 ** 40, "epoch": 1, "deadline": 0}, None),
    ({"message_id": ID, "headers": {"copy": b"abc", "params": b"{}", "epoch": 5}}, {"copy": "abc", "epoch": 5}, None),
    ({}, {"id": "", "type": "hash"}, "message-id is missing"),
    ({"message_id": "job-17"}, {"id": ""}, "message-id must be a UUID"),
    ({"message_id": ID.upper()}, {"id": ""}, "message-id must be a UUID"),
    ({"message_id": ID, "type": "matrix"}, {"id": ID}, "type is not the kind"),
    ({"message_id": ID, "headers": {"params": {"iterations": 3}}}, {"id": ID, "params": "{}"}, "params must be text"),
    ({"message_id": ID, "headers": {"params": 7, "attempt": 4}}, {"id": ID, "attempt": 4}, "params must be text"),
    ({"message_id": ID, "headers": {"attempt": -1}}, {"id": ID, "attempt": 0}, "header attempt must be an integer"),
    ({"message_id": ID, "headers": {"epoch": "soon"}}, {"id": ID, "epoch": 0}, "header epoch must be an integer"),
    ({"message_id": ID, "headers": {"copy": "c" * 33}}, {"id": ID, "copy": ""}, "header copy is too long"),
    ({"message_id": ID, "headers": {"idempotency": "a\0b"}}, {"id": ID}, "header idempotency is too long or more"),
    ({"message_id": ID, "headers": {"traceparent": b"\xff" * 50}}, {"id": ID}, "header traceparent is too long or more"),
    ({"message_id": ID, "headers": {"created": 2 ** 62, "deadline": 2 ** 62}},
     {"created": 253402300799999, "deadline": 253402300799999}, None),
    ({"message_id": ID, "headers": {"params": "p" * 65536, "copy": "c"}}, {"params": "p" * 65536, "copy": "c"}, None),
    ({"message_id": ID, "headers": {"params": "p" * 65537, "copy": "c"}}, {"params": "{}", "copy": "c"},
     "params is too long"),
    ({"message_id": ID, "headers": {"params": "p" * 130_900}}, {"params": "{}"}, "params is too long"),
    ({"message_id": ID, "content_type": "t" * 200}, {"id": ID, "content_type": ""}, "content-type is too long"),
]


def test_broker__reads_foreign_messages_or_says_what_is_wrong(servers, channel, make_driver):
    driver = consuming(make_driver(servers))
    for properties, fields, fault in FOREIGN:
        channel.basic_publish("", "millrace.hash", b"body", pika.BasicProperties(**properties))
        delivery = driver.expect("delivery")
        assert {key: delivery[key] for key in fields} == fields, properties
        assert delivery["bad"] == ("undecodable" if fault else "ok"), properties
        assert (fault or "") in delivery["detail"] and delivery["body_bytes"] == 4
        driver.say("ack 0")


def test_broker__a_header_table_nested_as_deep_as_a_frame_allows_does_no_harm(servers, channel, make_driver):
    depth = 15_000  # at 7 bytes each; the codec recurses
    table = b""
    for _ in range(depth):
        table = b"\1tF" + len(table).to_bytes(4, "big") + table
    driver = consuming(make_driver(servers))
    properties = pika.BasicProperties(message_id=ID)
    properties.headers = {"x": None}
    plain = b"".join(properties.encode())
    marker = len(table).to_bytes(4, "big") + table
    deep = plain.replace(b"\0\0\0\3\1xV", marker)
    assert deep != plain
    properties.encode = lambda: [deep]
    channel.basic_publish("", "millrace.hash", b"", properties)
    driver.expect("delivery", bad="ok", id=ID)


def test_broker__bodies_of_every_size_arrive_whole_up_to_8_mib(servers, channel, make_driver):
    driver = consuming(make_driver(servers))
    for size in (0, 1, 131064, 131065, 5 << 20, (8 << 20) + 5):  # 131064: what one frame holds
        kept = min(size, 8 << 20)
        body = bytes(i % 251 for i in range(1000)) * (size // 1000 + 1)
        body = body[:size]
        channel.basic_publish("", "millrace.hash", body, pika.BasicProperties(message_id=ID))
        delivery = driver.expect("delivery")
        total = 0
        for byte in body[:kept]:
            total = (total * 31 + byte) & 0xffffffff
        assert (delivery["body_bytes"], delivery["body_sum"], delivery["id"]) == (kept, total, ID)
        assert delivery["bad"] == ("ok" if kept == size else "undecodable")
        driver.say("ack 0")


def test_broker__a_publish_larger_than_the_window_goes_out(servers, channel, make_driver):
    driver = make_driver(servers, channels=0).up()
    assert driver.outcome(body=4 << 20) == "confirmed"
    assert len(get(channel, "millrace.hash")[1]) == 4 << 20


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_broker__confirms_20000_publishes_and_delivers_each_once(servers, make_driver, queue_type):
    driver = make_driver(servers, queue_type=queue_type, channels=2).up()
    driver.say("auto 1")
    driver.say("flood hash 20000 64 256 60000")
    assert driver.expect("flooded", deadline=60)["confirmed"] == 20000
    for channel in (0, 1):
        driver.say(f"consume {channel} hash")

    def drained():
        driver.say("lag")
        return driver.expect("lag")["deliveries"] >= 20000
    eventually(drained, deadline=60, every=0.1)
    driver.say("depths")
    assert driver.expect("depths")["hash"] == 0


# ---- channels ----

def test_broker__acks_before_the_stop_reach_the_broker(servers, channel, make_driver):
    driver = make_driver(servers).up()
    assert driver.outcome() == "confirmed"
    driver.say("consume 0 hash")
    driver.expect("delivery")
    driver.say("ack 0")
    driver.stop()
    assert channel.queue_declare("millrace.hash", passive=True).method.message_count == 0


def test_broker__a_requeued_delivery_comes_again_and_an_unconsumed_channel_is_idle(servers, make_driver):
    driver = make_driver(servers).up()
    assert driver.outcome() == "confirmed"
    driver.say("consume 0 hash")
    first = driver.expect("delivery")
    driver.say("unconsume 0")
    driver.expect("idle", by_broker=False)
    driver.say("nack 0 1")
    driver.say("consume 0 matrix")
    driver.expect("consuming", kind="matrix")
    driver.say("unconsume 0")
    driver.expect("idle", by_broker=False)
    driver.say("consume 0 hash")
    assert driver.expect("delivery")["id"] == first["id"]


def test_broker__a_channel_closed_by_the_broker_is_lost_and_opened_again(servers, make_driver):
    driver = make_driver(servers, channels=2).up()
    for number in (0, 1):
        driver.say(f"consume {number} hash")
        driver.expect("consuming", channel=number)
    driver.publish()
    number = driver.expect("delivery")["channel"]
    driver.say(f"misack {number}")
    driver.expect("lost", channel=number)
    driver.expect("ready", channel=number)
    driver.say(f"consume {number} hash")
    driver.expect("consuming", channel=number)
    assert driver.outcome() == "confirmed"
    driver.expect("delivery", bad="ok")


def test_broker__a_deleted_queue_cancels_its_consumers_and_is_declared_again(servers, channel, make_driver):
    driver = make_driver(servers, channels=3).up()
    for number, kind in ((0, "hash"), (1, "hash"), (2, "matrix")):
        driver.say(f"consume {number} {kind}")
        driver.expect("consuming", channel=number)
    channel.queue_delete("millrace.hash")
    idle = {driver.expect("idle", by_broker=True)["channel"] for _ in range(2)}
    assert idle == {0, 1}
    assert channel.queue_declare("millrace.hash", passive=True).method.consumer_count == 0
    driver.say("consume 0 hash")
    driver.expect("consuming", channel=0)
    assert driver.outcome() == "confirmed"
    driver.expect("delivery", channel=0, bad="ok")


@pytest.mark.parametrize("channels", [0, 1])
def test_broker__tells_ready_counts_and_minus_one_where_there_is_no_queue(servers, channel, make_driver, channels):
    driver = make_driver(servers, channels=channels).up()
    assert driver.outcome() == "confirmed"
    driver.say("depths")
    assert driver.expect("depths") == {"event": "depths", "hash": 1, "matrix": 0}
    channel.queue_delete("millrace.hash")
    driver.say("depths")
    assert driver.expect("depths") == {"event": "depths", "hash": -1, "matrix": 0}

    def healed():
        driver.say("depths")
        return driver.expect("depths")["hash"] == 0
    eventually(healed, what="the missing queue declared again")


# ---- bad days ----
#
# Who kills the broker takes private_servers: RabbitMQ 3.10 loses its dead-lettering
# processes, and refuses every publish from then on, when a quorum queue is deleted (as
# the next test's clean start does) while it still recovers.

def test_broker__an_unroutable_publish_is_returned_and_its_queue_declared_again(servers, channel, make_driver):
    driver = make_driver(servers, channels=0).up()
    channel.queue_delete("millrace.hash")
    driver.publish(kind="matrix")
    driver.publish(kind="hash")
    driver.publish(kind="matrix")
    outcomes = sorted(driver.expect("published")["outcome"] for _ in range(3))
    assert outcomes == ["confirmed", "confirmed", "returned"]
    eventually(lambda: driver.outcome(kind="hash") == "confirmed", what="the queue declared again")


def test_broker__a_queue_of_the_wrong_type_is_named_and_tried_again(servers, channel, make_driver):
    channel.queue_declare("millrace.hash", durable=True)
    driver = make_driver(servers)
    line = eventually(lambda: events_of(driver.log(), "broker-topology", what="queue=millrace.hash", code=406))[0]
    assert line["level"] == "error" and line["reason"].startswith("PRECONDITION_FAILED")
    assert driver.outcome() == "down"
    channel.queue_delete("millrace.hash")
    driver.up()
    assert driver.outcome() == "confirmed"


def test_broker__survives_kill_9_and_restart_of_the_broker(private_servers, make_driver):
    driver = make_driver(private_servers, channels=2).up()
    driver.say("consume 0 hash")
    driver.expect("consuming")
    assert driver.outcome() == "confirmed"
    driver.expect("delivery")
    private_servers.rabbitmq.kill9()
    driver.expect("publisher", up=False)
    began = time.monotonic()
    assert driver.outcome(deadline_ms=20000) == "down"
    assert time.monotonic() - began < 1
    events = {(event["event"], event.get("channel"), event.get("up")) for event in driver.events}
    assert {("lost", 0, None), ("lost", 1, None), ("consumer", None, False)} <= events
    driver.say("ack 0")  # of a channel that is gone: no effect, no harm
    private_servers.rabbitmq.start()
    private_servers.rabbitmq.wait_ready()
    driver.up()
    driver.say("consume 0 hash")
    driver.expect("delivery", bad="ok")
    driver.say("ack 0")
    eventually(lambda: driver.outcome() == "confirmed", deadline=40)
    assert driver.lag_ms() < LAG_MS


def test_broker__answers_every_publish_when_the_broker_is_killed_under_load(private_servers, make_driver):
    driver = make_driver(private_servers, channels=0).up()
    driver.say("flood hash 30000 64 1024 20000")
    eventually(lambda: "flooded" not in [event["event"] for event in driver.events], deadline=1)
    private_servers.rabbitmq.restart()
    flooded = driver.expect("flooded", deadline=60)
    counts = [flooded[name] for name in ("confirmed", "returned", "nacked", "unknown", "down")]
    assert sum(counts) == 30000 and flooded["unknown"] <= 64
    driver.say("lag")
    assert driver.expect("lag")["outstanding"] == 0


def test_broker__keeps_deadlines_while_the_broker_is_frozen(servers, make_driver):
    driver = make_driver(servers, heartbeat=2).up()
    assert driver.outcome() == "confirmed"
    driver.lag_ms()
    servers.rabbitmq.sigstop()
    try:
        for _ in range(40):
            driver.publish(deadline_ms=1000, body=262144)  # more than the window, the socket and the broker take
        outcomes = [driver.expect("published") for _ in range(40)]
        assert {event["outcome"] for event in outcomes} == {"unknown", "down"}
        assert all(950 <= event["ms"] < 1000 + LAG_MS for event in outcomes)
        driver.expect("publisher", up=False, deadline=15)  # two heartbeats
        assert driver.outcome(deadline_ms=20000, deadline=2) == "down"
        assert driver.lag_ms() < LAG_MS
    finally:
        servers.rabbitmq.sigcont()
    driver.up()
    eventually(lambda: driver.outcome() == "confirmed", deadline=30)


def test_broker__a_blocked_broker_refuses_at_once_and_serves_again(servers, make_driver):
    driver = make_driver(servers).up()
    driver.say("consume 0 matrix")
    rabbitmqctl(servers, "set_vm_memory_high_watermark", "0.0001")
    try:
        driver.publish(deadline_ms=2000)
        driver.expect("publisher", up=False)  # it blocks at the first publish
        assert driver.expect("published")["outcome"] == "unknown"
        began = time.monotonic()
        assert driver.outcome(deadline_ms=20000) == "down"
        assert time.monotonic() - began < 1
        driver.say("depths")
        assert driver.expect("depths")["matrix"] == 0  # the consuming connection is not blocked
        assert driver.lag_ms() < LAG_MS
    finally:
        rabbitmqctl(servers, "set_vm_memory_high_watermark", "0.4")
    driver.expect("publisher", up=True)
    assert driver.outcome() == "confirmed"


def test_broker__stops_within_a_second_while_the_broker_is_frozen(servers, make_driver):
    driver = make_driver(servers, channels=2, heartbeat=30).up()
    servers.rabbitmq.sigstop()
    try:
        for _ in range(20):
            driver.publish(deadline_ms=30000, body=262144)
        assert driver.lag_ms() < LAG_MS
        assert driver.stop() < 1000
        outcomes = {event["outcome"] for event in driver.events if event["event"] == "published"}
        assert outcomes == {"unknown", "down"}
    finally:
        servers.rabbitmq.sigcont()


def test_broker__finds_its_broker_by_name(servers, make_driver):
    driver = make_driver(servers.amqp_url.replace("127.0.0.1", "localhost")).up()
    assert driver.outcome() == "confirmed"


# ---- peers that are no broker ----

@pytest.mark.parametrize("greeting", [
    b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\0\0\x09\x01", b"\1\0\0\0\0\0\5ab",
    b"\1\0\0\0\0\0\4\0\x0a\0\x0a\xce", b"\1\0\0\0\0\0\4\0\x0a\0\x0a\0"])
def test_broker__a_peer_that_is_silent_or_talks_nonsense_does_no_harm(make_driver, greeting):
    with socket.create_server(("127.0.0.1", 0)) as server:
        driver = make_driver(f"amqp://guest:guest@127.0.0.1:{server.getsockname()[1]}/%2F")
        peer, _ = server.accept()
        with peer:
            peer.sendall(greeting)
            assert driver.outcome() == "down"
            assert driver.lag_ms() < LAG_MS
            assert driver.stop() < 1000


def test_broker__says_why_a_login_is_refused(servers, make_driver):
    driver = make_driver(servers.amqp_url.replace("guest:guest", "guest:wrong"))
    eventually(lambda: any("403 ACCESS_REFUSED" in line["reason"]
                           for line in events_of(driver.log(), "broker-connection-lost")))
    assert "wrong" not in driver.log()


@pytest.mark.parametrize("url,says", [
    ("amqps://guest:guest@127.0.0.1/", "amqps is not supported"),
    ("http://127.0.0.1/", "must read amqp://"), ("amqp://127.0.0.1:port/", "must read amqp://")])
def test_broker__refuses_a_url_that_it_cannot_use(url, says):
    program = subprocess.run([os.path.join(BUILD, "broker_driver"), url, KINDS, "quorum", "1", "5"],
                             capture_output=True, text=True, timeout=10, check=False)
    refused = json.loads(program.stdout)
    assert program.returncode == 1 and refused["code"] == "bad-setting" and says in refused["detail"]
