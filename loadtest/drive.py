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

from rig import Failed, built, clean_environment

RUN_SECONDS = 60  # no run lasts so long unless something hangs
WRK_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrk.lua")
CONNECTIONS = 64


def run(name, *args, meter=None, env=None):
    """The JSON line of a program of ours; with a meter, "cpu": {role: seconds} of what it drove."""
    with tempfile.TemporaryFile() as errors:
        program = subprocess.Popen([built(name), *map(str, args)], env={**clean_environment(), **(env or {})},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True)
        guard = threading.Timer(RUN_SECONDS, program.kill)
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
