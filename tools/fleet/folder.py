# SPDX-License-Identifier: Apache-2.0
"""The data folder of a fleet.

    DIR/lock         held (flock) while a supervisor runs; the kernel lets go when it dies
    DIR/state.json   ports and names that a restart keeps, and the processes of now
    DIR/rabbitmq/    queues, cookie, generated configuration
    DIR/redis/       the append-only file
    DIR/blobs/       inputs and results beyond what messages carry
    DIR/log/         a file per program
    DIR/ready/       a file per worker that the broker serves
"""

import fcntl
import json
import os
import random
import re
import secrets
import socket

from fleet import process

# Below the range from which Linux takes ports for outgoing connections: one of
# those could otherwise sit on our port while a server restarts.
PORTS = range(20000, 32000)


class Refused(Exception):
    """A sentence for the user: why nothing was started."""


class Folder:
    def __init__(self, path):
        self.path = os.path.abspath(path)
        self._lock = None
        self.state = {}

    def open(self):
        """Creates what is missing and takes the lock; leftovers of a dead supervisor are killed."""
        for name in ("", "rabbitmq", "redis", "log", "ready"):
            os.makedirs(self.file(name), mode=0o700, exist_ok=True)
        if not self.try_lock():
            holder = self.read().get("supervisor", [0])[0]
            raise Refused(f"a fleet already runs on {self.path} (process {holder}); "
                          f"stop it by ./run down --data {self.path}, or choose another --data")
        self.state = self.read()
        process.kill_recorded(self.state.get("processes", {}).values())
        self.state["processes"] = {}
        self.state["supervisor"] = [os.getpid(), process.start_time_of(os.getpid())]
        self._choose_addresses()
        self.write()

    def try_lock(self):
        lock = os.open(self.file("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def unlock(self):
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def file(self, *names):
        return os.path.join(self.path, *names)

    def read(self):
        try:
            with open(self.file("state.json"), encoding="utf-8") as file:
                return json.load(file)
        except (FileNotFoundError, ValueError):
            return {}

    def write(self):
        """A reader sees the old or the new state, never half of one."""
        with open(self.file("state.json.new"), "w", encoding="utf-8") as file:
            json.dump(self.state, file, indent=1)
        os.replace(self.file("state.json.new"), self.file("state.json"))

    def record(self, processes):
        """Notes who runs now, for the next `up` or `down` should this supervisor be killed."""
        self.state["processes"] = {p.name: [p.pid, p.start_time] for p in processes}
        self.write()

    def _choose_addresses(self):
        """Ports stay as they were unless somebody else took one; the node name stays for ever,
        since RabbitMQ keeps its data under it."""
        self.state.setdefault("node", self._node_of_data() or f"millrace-{secrets.token_hex(4)}@localhost")
        ports = self.state.setdefault("ports", {})
        for name in ("epmd", "amqp", "dist", "redis"):
            if name not in ports or not process.port_is_free(ports[name]):
                ports[name] = free_port(taken=ports.values())

    def _node_of_data(self):
        """The name as the queues have it: a state.json that a crash of the host has cost must not cost them, too."""
        try:
            names = os.listdir(self.file("rabbitmq", "data"))
        except FileNotFoundError:
            return None
        return next((name for name in names if re.fullmatch(r"millrace-[0-9a-f]{8}@localhost", name)), None)


_reservations = []  # sockets, for as long as this process lives


def free_port(taken=()):
    """Nobody else who asks here is given it while this process lives: it may take seconds until somebody listens there."""
    for _ in range(1000):
        port = random.choice(PORTS)
        if port not in taken and process.port_is_free(port) and _reserve(port):
            return port
    raise Refused(f"no free port between {PORTS.start} and {PORTS.stop}")


def _reserve(port):
    """By an abstract name, which the kernel forgets with the process, and keeps for each network apart as it does ports."""
    reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        reservation.bind(f"\0millrace-port-{port}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    return True
