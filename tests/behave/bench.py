# SPDX-License-Identifier: Apache-2.0
"""A producer and a reader beside a fleet's workers: messages go in by hand, records are read in Redis, and blobs
are files. Nothing here takes a gateway."""

import io
import json
import os
import time
import uuid

import numpy
import pika
import redis
from harness import eventually


def new_id():
    """A UUIDv7, as any producer can make it."""
    dice = uuid.uuid4().int
    return str(uuid.UUID(int=int(time.time() * 1000) << 80 | 7 << 76 | dice & 0xFFF << 64 | 2 << 62
                         | dice & ((1 << 62) - 1)))


class Bench:
    def __init__(self, servers, fleet):
        self.servers, self.fleet = servers, fleet
        self.redis = redis.Redis(port=servers.redis_port, decode_responses=True, encoding_errors="replace")

    def _on_channel(self, what):
        connection = self.servers.amqp()
        try:
            return what(connection.channel())
        finally:
            connection.close()

    def put(self, kind, body=b"", refs=None, **params):
        job = new_id()
        headers = {"params": json.dumps(params)}
        if refs is not None:
            headers["input"] = refs if isinstance(refs, str) else json.dumps(refs)
        properties = pika.BasicProperties(message_id=job, type=kind, delivery_mode=2, headers=headers)
        self._on_channel(lambda channel: channel.basic_publish("", f"millrace.{kind}", body, properties))
        return job

    def ready(self, queue):
        return self._on_channel(lambda channel: channel.queue_declare(f"millrace.{queue}", passive=True)
                                .method.message_count)

    def take(self, queue):
        """The properties of a message that waits, if there is one; it is gone then."""
        return self._on_channel(lambda channel: channel.basic_get(f"millrace.{queue}", auto_ack=True)[1])

    def hurry(self):
        """What waits in the delay queues goes where it would go when its time is over; how many messages did."""
        def move(channel):
            count = 0
            for rung in range(10):
                while (got := channel.basic_get(f"millrace.delay.{2 ** rung}"))[0]:
                    channel.basic_publish("", f"millrace.{got[1].type}", got[2], got[1])
                    channel.basic_ack(got[0].delivery_tag)
                    count += 1
            return count
        return self._on_channel(move)

    def field(self, job, name):
        return self.redis.hget(f"job:{job}", name)

    def wait(self, job, state, deadline=15.0):
        eventually(lambda: self.field(job, "state") == state, deadline,
                   what=f"{job} {state}; {self.redis.hgetall('job:' + job)}")

    def assert_all_acked(self, kind):
        """Nothing waits, also no duplicate in a delay queue, and with its consumers gone nothing comes back."""
        queues = [kind] + [f"delay.{2 ** rung}" for rung in range(10)]
        eventually(lambda: not self.hurry() and not any(self.ready(queue) for queue in queues), deadline=40, every=0.2)
        for worker in self.fleet.workers:
            worker.stop()
        assert self.ready(kind) == 0


class Blobs:
    """The directory that a fleet's programs share (MILLRACE_BLOB_DIR)."""

    def __init__(self, path):
        self.path = str(path)

    def _at(self, name):
        return os.path.join(self.path, name[34:36], name)

    def put(self, array):
        """A sealed .npy of the array; its name."""
        name = new_id()
        text = io.BytesIO()
        numpy.save(text, array)
        os.makedirs(os.path.dirname(self._at(name)), exist_ok=True)
        with open(self._at(name) + ".sum", "w", encoding="ascii") as file:
            json.dump({"size": len(text.getvalue()), "head": 0, "xxh3": "0" * 32}, file)
        with open(self._at(name), "wb") as file:
            file.write(text.getvalue())
        return name

    def load(self, name):
        return numpy.load(self._at(name))

    def sum(self, name):
        with open(self._at(name) + ".sum", encoding="ascii") as file:
            return json.load(file)

    def sealed(self, prefix=""):
        """The names of all sealed blobs that begin so."""
        return sorted(name for folder, _, names in os.walk(self.path) if os.path.basename(folder) != "tmp"
                      for name in names if name.startswith(prefix) and not name.endswith(".sum"))

    def unsealed(self):
        folder = os.path.join(self.path, "tmp")
        return os.listdir(folder) if os.path.isdir(folder) else []
