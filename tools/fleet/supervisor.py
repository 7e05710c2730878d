# SPDX-License-Identifier: Apache-2.0
"""Brings a fleet up, keeps it alive, and takes it down.

    servers --> gateway and workers --> ready: URL --> watch --> workers, gateway, servers down

One thread and one loop: it sleeps until a signal (a child that ended is one) or
the next tick. The first SIGTERM or SIGINT lets the workers finish their jobs,
the second ends everything at once. Should the supervisor itself be killed, the
kernel kills its children (process.py), and the next `up` looks after the rest.
"""

import hashlib
import http.client
import json
import os
import secrets
import select
import signal
import socket
import time

from fleet import process
from fleet.folder import Refused, free_port
from fleet.lines import short
from fleet.pool import Keeper, Pool
from fleet.process import Program
from fleet.servers import RabbitMQ, Redis, known_settings

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TICK_SECONDS = 0.1
SCALE_SECONDS = 0.5
SERVER_START_SECONDS = 90
SERVER_STOP_SECONDS = 20  # RabbitMQ does not listen to SIGTERM while it starts
READY_SECONDS = 30
SETTLE_SECONDS = 5
OWN_NAMES = {"MILLRACE_BUILD", "MILLRACE_SCHEMAS", "MILLRACE_TEST_LONG"}  # of these tools, not of the daemons


class Stopped(Exception):
    """A signal asked to stop before the fleet was ready."""


