# SPDX-License-Identifier: Apache-2.0
"""10,000 x 10,000 from .npy blobs, from submit to completed: two workers with a core each, one worker with two
cores, one worker with one.

Floor of the first two, in turns with them: cblas_dgemm with two threads on the same files.
"""

import time

import drive
import large
import measure
from rig import Failed, Rig

SIDE = 10_000
TIMES = 1.15  # of the bare product
SPEEDUP = 0.55  # two workers' time over one's
SECONDS = 600  # that one product may take
FLEETS = {"two_workers": ("0", "1"), "one_worker_two_cores": ("0,1",), "one_worker_one_core": ("0",)}


def run(report, options):
    if measure.cpu_count() < 2:
        raise Failed("two CPUs are needed")
    with Rig(options.queue_types(("quorum",))[0]) as rig:
        files = [large.write_npy(large.file_of(rig, f"{name}.npy"), SIDE, SIDE, seed)
                 for seed, name in enumerate("AB")]
        rig.start_gateway()
        a, b = (large.put_blob(rig, path) for path in files)
        product = {"A": {"blob": a}, "B": {"blob": b}}
        for _ in range(options.rounds):
            report.measured("floor", **drive.run("floor_product", "read", *files, 2, seconds=SECONDS,
                                                 env={"OPENBLAS_NUM_THREADS": "2"}))
            for name, cpus in FLEETS.items():
                report.measured(name, **_product(rig, product, cpus))
    for name in ("two_workers", "one_worker_two_cores"):
        report.paired_ratio(f"{name}_seconds", name, "floor", "seconds", at_most=TIMES)
    report.paired_ratio("two_workers_seconds_to_one", "two_workers", "one_worker_one_core", "seconds",
                        at_most=SPEEDUP)


def _product(rig, product, cpus):
    """cpus: of each worker; a slot for each worker, so that all its cores are for the one job."""
    workers = [rig.start_worker(1, cpus=some) for some in cpus]
    try:
        start = time.monotonic()
        record = rig.wait_completed(rig.submit_product(product), SECONDS)
        return {"seconds": time.monotonic() - start, "record_seconds": record["run_seconds"]}
    finally:
        for worker in workers:
            rig.stop_worker(worker)
