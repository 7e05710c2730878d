# SPDX-License-Identifier: Apache-2.0
"""How much of the bare kernel's speed is left inside a job, in turns with the bare loop; and which kernel it is.

hash    rounds for about one second: rounds per second by the record's run_seconds (claim to settle)
matrix  3,600 x 3,600 from .npy blobs, about one second: multiplications per second of the executor's CPU, since
        run_seconds has the disk in it, which is told beside
tiny    the largest product that travels inline at the largest MILLRACE_INLINE_MAX, some 4 ms: told, not bound
verify  the check of a product of 4,000 x 4,000, beside the product
choice  OpenBLAS's own choice of a kernel against each one it can be told to take, and against BLIS
"""

import array
import json
import os

import drive
import large
import measure
from rig import Failed, Rig

HASH_ROUNDS = 8_000_000
INPUT = "millrace"  # as in floor_hash.c
INLINE_MAX = 4_194_304
TINY = (724, 362, 724)  # m, k, n: operands and result just fit INLINE_MAX
BATCH = 8  # tiny products per measurement
SIDE = 3_600  # below what is cut into tiles
SLOTS = 2  # so that each has one thread of a machine with two CPUs
EFFICIENCY = 0.97
VERIFY_SIDE, VERIFY_ROUNDS, VERIFY_SHARE = 4_000, 5, 0.02
CHOICE_SIDE, CHOICE_CALLS = 2_000, 4
OPENBLAS_CORES = ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX", "Cooperlake")
BLIS = "libblis.so.4"
BLIS_CORES = {"0": "skx", "3": "haswell", "6": "zen3"}  # by number; what it took is in "core"


def run(report, options):
    for form in ("evp", "oneshot"):  # for the record: slower ways to the same digest
        report.measured(f"hash_{form}", **_bare_hash(form)[0])
    _choices(report, options)
    report.measured("verify", **drive.run("cost_verify", VERIFY_SIDE, VERIFY_ROUNDS, env={"OPENBLAS_NUM_THREADS": "1"}))
    report.ratio("verify_ms_to_multiply_ms", report.median("verify", "verify_ms"),
                 report.median("verify", "multiply_ms"), at_most=VERIFY_SHARE)
    with Rig(options.queue_types(("quorum",))[0]) as rig:
        rig.start_gateway(inline_max=INLINE_MAX)
        worker = rig.start_worker(SLOTS, inline_max=INLINE_MAX)
        threads = max(1, measure.cpu_count() // SLOTS)
        product = {name: {"blob": large.put_blob(rig, large.write_npy(large.file_of(rig, f"{name}.npy"), SIDE, SIDE,
                                                                      seed))}
                   for seed, name in enumerate("AB")}
        _tiny_job(rig, worker)  # the first ones load and touch everything
        _matrix_job(rig, worker, product)
        for _ in range(options.repeats):
            _hash_round(report, rig, worker)
            report.measured("tiny_floor", **_bare_matrix(TINY, threads, 10 * BATCH))
            report.measured("tiny_job", **_tiny_job(rig, worker))
            report.measured("matrix_floor", **_bare_matrix((SIDE,) * 3, threads, 1))
            report.measured("matrix_job", **_matrix_job(rig, worker, product))
    report.paired_ratio("hash_efficiency", "hash_job", "hash_floor", "rounds_per_second", at_least=EFFICIENCY)
    report.paired_ratio("hash_efficiency_cpu", "hash_job", "hash_floor", "rounds_per_cpu_second", at_least=EFFICIENCY)
    report.paired_ratio("matrix_efficiency_cpu", "matrix_job", "matrix_floor", "products_per_cpu_second",
                        at_least=EFFICIENCY)
    report.fact("matrix_efficiency_run_seconds", 1 / report.median("matrix_job", "run_seconds"),
                1 / report.median("matrix_floor", "run_seconds"))
    report.fact("matrix_efficiency_4_ms", report.median("tiny_job", "products_per_cpu_second"),
                report.median("tiny_floor", "products_per_cpu_second"))


# -- hash ------------------------------------------------------------------------

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


# -- matrix ----------------------------------------------------------------------

def _bare_matrix(sides, threads, calls):
    line = drive.run("floor_dgemm", *sides, threads, calls, env={"OPENBLAS_NUM_THREADS": str(threads)})
    return {"gflops": line["gflops"], "core": line["core"], "run_seconds": line["seconds_per_call"],
            "products_per_cpu_second": line["calls"] / line["cpu_seconds"]}


def _tiny_job(rig, worker):
    m, k, n = TINY
    operands = array.array("d", [float(i % 10) for i in range(m * k)] + [float(i % 10) for i in range(k * n)])
    before = _executors_on_cpu(worker)
    for _ in range(BATCH):
        record = rig.wait_completed(rig.submit("POST", f"/jobs/matrix?m={m}&k={k}&n={n}", operands.tobytes(),
                                               {"Content-Type": "application/octet-stream"}))
    return {"products_per_cpu_second": BATCH / (_executors_on_cpu(worker) - before),
            "run_seconds": record["run_seconds"]}


def _matrix_job(rig, worker, product):
    before = _executors_on_cpu(worker)
    record = rig.wait_completed(rig.submit_product(product))
    cpu_seconds = _executors_on_cpu(worker) - before
    os.sync()  # its result does not slow down what comes next
    return {"products_per_cpu_second": 1 / cpu_seconds, "run_seconds": record["run_seconds"],
            "gflops": 2e-9 * SIDE ** 3 / record["run_seconds"]}


# -- which kernel ----------------------------------------------------------------

def _choices(report, options):
    """A kernel that this CPU cannot run ends its program: it is left out."""
    told = {}
    for _ in range(options.rounds):
        report.measured("openblas", **_kernel({}))
        for core in OPENBLAS_CORES:
            told[f"openblas_{core}"] = _measure_told(report, f"openblas_{core}", {"OPENBLAS_CORETYPE": core})
        told["blis"] = _measure_told(report, "blis", {}, BLIS)
        for number, core in BLIS_CORES.items():
            told[f"blis_{core}"] = _measure_told(report, f"blis_{core}", {"BLIS_ARCH_TYPE": number}, BLIS)
    own = report.median("openblas", "gflops")
    for name in (name for name, ran in told.items() if ran):
        report.fact(f"kernel_gflops_{name}_to_own_choice", report.median(name, "gflops"), own)


def _measure_told(report, name, env, *library):
    try:
        report.measured(name, **_kernel(env, *library))
    except Failed:
        return False
    return True


def _kernel(env, *library):
    side = (CHOICE_SIDE,) * 3
    line = drive.run("floor_dgemm", *side, 1, CHOICE_CALLS, *library, env={"OPENBLAS_NUM_THREADS": "1", **env})
    return {"gflops": line["gflops"], "core": line["core"]}
