# SPDX-License-Identifier: Apache-2.0
"""One product of 2,000 x 2,000, from the first byte of the POST to the last byte of the result.

json  in as JSON, out as JSON; floor: one program that scans the same text, multiplies, and prints
npy   in as a form of two .npy files, out as one; floor: both files copied by read and write, multiplied
One worker, a slot for each CPU: a product has one thread, here and in the floor.
"""

import drive
import large
import measure
from rig import Rig

SIDE = 2000
JSON_TIMES, NPY_TIMES = 2.0, 1.5


def run(report, options):
    with Rig(options.queue_types(("quorum",))[0]) as rig:
        a, b = (large.write_npy(large.file_of(rig, f"{name}.npy"), SIDE, SIDE, seed)
                for seed, name in enumerate("AB"))
        ways = {
            "json": (("json", SIDE, 1), ("json", SIDE, SIDE, large.JSON)),
            "npy": (("npy", a, b, rig.path, 1), ("form", a, b, large.NPY)),
        }
        rig.start_gateway()
        rig.start_worker(measure.cpu_count())
        for bare, product in ways.values():  # to warm up
            _floor(bare), _product(rig, product)
        for _ in range(options.repeats):
            for name, (bare, product) in ways.items():
                report.measured(f"{name}_floor", **_floor(bare))
                report.measured(name, **_product(rig, product))
                large.clear_blobs(rig)
    report.paired_ratio("json_seconds", "json", "json_floor", "seconds", at_most=JSON_TIMES)
    report.paired_ratio("npy_seconds", "npy", "npy_floor", "seconds", at_most=NPY_TIMES)


def _floor(arguments):
    return drive.run("floor_product", *arguments, env={"OPENBLAS_NUM_THREADS": "1"})


def _product(rig, arguments):
    line = drive.run("load_large", rig.port, *arguments)
    record = rig.wait_completed(line["id"])
    return {"seconds": line["seconds"], "up_seconds": line["up_seconds"], "down_seconds": line["down_seconds"],
            "run_seconds": record["run_seconds"]}
