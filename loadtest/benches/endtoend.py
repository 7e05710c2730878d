# SPDX-License-Identifier: Apache-2.0
"""10,000 tiny jobs through HTTP and two slots, from the first submit to the last completed.

Floor, in turns with it: the same number of messages published with 64 confirms
outstanding while two prefetch-1 consumers take and ack them.
"""

import drive
import measure
from benches import floor
from rig import QUEUE_TYPES, Rig

JOBS = floor.FLOW_JOBS
FLEET_US = 90  # CPU per job that all processes may take on top of the floor's broker
WORKER_US = 45  # of which worker and executors
ROLES = ("gateway", "worker", "executors", "broker", "redis")


def run(report, options):
    for queue_type in options.queue_types(QUEUE_TYPES):
        with Rig(queue_type) as rig:
            rig.start_gateway()
            rig.start_worker(floor.SLOTS)
            drive.run("load_submit", rig.port, 1000, drive.CONNECTIONS)  # to warm up
            for _ in range(options.rounds):
                report.measured(f"floor_{queue_type}", **drive.flat(floor.flow(rig, JOBS)))
                fields = drive.flat(drive.run("load_submit", rig.port, JOBS, drive.CONNECTIONS,
                                              meter=measure.CpuMeter(rig.cpu_roles())))
                fields["fleet_us"] = sum(fields[f"{role}_us"] for role in ROLES)
                fields["workers_us"] = fields["worker_us"] + fields["executors_us"]
                report.measured(f"product_{queue_type}", **fields)
        _judge(report, f"floor_{queue_type}", f"product_{queue_type}", queue_type)


def _judge(report, floor_series, product, queue_type):
    report.paired_ratio(f"jobs_per_second_{queue_type}", product, floor_series, "per_second", at_least=0.6)
    bare_us = report.median(floor_series, "broker_us")
    report.bounded(f"fleet_us_per_job_{queue_type}", report.median(product, "fleet_us"), at_most=bare_us + FLEET_US,
                   floor=bare_us)
    report.bounded(f"workers_us_per_job_{queue_type}", report.median(product, "workers_us"), at_most=WORKER_US)
