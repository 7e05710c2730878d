# SPDX-License-Identifier: Apache-2.0
"""Whole private fleets for the system tests.

    Servers   a RabbitMQ and a Redis of one's own, started as ./run up starts
              them (tools/fleet/servers.py), which a test may kill, freeze and
              restart
    Fleet     gateways and workers on such servers, and the calls of a client
    eventually(fn)   waits for a condition; no test sleeps for a fixed time

Everything listens on free loopback ports and writes below one temporary
folder. What a test starts ends with it: each process is stopped by its own pid
and dies with this interpreter should that be killed.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.parse

import pika
import redis
import requests

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(REPOSITORY, "tools"))

from fleet.folder import Folder, free_port  # noqa: E402
from fleet.process import Process, Program, start_time_of  # noqa: E402,F401
from fleet.servers import RabbitMQ, Redis  # noqa: E402

BUILD = os.path.abspath(os.environ.get("MILLRACE_BUILD", os.path.join(REPOSITORY, "build", "release")))
IS_SANITIZED = os.path.basename(BUILD) in ("asan", "tsan")  # not what anybody installs
LONG = os.environ.get("MILLRACE_TEST_LONG") == "1"
TERMINAL = ("completed", "failed", "cancelled")


def refused(answer, status, code, *words):
    """The problem of a refusal: its status, its code, and the words that its detail must have."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["code"] == code and problem["title"], problem
    for word in words:
        assert word in problem["detail"], problem
    return problem


def eventually(condition, deadline=10.0, every=0.02, what=None):
    """Returns the first true answer of condition(), asked again until deadline seconds are over.
    An exception that is not an AssertionError or a requests error goes through."""
    end = time.monotonic() + deadline
    answer = None
    while True:
        try:
            answer = condition()
            if answer:
                return answer
        except (AssertionError, requests.RequestException) as error:
            answer = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what or condition}; last answer: {answer!r}")
        time.sleep(every)


def thread_states(pid):
    """The kernel's letter for each thread of the process: R, S, T .."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii") as file:
            yield file.read().rsplit(")", 1)[1].split()[0]


def events_of(log, *names, **fields):
    """The lines of a program of ours as dicts: those that are one of these events (all, without a name) and have these
    fields. What a library or the shell said between them is not ours."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if (not names or line["event"] in names) and fields.items() <= line.items()]


