# SPDX-License-Identifier: Apache-2.0
"""One job at a time on an idle fleet: from the submit to its result by long poll, on one connection.

Floor, in turns with it: publish one message, wait for its confirm.
"""

import drive
import measure
from benches import floor
from rig import QUEUE_TYPES, Rig

JOBS = floor.IDLE_JOBS
MORE_MS = 0.4  # on top of the floor's p50
TAIL = 5  # p99 over p50: the job's own, and, stricter, the floor's


def run(report, options):
    for queue_type in options.queue_types(QUEUE_TYPES):
        bare, product = f"floor_{queue_type}", f"product_{queue_type}"
        with Rig(queue_type) as rig:
            rig.start_gateway()
            rig.start_worker(floor.SLOTS)
            for _ in range(options.rounds):
                report.measured(bare, **drive.flat(floor.idle(rig, JOBS)))
                report.measured(product, **drive.flat(
                    drive.run("load_latency", rig.port, JOBS, meter=measure.CpuMeter(rig.cpu_roles()))))
        p50_ms, bare_ms = report.median(product, "p50_ms"), report.median(bare, "p50_ms")
        report.bounded(f"p50_ms_{queue_type}", p50_ms, at_most=bare_ms + MORE_MS, floor=bare_ms)
        p99_ms = report.median(product, "p99_ms")
        report.ratio(f"p99_over_p50_{queue_type}", p99_ms, p50_ms, at_most=TAIL)
        report.ratio(f"p99_over_floor_p50_{queue_type}", p99_ms, bare_ms, at_most=TAIL)
