# SPDX-License-Identifier: Apache-2.0
"""What the parts give with nothing between them: RabbitMQ to a C client, libmicrohttpd to wrk.

The other benchmarks measure the floor they are judged by again, in turns with
the product; this one is for looking at the parts alone.
"""

import drive
import measure
from rig import QUEUE_TYPES, Rig

TINY_BYTES, LARGE_BYTES = 256, 16384  # a tiny job's message with its headers has about 256 bytes
SLOTS = 2
FLOW_JOBS, IDLE_JOBS = 10_000, 2_000
SUMMARIES = (("publish_tiny", "per_second"), ("publish_tiny", "p99_ms"), ("publish_16k", "per_second"),
             ("flow", "per_second"), ("flow", "broker_us"), ("idle", "p50_ms"), ("idle", "p99_ms"))


def publish(rig, seconds, size):
    """64 confirms outstanding, for so long."""
    return _drive(rig, "--mode", "publish", "--ms", 1000 * seconds, "--bytes", size)


def flow(rig, jobs):
    """The same with tiny messages, while as many prefetch-1 consumers as slots take them."""
    return _drive(rig, "--mode", "flow", "--jobs", jobs, "--bytes", TINY_BYTES, "--consumers", SLOTS)


def idle(rig, jobs):
    """One message at a time, each confirmed."""
    return _drive(rig, "--mode", "idle", "--jobs", jobs)


def purge(rig):
    """Empties the product's work queues, so that every round meets the same broker."""
    drive.run("floor_broker", "--mode", "purge", "--url", rig.amqp_url, "millrace.matrix", "millrace.hash")


def _drive(rig, *options):
    meter = measure.CpuMeter({"broker": lambda: measure.tree_cpu_seconds(rig.broker.pid)})
    return drive.run("floor_broker", "--url", rig.amqp_url, "--type", rig.queue_type, "--window", drive.CONNECTIONS,
                     *options, meter=meter)


def run(report, options):
    for queue_type in options.queue_types(QUEUE_TYPES):
        with Rig(queue_type) as rig:
            for _ in range(options.rounds):
                _round(report, rig, options)
    with drive.Listening("floor_http") as http:
        meter = measure.CpuMeter({"gateway": lambda: measure.tree_cpu_seconds(http.pid)})
        for what in ("matrix", "hash"):
            report.measured(f"http_{what}", **drive.flat(drive.wrk(http.port, what, options.run_seconds, meter)))
            report.fact(f"http_{what}_per_second", report.median(f"http_{what}", "per_second"))
    for queue_type in options.queue_types(QUEUE_TYPES):
        for what, field in SUMMARIES:
            report.fact(f"{what}_{field}_{queue_type}", report.median(f"{what}_{queue_type}", field))


def _round(report, rig, options):
    report.measured(f"publish_tiny_{rig.queue_type}", **drive.flat(publish(rig, options.run_seconds, TINY_BYTES)))
    report.measured(f"publish_16k_{rig.queue_type}", **drive.flat(publish(rig, options.run_seconds, LARGE_BYTES)))
    report.measured(f"flow_{rig.queue_type}", **drive.flat(flow(rig, FLOW_JOBS)))
    report.measured(f"idle_{rig.queue_type}", **drive.flat(idle(rig, IDLE_JOBS)))
