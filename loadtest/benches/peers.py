# SPDX-License-Identifier: Apache-2.0
"""Millrace beside FastAPI + Celery on RabbitMQ and Redis of the same configuration, by the same clients, in turns.

millrace        one gateway process, a worker of two slots
celery          the peer as its manual sets it up for long jobs (peers/app/tasks.py); a gateway process per CPU
celery_careful  the same, waiting for the broker's confirms, and patient with Redis

Each has servers of its own and is measured as a whole, round by round; what failures cost is measured once.
"""

import re
import time

import drive
import large
import measure
from benches import floor
from peers import losses
from peers.stack import CeleryRig, tree_memory_mb
from rig import Failed, Rig

LATENCY_JOBS, JOBS = 500, 5000
ROLES = ("gateway", "worker", "executors", "broker", "redis")
PRODUCT_SIDE = 2000
PRODUCT_SECONDS = 240
LOST_SECONDS = 60
MESSAGE_BYTES = 512 << 20  # the most that RabbitMQ 3.10 can be set to
SIZES = (("tiny", "matrix"), ("16k", "hash"))


def run(report, options):
    sides = {"millrace": lambda: Rig(options.queue_types(("quorum",))[0]),
             "celery": lambda: CeleryRig(False), "celery_careful": lambda: CeleryRig(True)}
    for _ in range(options.rounds):
        for name, make in sides.items():
            with make() as rig:
                _measure_round(report, options, name, rig)
    for name, make in sides.items():
        _measure_product(report, name, make)
        for event, cause in (("broker_killed", losses.broker_killed), ("redis_away", losses.redis_away)):
            with make() as rig:
                _start(rig)
                report.measured(f"{event}_{name}", **cause(rig))
    _compare(report)


def _start(rig):
    rig.start_gateway()
    return rig.start_worker(floor.SLOTS)


def _measure_round(report, options, name, rig):
    worker = _start(rig)
    drive.run("load_submit", rig.port, 1000, drive.CONNECTIONS)  # to warm up
    report.measured(f"latency_{name}", **drive.flat(_metered(rig, "load_latency", LATENCY_JOBS)))
    fields = drive.flat(_metered(rig, "load_submit", JOBS, drive.CONNECTIONS))
    fields["fleet_us"] = sum(fields[f"{role}_us"] for role in ROLES)
    report.measured(f"endtoend_{name}", **fields)
    for role, process in (("gateway", rig.gateway), ("worker", worker)):
        report.measured(f"{role}_memory_{name}", **tree_memory_mb(process.pid))
    rig.stop_worker(worker)
    for size, what in SIZES:
        report.measured(f"submit_{size}_{name}", **drive.flat(
            drive.wrk(rig.port, what, options.run_seconds, measure.CpuMeter(rig.cpu_roles()))))


def _metered(rig, *words):
    return drive.run(*words[:1], rig.port, *words[1:], meter=measure.CpuMeter(rig.cpu_roles()))


def _measure_product(report, name, make):
    """JSON in, JSON out. The peer's broker refuses a message of that size unless it is told not to."""
    with make() as rig:
        if name != "millrace":
            rig.allow_messages(MESSAGE_BYTES)  # before anybody opens a channel, which keeps the limit it began with
        _start(rig)
        meter = measure.CpuMeter(rig.cpu_roles())
        before, begin = meter.start(), time.monotonic()
        job = _send_product(rig)
        rig.wait_completed(job, PRODUCT_SECONDS)
        down = drive.run("load_large", rig.port, "get", f"/jobs/{job}/result", large.JSON, seconds=PRODUCT_SECONDS)
        report.measured(f"product_{name}", seconds=time.monotonic() - begin, down_bytes=down["down_bytes"],
                        cpu_seconds=sum(meter.since(before).values()), gateway_peak_mb=_peak_mb(rig.gateway.pid),
                        worker_peak_mb=_peak_mb(rig.workers[0].pid))
    if name != "millrace":
        with make() as rig:
            _start(rig)
            report.measured(f"product_default_{name}", outcome=_try_product(rig))


def _send_product(rig):
    return drive.run("load_large", rig.port, "json", PRODUCT_SIDE, PRODUCT_SIDE, seconds=PRODUCT_SECONDS)["id"]


def _try_product(rig):
    """What becomes of it, in words."""
    try:
        job = _send_product(rig)
    except Failed as refused:
        status = re.search(r"answered by (\d+)", str(refused))
        return f"refused by {status[1]}" if status else str(refused)
    try:
        rig.wait_completed(job, LOST_SECONDS)
    except Failed:
        return f"accepted, and not completed within {LOST_SECONDS} s"
    return "completed"


def _peak_mb(pid):
    """The largest of a process and its descendants, each at its own peak."""
    pids = [pid, *measure.children(pid)]
    return max(measure.memory_mb(each)["peak_rss_mb"] for each in pids)


def _compare(report):
    """Each number beside the peer's: value is Millrace's, floor the peer's."""
    fields = [(f"submit_{size}", "per_second") for size, _ in SIZES]
    fields += [("endtoend", "per_second"), ("endtoend", "fleet_us"), ("latency", "p50_ms"), ("latency", "p99_ms"),
               ("gateway_memory", "pss_mb"), ("worker_memory", "pss_mb"), ("product", "seconds"),
               ("product", "cpu_seconds"), ("broker_killed", "lost"), ("redis_away", "lost")]
    for what, field in fields:
        for peer in ("celery", "celery_careful"):
            report.beside(f"{what}_{field}_{peer}", report.median(f"{what}_millrace", field),
                          report.median(f"{what}_{peer}", field))
