# SPDX-License-Identifier: Apache-2.0
"""One child process, from fork to the last signal.

A child lives in a session of its own, so that Ctrl-C in the terminal reaches
the supervisor alone, and dies with its parent, whatever kills that. A process
is known by pid *and* start time: a pid alone may meanwhile be somebody else's.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Program:
    """What to start: the name people read, and all that exec needs."""

    name: str
    argv: list
    env: dict
    log: str


class Process:
    """A running Program. Its output is appended to the program's log."""

    def __init__(self, program):
        self.program = program
        self.name = program.name
        parent = os.getpid()
        with open(program.log, "ab") as log:
            self._popen = subprocess.Popen(
                program.argv, env=program.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=lambda: die_with(parent))
        self.pid = self._popen.pid
        self.start_time = start_time_of(self.pid)
        self.started = time.monotonic()

    def is_alive(self):
        return self._popen.poll() is None

    def status(self):
        """How it ended, in words; None while it runs."""
        code = self._popen.poll()
        if code is None:
            return None
        return f"killed by signal {-code}" if code < 0 else f"exit status {code}"

    @property
    def returncode(self):
        return self._popen.poll()

    def signal(self, number):
        self._popen.send_signal(number)  # nothing happens once the child is reaped

    def terminate(self):
        self.signal(signal.SIGTERM)

    def kill(self):
        """Kills it and what is left of its session: helpers die with their server."""
        if self._popen.poll() is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._popen.wait()

    def wait(self, seconds):
        """True when it ended within that time."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, seconds):
        """SIGTERM, and SIGKILL when that is not enough. True when it ended by itself."""
        self.terminate()
        ended = self.wait(seconds)
        self.kill()
        return ended


def die_with(parent, number=signal.SIGKILL):
    """Runs in the child between fork and exec: it gets this signal when its parent dies."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)


def adopt_orphans():
    """Grandchildren whose parent dies become children of this process, so that none is missed."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_orphans():
    """Kills and reaps every child this process still has. Called when its own are stopped."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for child in children_of(os.getpid()):
                _kill_quietly(child)
            time.sleep(0.01)


def reap_orphans(own):
    """Reaps adopted processes that ended; own: pids that their Process objects reap."""
    for pid in children_of(os.getpid()):
        if pid not in own:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass


def children_of(pid):
    children = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children += [int(word) for word in file.read().split()]
        except FileNotFoundError:
            pass
    return children


def start_time_of(pid):
    """Clock ticks from boot to the start of pid; None when there is none, or only its zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()  # the name may hold anything
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def kill_recorded(records):
    """Kills those of [(pid, start time)] that still are what was recorded."""
    for pid, start in records:
        if start is not None and start_time_of(pid) == start:
            _kill_quietly(pid)
            deadline = time.monotonic() + 5
            while start_time_of(pid) == start and time.monotonic() < deadline:
                time.sleep(0.01)


def _kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def port_is_free(port, address="127.0.0.1"):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is free
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True