class Running:
    """A process that a test may treat badly, and start again."""

    def __init__(self, program):
        self.program = program
        self.process = Process(program)

    @property
    def pid(self):
        return self.process.pid

    @property
    def returncode(self):
        return self.process.returncode

    def is_alive(self):
        return self.process.is_alive()

    def kill9(self):
        self.process.kill()

    def sigstop(self):
        """Returns when every thread stands still: the signal alone leaves some of them a moment."""
        self.process.signal(signal.SIGSTOP)
        eventually(lambda: set(thread_states(self.pid)) == {"T"}, what=f"{self.program.name} stopped")

    def sigcont(self):
        self.process.signal(signal.SIGCONT)

    def sigterm(self):
        self.process.terminate()

    def wait(self, seconds=10.0):
        """The exit status (negative: the signal); a process that goes on is a failure."""
        assert self.process.wait(seconds), f"{self.program.name} still runs {seconds} s later"
        return self.process.returncode

    def stop(self, seconds=20.0):
        """SIGTERM, then SIGKILL; fine for one that is stopped, frozen or dead."""
        if self.is_alive():
            self.sigcont()
        self.process.stop(seconds)

    def start(self):
        """Once more, on the same address and data."""
        assert not self.is_alive()
        self.process = Process(self.program)

    def log(self):
        with open(self.program.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def events(self, *names, **fields):
        """Of gateways and workers: the lines of the log so far that are one of these events, with these fields."""
        return events_of(self.log(), *names, **fields)


class Server(Running):
    """A server program together with the question whether it serves."""

    def __init__(self, program, is_ready):
        super().__init__(program)
        self._is_ready = is_ready

    def wait_ready(self, seconds=60.0):
        eventually(self._is_ready, deadline=seconds, what=f"{self.program.name} ready")

    def restart(self):
        """Killed, if it still runs, and started on the same data; returns when it serves again."""
        self.kill9()
        self.start()
        self.wait_ready()


class Broker(Server):
    def __init__(self, rabbitmq):
        super().__init__(rabbitmq.node, rabbitmq.is_ready)
        self._is_settled = rabbitmq.is_settled

    def kill9(self):
        """Not within the first seconds of a queue: RabbitMQ would lose it, and no test could be about us."""
        if self.is_alive():
            eventually(self._is_settled, what="the names of the quorum queues on disk")
        super().kill9()


class Servers:
    """.rabbitmq and .redis are Server; .amqp_url and .redis_url are for the programs under test.

    address: where they listen. password: they want one, RabbitMQ from the user `millrace`. metrics_port: of RabbitMQ,
    for Prometheus."""

    def __init__(self, address="127.0.0.1", password="", metrics_port=0):
        self._address, self._password = address, password
        self.path = tempfile.mkdtemp(prefix="millrace-test-")
        self._running = []
        try:
            folder = Folder(self.path)
            folder.open()
            self._folder = folder
            login = {"user": "millrace", "password": password} if password else {}
            broker, store = RabbitMQ(folder, address, metrics_port=metrics_port, **login), Redis(folder, address, password)
            self.amqp_url, self.redis_url = broker.url, store.tcp_url  # a proxy may stand in between
            self.amqp_port, self.redis_port = broker.port, store.port
            self.epmd = self._run(Running(broker.epmd))
            self.rabbitmq = self._run(Broker(broker))
            self.redis = self._run(Server(store.node, store.is_ready))
            self.redis.wait_ready()
            self.rabbitmq.wait_ready()
        except BaseException:
            self.close()
            raise

    def _run(self, running):
        self._running.append(running)
        return running

    def close(self):
        for running in self._running:
            running.process.kill()  # its data goes away: no need to close it in order
        self._folder.unlock()
        shutil.rmtree(self.path, ignore_errors=True)

    def amqp(self):
        """A new pika connection; the caller closes it."""
        return pika.BlockingConnection(pika.URLParameters(self.amqp_url))

    def store(self):
        """A Redis client for looking into the records."""
        return redis.Redis(self._address, self.redis_port, password=self._password or None, decode_responses=True)

    def clear(self):
        """As new for the next test: no queue, no exchange, no key of ours. Starts what a test left dead."""
        for server in (self.epmd, self.rabbitmq, self.redis):
            if server.is_alive():
                server.sigcont()
            else:
                server.start()
        self.redis.wait_ready()
        self.rabbitmq.wait_ready()
        self.store().flushall()
        try:
            clear_broker(self)
        except pika.exceptions.AMQPError:
            self.renew_broker()

    def renew_broker(self):
        """Without what it had. Quorum queues deleted in the moment after a restart in which their dead-letter workers
        start take the supervisor of those workers with them (3.10 lets it restart once in 5 s): from then on every
        declaration with at-least-once dead lettering ends in an internal error, until the node starts again."""
        self.rabbitmq.process.kill()
        shutil.rmtree(self.rabbitmq.program.env["RABBITMQ_MNESIA_BASE"])
        self.rabbitmq.start()
        self.rabbitmq.wait_ready()


def clear_broker(servers):
    """Deletes every durable thing of ours. A vhost per test would be cleaner, but one takes 1-2 s."""
    queues = ["millrace.dead"] + [f"millrace.{kind}" for kind in kinds() + ["sample"]]
    delays = [f"millrace.delay.{2 ** k}" for k in range(10)]
    connection = servers.amqp()
    channel = connection.channel()
    for queue in queues + delays:
        channel.queue_delete(queue)  # deleting what does not exist is no error
    for exchange in ["millrace.dead"] + delays:
        channel.exchange_delete(exchange)
    channel.queue_declare("millrace.trial", durable=True, arguments={
        "x-queue-type": "quorum", "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "", "x-dead-letter-strategy": "at-least-once"})
    channel.queue_delete("millrace.trial")
    connection.close()


def kinds():
    """Those of the product, in the order of their numbers."""
    with open(os.path.join(REPOSITORY, "kinds", "kinds.def"), encoding="utf-8") as file:
        names = [line[5:].split(",")[0] for line in file if line.startswith("KIND(")]
    return [name for name in names if name != "sample"]  # a kind of the tests


class Gateway(Running):
    def __init__(self, program, address, port):
        super().__init__(program)
        self.url = f"http://{address}:{port}"

    def wait_ready(self, seconds=20.0):
        eventually(lambda: self._answers(), deadline=seconds, what=f"{self.program.name} ready")

    def _answers(self):
        assert self.is_alive(), f"{self.program.name} ended: {self.process.status()}"
        return requests.get(self.url + "/readyz", timeout=2).json().get("accepts_by") == "broker"

    def clients(self):
        """How many are connected."""
        port = int(self.url.rsplit(":", 1)[1])
        with open(f"/proc/{self.pid}/net/tcp", encoding="ascii") as file:
            lines = [line.split() for line in file.readlines()[1:]]
        return sum(line[1].endswith(f":{port:04X}") and line[3] == "01" for line in lines)


class Worker(Running):
    def __init__(self, program, ready_file):
        super().__init__(program)
        self._ready_file = ready_file

    def is_ready(self):
        """The broker confirmed its consumers."""
        return os.path.exists(self._ready_file)

    def wait_ready(self, seconds=20.0):
        eventually(self._looks_ready, deadline=seconds, what=f"{self.program.name} ready")

    def _looks_ready(self):
        assert self.is_alive(), f"{self.program.name} ended: {self.process.status()}"
        return self.is_ready()

    def executors(self):
        """The pids of its executor children."""
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]


class Fleet:
    """Gateways and workers on servers; env: settings that all of them get."""

    def __init__(self, servers, folder, **env):
        self.servers = servers
        self.gateways, self.workers = [], []
        self.blob_dir = os.path.join(str(folder), "blobs")  # of all of them, unless env says otherwise
        self.build = BUILD  # where its programs are
        self._folder = str(folder)
        self._env = env
        self._started = 0

    # -- processes

    def start_gateway(self, wait=True, within=(), **env):
        """within: words before the program's name, for a place of its own to run in."""
        port = free_port()
        program = self._program("millrace-api", "gateway", {"MILLRACE_PORT": port, **env})
        program.argv[:0] = within
        gateway = Gateway(program, program.env.get("MILLRACE_LISTEN", "127.0.0.1"), port)
        self.gateways.append(gateway)
        if wait:
            gateway.wait_ready()
        return gateway

    def start_worker(self, *arguments, wait=True, within=(), **env):
        """within: as above."""
        ready = os.path.join(self._folder, f"ready-{self._started + 1}")
        program = self._program("millrace-worker", "worker",
                                {"MILLRACE_SLOTS": 1, "MILLRACE_READY_FILE": ready, **env}, arguments)
        program.argv[:0] = within
        worker = Worker(program, ready)
        self.workers.append(worker)
        if wait:
            worker.wait_ready()
        return worker

    def _program(self, binary, name, env, arguments=()):
        self._started += 1
        name = f"{name}-{self._started}"
        kept = {key: value for key, value in os.environ.items()
                if not key.startswith(("MILLRACE_", "OPENBLAS_", "OMP_"))}
        shared = {"MILLRACE_AMQP_URL": self.servers.amqp_url, "MILLRACE_REDIS_URL": self.servers.redis_url,
                  "MILLRACE_BLOB_DIR": self.blob_dir}
        settings = {key: str(value) for key, value in {**shared, **self._env, **env}.items()}
        return Program(name, [os.path.join(self.build, binary), *arguments], {**kept, **settings},
                       os.path.join(self._folder, f"{name}.log"))

    def stop(self):
        """Workers first, as ./run down does it."""
        everyone = self.workers + self.gateways
        for running in everyone:
            if running.is_alive():
                running.sigcont()
                running.sigterm()
        for running in everyone:
            running.stop(5)

    def events(self, *names, **fields):
        """Of all its programs, in the order of their times."""
        lines = [line for running in self.gateways + self.workers for line in running.events(*names, **fields)]
        return sorted(lines, key=lambda line: line["time"])

    def logs(self):
        for running in self.gateways + self.workers:
            yield running.program.name, running.process.status() or "running", running.log()

    # -- calls of a client, on the first gateway unless another is named

    def call(self, method, path, gateway=None, **more):
        more.setdefault("timeout", 70)
        return requests.request(method, (gateway or self.gateways[0]).url + path, **more)

    def submit(self, kind, data=b"", gateway=None, headers=None, **params):
        """POST /jobs/KIND?param=value; the id of the accepted job."""
        return self._accepted("POST", f"/jobs/{kind}?{urllib.parse.urlencode(params)}", gateway, data, headers)

    def submit_matrix(self, a, b, gateway=None, headers=None):
        """a, b: nested lists or numpy arrays."""
        body = json.dumps({"A": _nested(a), "B": _nested(b)})
        return self._accepted("POST", "/matrix_multiplication", gateway, body, headers)

    def submit_hash(self, data, iterations=1, gateway=None, headers=None):
        return self._accepted("PUT", f"/enqueue?iterations={iterations}", gateway, data, headers)

    def _accepted(self, method, path, gateway, body, headers):
        answer = self.call(method, path, gateway, data=body, headers=headers)
        assert answer.status_code == 202, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["id"]

    def job(self, job, gateway=None):
        """The record, or None for a 404."""
        answer = self.call("GET", f"/jobs/{job}", gateway)
        assert answer.status_code in (200, 404), answer.text
        return answer.json() if answer.status_code == 200 else None

    def wait_state(self, job, *states, deadline=30.0, gateway=None):
        """The record once its state is one of these."""
        def reached():
            record = self.job(job, gateway)
            assert record and record["state"] in states, record
            return record
        return eventually(reached, deadline=deadline, what=f"{job} in {states}")

    def wait_end(self, job, deadline=30.0, gateway=None):
        """The record once it is terminal, by long poll."""
        end = time.monotonic() + deadline
        while True:
            left = max(0.0, end - time.monotonic())
            record = self.call("GET", f"/jobs/{job}?wait={min(10, int(left) + 1)}", gateway).json()
            if record.get("state") in TERMINAL:
                return record
            assert left > 0, f"not terminal within {deadline} s: {record}"

    def result(self, job, gateway=None, **more):
        answer = self.call("GET", f"/jobs/{job}/result", gateway, **more)
        assert answer.status_code == 200, f"result of {job}: {answer.status_code} {answer.text}"
        return answer

    def pull(self, top=1000, gateway=None):
        answer = self.call("POST", f"/pullCompleted?top={top}", gateway)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def stats(self, gateway=None):
        return self.call("GET", "/stats", gateway).json()

    def assert_adds_up(self, gateway=None):
        """accepted = the sum of all states, at any time. The counters; for use on a live fleet."""
        jobs = self.stats(gateway)["jobs"]
        ends = sum(count for name, count in jobs.items() if name != "accepted")
        assert jobs["accepted"] == ends, jobs
        return jobs


def _nested(matrix):
    return matrix.tolist() if hasattr(matrix, "tolist") else matrix
