# SPDX-License-Identifier: Apache-2.0
"""Millrace beside FastAPI + Celery on RabbitMQ and Redis of the same configuration, by the same clients, in turns.

millrace        one gateway process, a worker of two slots
celery          the peer as it comes (peers/app/tasks.py: plain); a gateway process per CPU, a worker of two slots
celery_tuned    the same, set up for this work
celery_careful  tuned, waiting for the broker's confirms, and patient with Redis

Each has servers of its own and is measured as a whole, round by round; a large product and what failures cost are
measured once. What fails is said, and the others go on.
"""

import re
import time

import drive
import large
import measure
from benches import floor
from peers import losses
from peers.stack import CeleryRig, tree_memory_mb
from report import note
from rig import Failed, Rig

LATENCY_JOBS, JOBS = 500, 5000
ROLES = ("gateway", "worker", "executors", "broker", "redis")
PRODUCT_SIDE = 2000
PRODUCT_SECONDS = 60  # the slowest takes a third of that on two cores
COMPLETED = "completed"
MESSAGE_BYTES = 512 << 20  # the most that RabbitMQ 3.10 can be set to
SIZES = (("tiny", "matrix"), ("16k", "hash"))


SIDES = {"millrace": None, "celery": "plain", "celery_tuned": "tuned", "celery_careful": "careful"}
PRODUCT_SIDES = ("millrace", "celery", "celery_tuned")  # confirms are nothing to it
LOSSES_SIDES = ("millrace", "celery", "celery_careful")  # tuning is nothing to these
EVENTS = {"broker_killed": losses.broker_killed, "redis_away": losses.redis_away}


def run(report, options):
    def make(side):
        return CeleryRig(SIDES[side]) if SIDES[side] else Rig(options.queue_types(("quorum",))[0])

    failures = []

    def attempt(side, measure_it, *arguments):
        try:
            measure_it(report, side, lambda: make(side), *arguments)
        except Failed as failed:
            failures.append(f"{side}: {failed}")
            note(failures[-1])

    for _ in range(options.rounds):
        for side in SIDES:
            attempt(side, _measure_round, options.run_seconds)
    for side in PRODUCT_SIDES:
        attempt(side, _measure_product)
    for side in LOSSES_SIDES:
        for event in EVENTS:
            attempt(side, _measure_losses, event)
    _compare(report)
    if failures:
        raise Failed(f"{len(failures)} failed: {'; '.join(failures)}")


def _start(rig):
    rig.start_gateway()
    return rig.start_worker(floor.SLOTS)


def _measure_round(report, side, make, seconds):
    with make() as rig:
        worker = _start(rig)
        drive.run("load_submit", rig.port, 1000, drive.CONNECTIONS)  # to warm up
        report.measured(f"latency_{side}", **drive.flat(_metered(rig, "load_latency", LATENCY_JOBS)))
        fields = drive.flat(_metered(rig, "load_submit", JOBS, drive.CONNECTIONS))
        fields["fleet_us"] = sum(fields[f"{role}_us"] for role in ROLES)
        report.measured(f"endtoend_{side}", **fields)
        for role, process in (("gateway", rig.gateway), ("worker", worker)):
            report.measured(f"{role}_memory_{side}", **tree_memory_mb(process.pid))
        rig.stop_worker(worker)
        for size, what in SIZES:
            report.measured(f"submit_{size}_{side}", **drive.flat(
                drive.wrk(rig.port, what, seconds, measure.CpuMeter(rig.cpu_roles()))))


def _measure_losses(report, side, make, event):
    with make() as rig:
        _start(rig)
        report.measured(f"{event}_{side}", **EVENTS[event](rig))


def _metered(rig, *words):
    return drive.run(*words[:1], rig.port, *words[1:], meter=measure.CpuMeter(rig.cpu_roles()))


def _measure_product(report, side, make):
    """JSON in, JSON out. Where RabbitMQ's own limits are too narrow for the messages, once more with wider ones."""
    with make() as rig:
        _start(rig)
        outcome = _try_product(report, side, rig)
    report.measured(f"product_default_{side}", outcome=outcome)
    if outcome == COMPLETED:
        return
    with make() as rig:
        rig.allow_messages(MESSAGE_BYTES)  # before anybody opens a channel, which keeps the limit it began with
        _start(rig)
        outcome = _try_product(report, side, rig)
        if outcome != COMPLETED:
            raise Failed(f"the product is {outcome}")


def _try_product(report, side, rig):
    """What became of it, in words."""
    meter = measure.CpuMeter(rig.cpu_roles())
    before, begin = meter.start(), time.monotonic()
    try:
        job = drive.run("load_large", rig.port, "json", PRODUCT_SIDE, PRODUCT_SIDE, seconds=PRODUCT_SECONDS)["id"]
    except Failed as refused:
        status = re.search(r"answered by (\d+)", str(refused))
        return f"refused by {status[1]}" if status else str(refused)
    try:
        rig.wait_completed(job, PRODUCT_SECONDS)
    except Failed:
        return f"accepted, and not completed within {PRODUCT_SECONDS} s"
    down = drive.run("load_large", rig.port, "get", f"/jobs/{job}/result", large.JSON, seconds=PRODUCT_SECONDS)
    report.measured(f"product_{side}", seconds=time.monotonic() - begin, down_bytes=down["down_bytes"],
                    cpu_seconds=sum(meter.since(before).values()), gateway_peak_mb=_peak_mb(rig.gateway.pid),
                    worker_peak_mb=_peak_mb(rig.workers[0].pid))
    return COMPLETED


def _peak_mb(pid):
    """The largest of a process and its descendants, each at its own peak."""
    pids = [pid, *measure.children(pid)]
    return max(measure.memory_mb(each)["peak_rss_mb"] for each in pids)


def _compare(report):
    """Each number of Millrace beside each peer's, where both were measured."""
    fields = [(f"submit_{size}", "per_second") for size, _ in SIZES]
    fields += [("endtoend", "per_second"), ("endtoend", "fleet_us"), ("latency", "p50_ms"), ("latency", "p99_ms"),
               ("gateway_memory", "pss_mb"), ("worker_memory", "pss_mb"), ("product", "seconds"),
               ("product", "cpu_seconds"), ("broker_killed", "lost"), ("redis_away", "lost")]
    for what, field in fields:
        for peer in list(SIDES)[1:]:
            if report.has(f"{what}_millrace") and report.has(f"{what}_{peer}"):
                report.beside(f"{what}_{field}_{peer}", report.median(f"{what}_millrace", field),
                              report.median(f"{what}_{peer}", field))
