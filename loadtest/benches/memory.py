# SPDX-License-Identifier: Apache-2.0
"""What each process holds: idle, under load, and with 200,000 jobs queued; what a queued job costs in Redis."""

import drive
import measure
from benches import floor
from rig import QUEUE_TYPES, Rig

QUEUED_JOBS, FIRST_JOBS = 200_000, 20_000
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
        report.measured(f"{role}_idle", queue_type=queue_type, **measure.memory_mb(pid))
    drive.run("load_submit", rig.port, 5000, drive.CONNECTIONS)
    pids["executor"] = measure.children(worker.pid)[0]
    for role, pid in pids.items():
        report.measured(f"{role}_after_5000_jobs", queue_type=queue_type, **measure.memory_mb(pid))
    for role, limit in LIMITS_MB.items():
        report.bounded(f"{role}_idle_rss_mb_{queue_type}", report.median(f"{role}_idle", "rss_mb"), at_most=limit)


def _queued(report, rig, queue_type):
    """The gateway's memory may not depend on how many jobs wait."""
    _submit(rig, FIRST_JOBS)
    first = measure.memory_mb(rig.gateway.pid)
    report.measured("gateway_20000_queued", queue_type=queue_type, **first)
    used = rig.redis_info("used_memory")
    _submit(rig, QUEUED_JOBS)
    later = measure.memory_mb(rig.gateway.pid)
    report.measured("gateway_220000_queued", queue_type=queue_type, **later)
    report.measured("redis", queue_type=queue_type, used_memory_bytes=rig.redis_info("used_memory"))
    report.ratio(f"gateway_rss_queued_{queue_type}", later["rss_mb"], first["rss_mb"], at_most=FLAT)
    report.bounded(f"gateway_rss_mb_200000_queued_{queue_type}", later["rss_mb"], at_most=LIMITS_MB["gateway"])
    report.bounded(f"redis_bytes_per_pending_job_{queue_type}",
                   (rig.redis_info("used_memory") - used) / QUEUED_JOBS, at_most=REDIS_BYTES)


def _submit(rig, jobs):
    drive.run("load_submit", rig.port, jobs, drive.CONNECTIONS, "nowait")
