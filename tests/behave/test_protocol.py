# SPDX-License-Identifier: Apache-2.0
"""docs/protocol.md is enough: a worker in Python, written from it, runs jobs beside those in C."""
import hashlib
import json
import pathlib
import re
import uuid

LUA = pathlib.Path(__file__).resolve().parents[2] / "common" / "store" / "lua"


class StrangersWorker:
    """Takes hash jobs, one at a time."""

    def __init__(self, servers):
        self.redis = servers.store()
        self.connection = servers.amqp()
        self.channel = self.connection.channel()
        self.channel.basic_qos(prefetch_count=1)
        self.channel.confirm_delivery()
        run_id = self.redis.info("server")["run_id"]
        self.epoch = self._eval("boot", run_id, alone=True)

    def _eval(self, script, *arguments, alone=False):
        first, rest = (LUA / f"{script}.lua").read_text().split("\n", 1)
        prelude = [] if alone else [(LUA / name).read_text() for name in ("lib.lua", "rare.lua", "group.lua", "set.lua")]
        return self.redis.eval("\n".join((first, *prelude, rest)), 0, *arguments)

    def call(self, script, *arguments):
        return self._eval(script, self.epoch, *arguments)

    def run_one(self):
        method, properties, body = next(self.channel.consume("millrace.hash", inactivity_timeout=10))
        headers = properties.headers or {}
        job = properties.message_id
        born = json.dumps({"kind": "hash", "created": headers.get("created", 0), "deadline": headers.get("deadline", 0),
                           "attempt": headers.get("attempt", 0), "max": 3, "idem": headers.get("idempotency", ""),
                           "digest": headers.get("digest", ""), "retention": 86400000, "losses_max": 5,
                           "kept_max": 1 << 20})
        answer = self.call("claim", job, headers.get("copy", ""), "stranger-1-1-0", headers.get("epoch", 0), 7, 15000, 0,
                           born)
        word, fence = (answer, None) if isinstance(answer, str) else (answer[0], answer[1])
        if word == "run":
            value = body
            for _ in range(json.loads(headers["params"])["iterations"]):
                value = hashlib.sha512(value).digest()
            word = self.call("finish", job, fence, self.epoch, born, 86400000, "application/octet-stream", 1, value)
        self.channel.basic_ack(method.delivery_tag)
        self.channel.cancel()
        return word

    def close(self):
        self.connection.close()


def test_a_strangers_worker_runs_jobs_of_the_gateway(servers, fleet):
    fleet.start_gateway()
    job = fleet.submit_hash(b"for a stranger", 3)
    stranger = StrangersWorker(servers)
    assert stranger.run_one() == "ok"
    stranger.close()
    record = fleet.wait_end(job)
    assert record["state"] == "completed" and record["worker"] == "stranger-1-1-0"
    expected = b"for a stranger"
    for _ in range(3):
        expected = hashlib.sha512(expected).digest()
    assert fleet.result(job).json()["value"] == expected.hex()
    assert [item["id"] for item in fleet.pull()] == [job]
    fleet.assert_adds_up()


def test_a_strangers_worker_forgets_what_was_cancelled(servers, fleet):
    fleet.start_gateway()
    job = fleet.submit_hash(b"x", 3)
    fleet.call("DELETE", f"/jobs/{job}")
    stranger = StrangersWorker(servers)
    assert stranger.run_one() == "terminal"
    stranger.close()
    assert fleet.job(job)["state"] == "cancelled"


def test_every_header_that_is_published_is_in_the_document(servers, fleet):
    fleet.start_gateway()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = fleet.call("PUT", "/enqueue?iterations=2&deadline=600", data=b"x",
                        headers={"Idempotency-Key": "k", "traceparent": trace})
    connection = servers.amqp()
    method, properties, body = connection.channel().basic_get("millrace.hash", auto_ack=True)
    connection.close()
    document = (LUA.parents[2] / "docs" / "protocol.md").read_text()
    assert properties.message_id == answer.json()["id"] and uuid.UUID(properties.message_id).version == 7
    assert properties.type == "hash" and properties.delivery_mode == 2 and body == b"x"
    ours = {name for name in properties.headers if not name.startswith("x-")}  # those are the broker's
    for name in ours:
        assert f"`{name}`" in document
    assert ours == {"params", "copy", "epoch", "attempt", "created", "deadline", "idempotency",
                                       "digest", "traceparent"}
    assert properties.headers["traceparent"] == trace
    assert json.loads(properties.headers["params"]) == {"iterations": 2, "deadline": 600}
    assert re.fullmatch("[0-9a-f]{32}", properties.headers["copy"])
    digest = hashlib.sha256(b"hash\0" + properties.headers["params"].encode() + b"\0x").hexdigest()
    assert properties.headers["digest"] == digest
