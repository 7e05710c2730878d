# SPDX-License-Identifier: Apache-2.0
"""How many jobs a gateway accepts, against publishing the same messages without a gateway.

No workers. Floor and product take turns on the same servers: a C client with
64 confirms outstanding, then wrk with 64 keep-alive connections. Load
generator, gateway, broker and Redis share the machine's cores, as the floor's
client and its broker do.
"""

import drive
import measure
from benches import floor
from rig import QUEUE_TYPES, Rig

SIZES = (("tiny", "matrix", floor.TINY_BYTES), ("16k", "hash", floor.LARGE_BYTES))


def run(report, options):
    for queue_type in options.queue_types(QUEUE_TYPES):
        with Rig(queue_type) as rig:
            rig.start_gateway()
            for _, what, _ in SIZES:
                drive.wrk(rig.port, what, 1, measure.CpuMeter({}))  # to warm up
            for _ in range(options.rounds):
                for size in SIZES:
                    _round(report, rig, options, *size)
        for name, _, _ in SIZES:
            _judge(report, queue_type, name)


def _round(report, rig, options, name, what, size):
    floor.purge(rig)
    report.measured(f"floor_{rig.queue_type}_{name}", **drive.flat(floor.publish(rig, options.run_seconds, size)))
    report.measured(f"product_{rig.queue_type}_{name}",
                    **drive.flat(drive.wrk(rig.port, what, options.run_seconds, measure.CpuMeter(rig.cpu_roles()))))


def _judge(report, queue_type, name):
    floor_series, product = f"floor_{queue_type}_{name}", f"product_{queue_type}_{name}"
    report.paired_ratio(f"accepted_per_second_{queue_type}_{name}", product, floor_series, "per_second", at_least=0.7)
    report.paired_ratio(f"p99_ms_{queue_type}_{name}", product, floor_series, "p99_ms", at_most=2)
    if name == "tiny":
        report.bounded(f"gateway_us_per_job_{queue_type}", report.median(product, "gateway_us"), at_most=20)
