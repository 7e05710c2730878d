# SPDX-License-Identifier: Apache-2.0
"""Programs that are kept alive, and the pool of workers that grows and shrinks.

    (not started) --start--> running --ends--> waiting for its delay --start--> running ...
                                |
                              drain: SIGTERM; when it ends it is forgotten
"""

import itertools
import os
import subprocess
import time
from dataclasses import replace

from fleet import scaler
from fleet.process import Process

# The first restart is quick, and they are never more than 5 s apart. A program
# that ran for STEADY_SECONDS starts again from the first delay.
RESTART_DELAYS = (0.1, 0.5, 1.0, 2.0, 4.0)
STEADY_SECONDS = 10.0


class Keeper:
    """Keeps one program running until it is told to stop."""

    def __init__(self, program, ready_file=None):
        self.program = program
        self.process = None
        self.deaths = 0  # in a row
        self.stopping = False
        self.last_end = ""
        self._ready_file = ready_file
        self._start_at = 0.0

    @property
    def pid(self):
        return self.process.pid if self.process else 0

    def is_ready(self):
        return bool(self.process) and os.path.exists(self._ready_file)

    def step(self, now, say):
        """Starts it when it is due. True when a process came or went."""
        if self.process:
            if self.process.is_alive():
                return False
            self._note_end(now, say)
            return True
        if self.stopping or now < self._start_at:
            return False
        self._forget_readiness()
        try:
            self.process = Process(self.program)
        except (OSError, subprocess.SubprocessError) as error:  # a full disk, no process or memory left: for a while
            self._start_later(now, "cannot be started", error, say)
            return False
        return True

    def _note_end(self, now, say):
        if now - self.process.started > STEADY_SECONDS:
            self.deaths = 0
        end = self.process.status()
        self.process.kill()
        self.process = None
        self._forget_readiness()
        self._start_later(now, "ended", end, say)

    def _start_later(self, now, what, why, say):
        delay = RESTART_DELAYS[min(self.deaths, len(RESTART_DELAYS) - 1)]
        self._start_at = now + delay
        self.deaths += 1
        self.last_end = why
        if not self.stopping:
            say(f"{self.program.name} {what} ({why}); it starts again in {delay:g} s")

    def _forget_readiness(self):
        if self._ready_file and os.path.exists(self._ready_file):
            os.unlink(self._ready_file)

    def drain(self):
        self.stopping = True
        if self.process:
            self.process.terminate()

    def kill(self):
        self.stopping = True
        if self.process:
            self.process.kill()
            self.process = None
        self._forget_readiness()

    def is_gone(self):
        return self.stopping and not self.process


class Pool:
    """The workers: least..most of them, of some slots each."""

    def __init__(self, folder, program, least, most, slots, stabilise_seconds):
        self.workers = []
        self.least, self.most, self.slots = least, most, slots
        self._folder = folder
        self._program = program
        self._stabiliser = scaler.Stabiliser(stabilise_seconds)

    def staying(self):
        return [worker for worker in self.workers if not worker.stopping]

    def grow_to(self, count):
        for _ in range(count - len(self.staying())):
            name = self._free_name()
            ready_file = self._folder.file("ready", name)
            env = {**self._program.env, "MILLRACE_READY_FILE": ready_file}
            program = replace(self._program, name=name, env=env, log=self._folder.file("log", f"{name}.log"))
            self.workers.append(Keeper(program, ready_file))

    def _free_name(self):
        """The lowest number nobody has: log files are used again and do not pile up."""
        taken = {worker.program.name for worker in self.workers}
        return next(name for name in map("worker-{}".format, itertools.count(1)) if name not in taken)

    def scale(self, stats, say):
        """One step of the local scaler, on a fresh answer of GET /stats."""
        wanted = scaler.workers_wanted(stats["queues"], self.slots, self.least, self.most)
        target = self._stabiliser.target(time.monotonic(), wanted)
        now = self.staying()
        if target != len(now):
            say(f"workers: {len(now)} -> {target}")
        self.grow_to(target)
        for worker in scaler.surplus_first(now, stats["workers"])[:max(0, len(now) - target)]:
            worker.drain()

    def step(self, now, say):
        changed = [worker.step(now, say) for worker in self.workers]
        self.workers = [worker for worker in self.workers if not worker.is_gone()]
        return any(changed)
