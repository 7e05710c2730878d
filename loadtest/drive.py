# SPDX-License-Identifier: Apache-2.0
"""Runs the load generators and the floors' programs, with the CPU of others metered around them.

The C programs print "start" when they are connected and one JSON line when the
last answer is there; between these two lines the meter runs. wrk prints its
line when it ends (wrk.lua), and is metered as a whole.
"""

import json
import os
import resource
import subprocess
import tempfile
import threading

from rig import Failed, Process, Program, built, clean_environment, wait_for

RUN_SECONDS = 60  # no run lasts so long unless something hangs or says that it does
WRK_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrk.lua")
CONNECTIONS = 64


def run(name, *args, meter=None, env=None, seconds=RUN_SECONDS):
    """The JSON line of a program of ours; with a meter, "cpu": {role: seconds} of what it drove."""
    with tempfile.TemporaryFile() as errors:
        program = subprocess.Popen([built(name), *map(str, args)], env={**clean_environment(), **(env or {})},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        guard = threading.Timer(seconds, program.kill)
        guard.start()
        try:
            line = program.stdout.readline()
            if line == "start\n":
                before = meter.start() if meter else None
                line = program.stdout.readline()
                cpu = meter.since(before) if meter else {}
            if program.wait() != 0:
                errors.seek(0)
                raise Failed(f"{name}: {errors.read().decode(errors='replace').strip() or 'no result in time'}")
        finally:
            guard.cancel()
            program.kill()
            program.wait()
            program.stdout.close()
    return {**json.loads(line), "cpu": cpu} if meter else json.loads(line or "{}")


class Listening:
    """A floor's server for as long as the with-block lasts: a program whose first line is its .port."""

    def __init__(self, name, *args):
        self._log = tempfile.NamedTemporaryFile(prefix="millrace-bench-", mode="r", encoding="ascii")
        self._process = Process(Program(name, [built(name), *map(str, args)], clean_environment(), self._log.name))

    def __enter__(self):
        try:
            self.port = int(wait_for(self._first_line, 5, self._process.name))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._log.close()

    @property
    def pid(self):
        return self._process.pid

    def _first_line(self):
        self._log.seek(0)
        line = self._log.readline()
        return line if line.endswith("\n") else None


class Beside:
    """load_beside for as long as the with-block lasts: small requests while something large goes on. .line is what
    it measured."""

    EVERY_MS = 5

    def __init__(self, port):
        self.line = None
        self._errors = tempfile.TemporaryFile()
        self._program = subprocess.Popen([built("load_beside"), str(port), str(self.EVERY_MS)],
                                         env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         stderr=self._errors, text=True)

    def __enter__(self):
        if self._program.stdout.readline() != "start\n":
            self.__exit__(Failed, None, None)
            raise Failed(f"load_beside: {self._complaint()}")
        return self

    def __exit__(self, failure, *_):
        self._program.stdin.close()
        try:
            text = self._program.stdout.read()
            if self._program.wait(RUN_SECONDS) == 0:
                self.line = json.loads(text)
            elif failure is None:
                raise Failed(f"load_beside: {self._complaint()}")
        finally:
            self._program.kill()
            self._program.wait()
            self._program.stdout.close()

    def _complaint(self):
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()


def wrk(port, what, seconds, meter):
    """Submits (what: matrix or hash) over 64 keep-alive connections; as run, with the generator's CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = meter.start()
    ended = subprocess.run(
        ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s", "--timeout", "10s",
         "--script", WRK_SCRIPT, f"http://127.0.0.1:{port}", "--", what],
        env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=RUN_SECONDS)
    cpu = meter.since(start)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    if ended.returncode != 0 or not lines:
        raise Failed(f"wrk: {ended.stderr.strip() or ended.stdout.strip()}")
    result = json.loads(lines[0])
    if result["refused"] or result["broken"]:
        raise Failed(f"wrk: {result['refused']} of {result['jobs']} requests were refused, "
                     f"{result['broken']} connections broke")
    result["client_cpu_seconds"] = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    result["cpu"] = cpu
    return result


def flat(result):
    """A result as the fields of one line: CPU by role becomes microseconds per job (CPU-seconds per million)."""
    fields = {name: value for name, value in result.items() if name not in ("cpu", "client_cpu_seconds")}
    cpu = {**result.get("cpu", {}), "client": result["client_cpu_seconds"]}
    fields.update({f"{role}_us": seconds / result["jobs"] * 1e6 for role, seconds in cpu.items()})
    return fields
