# SPDX-License-Identifier: Apache-2.0
"""How much of the bare kernel's speed is left inside a job; in turns with the bare loop.

hash    rounds for about one second: rounds per second by the record's run_seconds (claim to settle)
matrix  the largest product that travels inline (724 x 362 x 724 at the largest MILLRACE_INLINE_MAX), some 4 ms,
        since there are no larger ones without a blob store: multiplications per second of the executor's CPU.
        What it takes beyond the bare call is dispatch and passes over the operands, which grow with the sides'
        square while the work grows with the cube; from that matrix_efficiency_one_second is extrapolated.
"""

import array
import json

import drive
import measure
from rig import Failed, Rig

HASH_ROUNDS = 8_000_000
INPUT = "millrace"  # as in floor_hash.c
INLINE_MAX = 4_194_304
SIDES = (724, 362, 724)  # m, k, n: operands and result just fit INLINE_MAX
BATCH = 8  # products per measurement
SLOTS = 2  # so that each has one thread of a machine with two CPUs
EFFICIENCY = 0.97


def run(report, options):
    for form in ("evp", "oneshot"):  # for the record: slower ways to the same digest
        report.measured(f"hash_{form}", **_bare_hash(form)[0])
    with Rig(options.queue_types(("quorum",))[0]) as rig:
        rig.start_gateway(inline_max=INLINE_MAX)
        worker = rig.start_worker(SLOTS, inline_max=INLINE_MAX)
        threads = max(1, measure.cpu_count() // SLOTS)
        _matrix_job(rig, worker)  # the first one loads and touches everything
        for _ in range(options.repeats):
            _hash_round(report, rig, worker)
            report.measured("matrix_floor", **_bare_matrix(threads))
            report.measured("matrix_job", **_matrix_job(rig, worker))
    report.paired_ratio("hash_efficiency", "hash_job", "hash_floor", "rounds_per_second", at_least=EFFICIENCY)
    report.paired_ratio("hash_efficiency_cpu", "hash_job", "hash_floor", "rounds_per_cpu_second", at_least=EFFICIENCY)
    _judge_matrix(report)


def _hash_round(report, rig, worker):
    bare, expected = _bare_hash("transform")
    report.measured("hash_floor", **bare)
    job, digest = _hash_job(rig, worker)
    report.measured("hash_job", **job)
    if digest != expected:
        raise Failed(f"the job's digest is {digest}, not {expected}")


def _hash_fields(seconds, cpu_seconds):
    return {"seconds": seconds, "rounds_per_second": HASH_ROUNDS / seconds,
            "rounds_per_cpu_second": HASH_ROUNDS / cpu_seconds, "ns_per_round": seconds / HASH_ROUNDS * 1e9}


def _bare_hash(form):
    line = drive.run("floor_hash", form, HASH_ROUNDS)
    return _hash_fields(line["seconds"], line["cpu_seconds"]), line["value"]


def _hash_job(rig, worker):
    before = _executors_on_cpu(worker)
    job = rig.submit("PUT", f"/enqueue?iterations={HASH_ROUNDS}", INPUT)
    record = rig.wait_completed(job)
    cpu_seconds = _executors_on_cpu(worker) - before
    digest = json.loads(rig.call("GET", f"/jobs/{job}/result")[1])["value"]
    return _hash_fields(record["run_seconds"], cpu_seconds), digest


def _executors_on_cpu(worker):
    return sum(measure.on_cpu_seconds(child) for child in measure.children(worker.pid))


def _bare_matrix(threads):
    line = drive.run("floor_dgemm", *SIDES, threads, 10 * BATCH, env={"OPENBLAS_NUM_THREADS": str(threads)})
    return {"gflops": line["gflops"], "core": line["core"],
            "products_per_cpu_second": line["calls"] / line["cpu_seconds"]}


def _matrix_job(rig, worker):
    m, k, n = SIDES
    operands = array.array("d", [float(i % 10) for i in range(m * k)] + [float(i % 10) for i in range(k * n)])
    before = _executors_on_cpu(worker)
    for _ in range(BATCH):
        record = rig.wait_completed(rig.submit("POST", f"/jobs/matrix?m={m}&k={k}&n={n}", operands.tobytes(),
                                               {"Content-Type": "application/octet-stream"}))
    return {"products_per_cpu_second": BATCH / (_executors_on_cpu(worker) - before),
            "run_seconds": record["run_seconds"]}


def _judge_matrix(report):
    job, floor = (report.median(name, "products_per_cpu_second") for name in ("matrix_job", "matrix_floor"))
    report.fact("matrix_efficiency_4_ms", job, floor)
    m, k, n = SIDES
    bare, extra = 1 / floor, 1 / job - 1 / floor
    side = (m * k * n / bare) ** (1 / 3)  # of the cube that takes a second
    inside = 1 + extra * side ** 2 / (m * n)
    report.ratio("matrix_efficiency_one_second_extrapolated", 1 / inside, 1, at_least=EFFICIENCY)
