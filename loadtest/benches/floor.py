# SPDX-License-Identifier: Apache-2.0
"""What the parts give with nothing between them: RabbitMQ to a C client, libmicrohttpd to wrk.

The other benchmarks measure the floor they are judged by again, in turns with
the product; this one is for looking at the parts alone.
"""

import tempfile

import drive
import measure
from rig import QUEUE_TYPES, Process, Program, Rig, built, clean_environment, wait_for

TINY_BYTES, LARGE_BYTES = 256, 16384  # a tiny job's message with its headers has about 256 bytes
SLOTS = 2
FLOW_JOBS, IDLE_JOBS = 10_000, 2_000


def publish(rig, seconds, size=TINY_BYTES):
    """64 confirms outstanding, for so long."""
    return _drive(rig, "--mode", "publish", "--ms", 1000 * seconds, "--bytes", size)


def flow(rig, jobs, size=TINY_BYTES):
    """The same, while as many prefetch-1 consumers as slots take the messages."""
    return _drive(rig, "--mode", "flow", "--jobs", jobs, "--bytes", size, "--consumers", SLOTS)


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


class BareGateway:
    """floor_http, for as long as the with-block lasts."""

    def __enter__(self):
        self._log = tempfile.NamedTemporaryFile(prefix="millrace-bench-", mode="r", encoding="ascii")
        self._process = Process(Program("floor_http", [built("floor_http")], clean_environment(), self._log.name))
        self.port = int(wait_for(self._first_line, 5, "floor_http"))
        self.meter = measure.CpuMeter({"gateway": lambda: measure.tree_cpu_seconds(self._process.pid)})
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._log.close()

    def _first_line(self):
        self._log.seek(0)
        line = self._log.readline()
        return line if line.endswith("\n") else None


def run(report, options):
    for queue_type in options.queue_types(QUEUE_TYPES):
        with Rig(queue_type) as rig:
            for _ in range(options.rounds):
                for name, size in (("tiny", TINY_BYTES), ("16k", LARGE_BYTES)):
                    report.measured(f"publish_{name}", queue_type=queue_type,
                                    **drive.flat(publish(rig, options.run_seconds, size)))
                report.measured("flow", queue_type=queue_type, **drive.flat(flow(rig, FLOW_JOBS)))
                report.measured("idle", queue_type=queue_type, **drive.flat(idle(rig, IDLE_JOBS)))
    with BareGateway() as http:
        for what in ("matrix", "hash"):
            report.measured(f"http_{what}", **drive.flat(drive.wrk(http.port, what, 2, http.meter)))
