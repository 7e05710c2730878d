# SPDX-License-Identifier: Apache-2.0
"""A private fleet to measure: servers as ./run up starts them, gateway and workers on top.

Everything lies in a temporary folder and on free loopback ports, and is gone
when the with-block ends; should this interpreter be killed, the processes die
with it.
"""

import http.client
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time
import urllib.parse

import measure

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(REPOSITORY, "tools"))

from fleet.folder import Folder, free_port  # noqa: E402
from fleet.process import Process, Program  # noqa: E402
from fleet.servers import RabbitMQ, Redis, clean_environment  # noqa: E402

BUILD = os.path.abspath(os.environ.get("MILLRACE_BUILD", os.path.join(REPOSITORY, "build", "release")))
QUEUE_TYPES = ("quorum", "classic")


class Failed(Exception):
    """A sentence: why there is no number."""


def built(name):
    path = os.path.join(BUILD, name)
    if not os.access(path, os.X_OK):
        raise Failed(f"{path} is missing: build it first (./run does)")
    return path


def wait_for(is_true, seconds, what):
    """The first true answer; polled often, since some of these waits are what is measured."""
    deadline = time.monotonic() + seconds
    while not (answer := is_true()):
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.0005)
    return answer


class Rig:
    """The servers; gateway and workers are started by those benchmarks that need them."""

    def __init__(self, queue_type, prepare=None):
        """prepare: called with the broker (fleet.servers.RabbitMQ) before it starts."""
        self.queue_type = queue_type
        self.path = tempfile.mkdtemp(prefix="millrace-bench-")
        self.blobs = os.path.join(self.path, "blobs")
        self._processes = []
        self._count = 0
        self.workers = []
        self.gateway = None
        try:
            self._start_servers(prepare)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start_servers(self, prepare):
        folder = Folder(self.path)
        folder.open()
        self._folder = folder
        broker, store = RabbitMQ(folder), Redis(folder)
        self.amqp_url, self.redis_port = broker.url, store.port
        self.redis_url = store.url
        self._servers = broker, store
        if prepare:
            prepare(broker)
        self._start(broker.epmd)
        self.broker, self.redis = self._start(broker.node), self._start(store.node)
        self._wait_servers()

    def _wait_servers(self):
        broker, store = self._servers
        wait_for(store.is_ready, 20, "Redis")
        wait_for(broker.is_ready, 60, "RabbitMQ")

    def _start(self, program):
        process = Process(program)
        self._processes.append(process)
        return process

    def close(self):
        """The last started is stopped first: workers, gateway, servers."""
        for process in reversed(self._processes):
            process.stop(20)
        self._processes = []
        shutil.rmtree(self.path, ignore_errors=True)

    # -- servers that go away --------------------------------------------------

    def broker_is_settled(self):
        """Whether kill -9 would cost it no queue that was declared just now."""
        return self._servers[0].is_settled()

    def start_broker_again(self):
        """One that ended, on its data; returns when it serves."""
        self.broker = self._start(self.broker.program)
        self._wait_servers()

    def start_redis_again(self):
        self.redis = self._start(self.redis.program)
        self._wait_servers()

    # -- the product's programs ---------------------------------------------

    def daemon(self, name, **settings):
        """A Program with the fleet's settings; it has a log of its own."""
        self._count += 1
        env = {**clean_environment(), "MILLRACE_AMQP_URL": self.amqp_url, "MILLRACE_REDIS_URL": self.redis_url,
               "MILLRACE_QUEUE_TYPE": self.queue_type, "MILLRACE_BLOB_DIR": self.blobs, "MILLRACE_LOG": "warn"}
        env.update({f"MILLRACE_{key.upper()}": str(value) for key, value in settings.items()})
        log = self._folder.file("log", f"{name}-{self._count}.log")
        return Program(name, [built(name)], env, log)

    def start_gateway(self, **settings):
        self.port = free_port()
        self.gateway = self._start(self.daemon("millrace-api", port=self.port, **settings))
        self._wait_daemon(self.gateway, lambda: is_ready(self.port))

    def start_worker(self, slots, cpus=None, **settings):
        """cpus: those it may run on ("0" or "0,1"), None: all."""
        ready = self._folder.file("ready", f"worker-{self._count}")
        program = self.daemon("millrace-worker", slots=slots, ready_file=ready, **settings)
        if cpus:
            program.argv[:0] = ["taskset", "--cpu-list", cpus]
        worker = self._start(program)
        self.workers.append(worker)
        self._wait_daemon(worker, lambda: os.path.exists(ready) and len(measure.children(worker.pid)) >= slots)
        return worker

    def _wait_daemon(self, process, is_ready):
        try:
            wait_for(lambda: is_ready() or not process.is_alive(), 20, f"{process.name} ready")
        except Failed as failed:
            raise Failed(f"{failed}; its log: {tail(process.program.log)}") from None
        if not process.is_alive():
            raise Failed(f"{process.name} ended ({process.status()}): {tail(process.program.log)}")

    def stop_worker(self, worker):
        worker.stop(20)
        self.workers.remove(worker)
        self._processes.remove(worker)

    # -- what they cost ------------------------------------------------------

    def cpu_roles(self):
        """For measure.CpuMeter: whichever of them run."""
        roles = {"broker": lambda: measure.tree_cpu_seconds(self.broker.pid),
                 "redis": lambda: measure.tree_cpu_seconds(self.redis.pid)}
        if self.gateway:
            roles["gateway"] = lambda: measure.tree_cpu_seconds(self.gateway.pid)
        if self.workers:
            roles["worker"] = lambda: sum(measure.own_cpu_seconds(w.pid) for w in self.workers)
            roles["executors"] = lambda: sum(measure.children_cpu_seconds(w.pid) for w in self.workers)
        return roles

    def redis_info(self, field):
        """A number of INFO."""
        with socket.create_connection(("127.0.0.1", self.redis_port), timeout=10) as connection:
            connection.sendall(b"INFO\r\n")
            text = b""
            while not (found := re.search(rb"\r\n%s:([0-9.]+)\r\n" % field.encode(), text)):
                piece = connection.recv(65536)
                if not piece:
                    raise Failed("Redis hung up")
                text += piece
        return float(found[1])

    # -- a client -------------------------------------------------------------

    def call(self, method, path, body=None, headers=None):
        """(status, body) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def submit(self, method, path, body, headers=None):
        """The id of an accepted job."""
        status, answer = self.call(method, path, body, headers)
        if status != 202:
            raise Failed(f"{method} {path} was answered by {status}: {answer[:300]}")
        return json.loads(answer)["id"]

    def record(self, job_id):
        return json.loads(self.call("GET", f"/jobs/{job_id}")[1])

    def wait_completed(self, job_id, seconds=60):
        """The record of a job that has ended well."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0, deadline - time.monotonic())
            _, answer = self.call("GET", f"/jobs/{job_id}?wait={min(50, int(left) + 1)}")
            record = json.loads(answer)
            if record.get("state") == "completed":
                return record
            if left == 0 or record.get("state") not in ("pending", "in-progress", "retrying"):
                raise Failed(f"a job did not complete: {record}")

    def submit_product(self, document, **params):
        """The id of an accepted product, its operands as POST /matrix_multiplication takes them."""
        path = "/matrix_multiplication" + ("?" + urllib.parse.urlencode(params) if params else "")
        return self.submit("POST", path, json.dumps(document), {"Content-Type": "application/json"})


def is_ready(port):
    """Whether /readyz says 200, by the cheapest request there is."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(1024).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def tail(path, lines=5):
    with open(path, encoding="utf-8", errors="replace") as file:
        return " | ".join(line.rstrip() for line in file.readlines()[-lines:])