class Supervisor:
    def __init__(self, folder, options, say):
        self._folder = folder
        self._options = options
        self._say = say
        self._keepers = []  # servers, then the gateway: all but the workers
        self._pool = None
        self._signals = 0
        self._is_recorded = True  # who runs
        self._servers = []
        self._key = None
        listen = os.environ.get("MILLRACE_LISTEN", "127.0.0.1")
        self._host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)
        self._wake, self._waker = socket.socketpair()

    # -- the story ---------------------------------------------------------

    def run(self, on_ready):
        """Returns when all is down again. on_ready(url) is called once it serves."""
        self._folder.open()
        self._folder.state["grace_seconds"] = grace_seconds()  # `down` is as patient
        process.adopt_orphans()
        self._listen_to_signals()
        try:
            self._refuse_early()
            self._start_servers()
            self._start_daemons()
            on_ready(self.url)
            self._watch()
        except Stopped:
            pass
        finally:
            self._take_down()

    @property
    def url(self):
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._options.port}"

    # -- up ----------------------------------------------------------------

    def _refuse_early(self):
        """Everything that can be known to fail, before anything is started."""
        known = known_settings(REPOSITORY)
        for name in os.environ:
            if name.startswith("MILLRACE_") and name not in known | OWN_NAMES:
                raise Refused(f"{name} is not a setting; build/release/millrace-api --help lists them")
        for program in ("millrace-api", "millrace-worker"):
            self._binary(program)
        port = self._options.port
        if port == 0:
            self._options.port = free_port()
        elif not process.port_is_free(port, os.environ.get("MILLRACE_LISTEN", "127.0.0.1")):
            raise Refused(f"port {port} is in use; choose another by --port (0: any free one)")

    def _start_servers(self):
        """Private ones, except where the environment names one that exists."""
        if "MILLRACE_AMQP_URL" not in os.environ:
            rabbitmq = RabbitMQ(self._folder)
            self._servers.append(rabbitmq)
            self._keepers += [Keeper(rabbitmq.epmd), Keeper(rabbitmq.node)]
        if "MILLRACE_REDIS_URL" not in os.environ:
            redis = Redis(self._folder)
            self._servers.append(redis)
            self._keepers.append(Keeper(redis.node))
        self._wait_until(lambda: all(server.is_ready() for server in self._servers),
                         SERVER_START_SECONDS, "the servers")

    def _start_daemons(self):
        options, env = self._options, self._daemon_environment()
        gateway = Program("gateway", [self._binary("millrace-api")], env, self._folder.file("log", "gateway.log"))
        worker = Program("worker", [self._binary("millrace-worker")], env, "")
        self._keepers.append(Keeper(gateway))
        self._pool = Pool(self._folder, worker, options.workers[0], options.workers[1], options.slots,
                          options.stabilise)
        self._pool.grow_to(options.workers[0])
        self._wait_until(self._is_ready, READY_SECONDS, "the gateway and the workers")
        self._wait_until(self._is_settled, SETTLE_SECONDS, None)

    def _binary(self, name):
        build = os.environ.get("MILLRACE_BUILD", os.path.join(REPOSITORY, "build", "release"))
        path = os.path.join(os.path.abspath(build), name)
        if not os.access(path, os.X_OK):
            raise Refused(f"{path} is missing: build it first (./run does)")
        return path

    def _daemon_environment(self):
        """Ours without OpenBLAS's own (a forced kernel halves its speed), the fleet's settings on top."""
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("OPENBLAS_", "GOTO_", "OMP_")) and name not in OWN_NAMES}
        for server in self._servers:
            env["MILLRACE_AMQP_URL" if isinstance(server, RabbitMQ) else "MILLRACE_REDIS_URL"] = server.url
        env.setdefault("MILLRACE_BLOB_DIR", self._folder.file("blobs"))
        env["MILLRACE_PORT"] = str(self._options.port)
        env["MILLRACE_SLOTS"] = str(self._options.slots)
        if env.get("MILLRACE_API_KEY_FILE"):
            env["MILLRACE_API_KEY_FILE"] = self._add_own_key(env["MILLRACE_API_KEY_FILE"])
        return env

    def _add_own_key(self, path):
        """The scaler reads /stats too: a copy of the user's keys, with one more made for this run."""
        self._key = secrets.token_hex(32)
        try:
            with open(path, encoding="utf-8") as file:
                keys = file.read().rstrip("\n")
        except OSError as error:
            raise Refused(f"MILLRACE_API_KEY_FILE: {error}") from None
        copy = self._folder.file("keys")
        with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(f"{keys}\nlocal-scaler:{hashlib.sha256(self._key.encode()).hexdigest()}\n")
        return copy

    def _is_ready(self):
        return all(worker.is_ready() for worker in self._pool.workers) and self._get("/readyz") is not None

    def _is_settled(self):
        return all(server.is_settled() for server in self._servers)

    def _wait_until(self, is_true, seconds, what):
        """what: for the complaint when time runs out; None goes on without one."""
        deadline = time.monotonic() + seconds
        while not is_true():
            self._step()
            if self._signals:
                raise Stopped
            for keeper in self._all_keepers():
                if keeper.deaths >= 3:
                    raise Refused(f"{keeper.program.name} does not start ({keeper.last_end}). "
                                  f"The end of {keeper.program.log}:\n{_tail(keeper.program.log)}")
            if time.monotonic() > deadline:
                if what is None:
                    return
                raise Refused(f"{what} did not get ready within {seconds} s; see {self._folder.file('log')}")
            self._sleep(0.02)

    # -- while it is up ----------------------------------------------------

    def _watch(self):
        scale_at = 0.0
        while not self._signals:
            if time.monotonic() >= scale_at:
                scale_at = time.monotonic() + SCALE_SECONDS
                stats = self._get("/stats")
                if stats:  # no answer: as many as before
                    self._pool.scale(stats, self._say)
            self._step()
            self._sleep(TICK_SECONDS)

    def _all_keepers(self):
        return self._keepers + (self._pool.workers if self._pool else [])

    def _step(self):
        now = time.monotonic()
        changed = [keeper.step(now, self._say) for keeper in self._keepers]
        if self._pool:
            changed.append(self._pool.step(now, self._say))
        running = [keeper.process for keeper in self._all_keepers() if keeper.process]
        process.reap_orphans({child.pid for child in running})
        if any(changed) or not self._is_recorded:
            self._record(running)

    def _record(self, running):
        """A disk that is full must not end what runs; it is noted when there is room again."""
        try:
            self._folder.record(running)
            self._is_recorded = True
        except OSError as error:
            if self._is_recorded:
                self._say(f"who runs cannot be noted in {self._folder.path}: {error}")
            self._is_recorded = False

    def _get(self, path):
        """The document at path, or None. No proxy, no patience: supervision must go on."""
        connection = http.client.HTTPConnection(self._host, self._options.port, timeout=0.5)
        try:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                return None
            return json.loads(body) if path == "/stats" else body
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()

    def _listen_to_signals(self):
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._count_signal)

    def _count_signal(self, *_):
        self._signals += 1

    def _sleep(self, seconds):
        if select.select([self._wake], [], [], seconds)[0]:
            self._wake.recv(4096)

    # -- down --------------------------------------------------------------

    def _take_down(self):
        asked = self._signals
        if self._pool and self._pool.workers and asked:
            self._say("stopping; running jobs may finish (again: at once)")
        stages = [[keeper] for keeper in reversed(self._keepers)]  # the gateway first, epmd last
        if self._pool:
            self._stop_all(self._pool.workers, self._folder.state["grace_seconds"], asked)
        seconds = SERVER_STOP_SECONDS if self._pool else 0  # before there is a pool no server has served yet
        for stage in stages:
            self._stop_all(stage, seconds, asked)
        process.kill_orphans()
        self._folder.state.pop("supervisor", None)
        self._record([])
        self._folder.unlock()

    def _stop_all(self, keepers, seconds, asked):
        """SIGTERM, and SIGKILL after that time or at a further signal."""
        keepers = list(keepers)
        for keeper in keepers:
            keeper.drain()
        deadline = time.monotonic() + seconds
        while not all(keeper.is_gone() for keeper in keepers):
            self._step()
            if time.monotonic() > deadline or self._signals > asked:
                break
            self._sleep(TICK_SECONDS)
        for keeper in keepers:
            keeper.kill()


def grace_seconds():
    """What workers may take after SIGTERM, and some more to hand their jobs back."""
    text = os.environ.get("MILLRACE_GRACE_SECONDS", "")
    return (int(text) if text.isdecimal() else 30) + 10


def _tail(path, lines=8):
    if not os.path.exists(path):
        return "    (there is none)"
    with open(path, encoding="utf-8", errors="replace") as file:
        return "\n".join("    " + short(line.rstrip("\n")) for line in file.readlines()[-lines:])
