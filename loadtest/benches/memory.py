# SPDX-License-Identifier: Apache-2.0
"""What each process holds: idle, under load, and with jobs queued; what a queued job costs in Redis.

Flat means: the gateway holds with 400,000 jobs queued what it held with 200,000.
Both are taken after more than 5 s of load, since the redo ring (what was
accepted in the last 5 s) grows with the rate until then, and no further.
"""

import drive
import measure
from benches import floor
from rig import QUEUE_TYPES, Rig

QUEUED_JOBS = 400_000
FIRST_JOBS = 200_000
LIMITS_MB = {"gateway": 10, "worker": 8, "executor": 16}
REDIS_BYTES = 600
FLAT = 1.1  # what is left to the allocator


def run(report, options):
    for queue_type in options.queue_types(QUEUE_TYPES):
        with Rig(queue_type) as rig:
            rig.start_gateway()
            worker = rig.start_worker(floor.SLOTS)
            _idle(report, rig, worker, queue_type)
            rig.stop_worker(worker)
            _queued(report, rig, queue_type)


def _idle(report, rig, worker, queue_type):
    """Before the first job, and after some thousands have gone through."""
    pids = {"gateway": rig.gateway.pid, "worker": worker.pid, "executor": measure.children(worker.pid)[0]}
    for role, pid in pids.items():
        report.measured(f"{role}_idle_{queue_type}", **measure.memory_mb(pid))
    drive.run("load_submit", rig.port, 5000, drive.CONNECTIONS)
    pids["executor"] = measure.children(worker.pid)[0]
    for role, pid in pids.items():
        report.measured(f"{role}_after_5000_jobs_{queue_type}", **measure.memory_mb(pid))
    for role, limit in LIMITS_MB.items():
        report.bounded(f"{role}_idle_rss_mb_{queue_type}", report.median(f"{role}_idle_{queue_type}", "rss_mb"),
                       at_most=limit)


def _queued(report, rig, queue_type):
    """The gateway's memory may not depend on how many jobs wait."""
    used = []
    for more, queued in ((FIRST_JOBS, FIRST_JOBS), (QUEUED_JOBS - FIRST_JOBS, QUEUED_JOBS)):
        _submit(rig, more)
        used.append(rig.redis_info("used_memory"))
        report.measured(f"gateway_{queued}_queued_{queue_type}", redis_bytes=used[-1],
                        **measure.memory_mb(rig.gateway.pid))
    idle_mb = report.median(f"gateway_idle_{queue_type}", "rss_mb")
    first_mb, last_mb = (report.median(f"gateway_{queued}_queued_{queue_type}", "rss_mb")
                         for queued in (FIRST_JOBS, QUEUED_JOBS))
    report.ratio(f"gateway_rss_mb_queued_{queue_type}", last_mb, first_mb, at_most=FLAT)
    report.fact(f"gateway_rss_mb_under_load_{queue_type}", last_mb, idle_mb)
    report.bounded(f"redis_bytes_per_pending_job_{queue_type}", (used[1] - used[0]) / (QUEUED_JOBS - FIRST_JOBS),
                   at_most=REDIS_BYTES)


def _submit(rig, jobs):
    drive.run("load_submit", rig.port, jobs, drive.CONNECTIONS, "nowait")
