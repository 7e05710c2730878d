# SPDX-License-Identifier: Apache-2.0
"""How fast results go out, to a client that throws them away.

The product of 10,000 x 16 and 16 x 10,000 random numbers: 800 MB as .npy, once as one blob and once cut into
tiles of 2,500 x 2,500.
json  floor: the same numbers printed by to_chars into memory, one core
npy   floor: the same file by sendfile from a server that does nothing else
"""

import os
import urllib.request

import drive
import large
import measure
from rig import Failed, Rig

SIDE, INNER, TILE = 10_000, 16, 2_500
JSON_SHARE, NPY_SHARE = 0.6, 0.7
RESULTS = {"whole": {}, "tiled": {"tile_m": TILE, "tile_n": TILE}}


def run(report, options):
    with Rig(options.queue_types(("quorum",))[0]) as rig:
        rig.start_gateway()
        rig.start_worker(measure.cpu_count())
        results = {name: _make(rig, cut) for name, cut in RESULTS.items()}
        path = _fetch(rig, results["whole"])
        for _ in range(options.rounds):
            _round(report, rig, results, path)
    for name in RESULTS:
        report.paired_ratio(f"json_{name}_numbers_per_second", f"json_{name}", "print", "numbers_per_second",
                            at_least=JSON_SHARE)
        report.paired_ratio(f"npy_{name}_mb_per_second", f"npy_{name}", "sendfile", "mb_per_second",
                            at_least=NPY_SHARE)
        report.fact(f"gateway_growth_mb_{name}", report.most(f"json_{name}", "growth_mb"))


def _make(rig, cut):
    """Path of the result of a completed job."""
    operands = {"A": {"random": {"rows": SIDE, "cols": INNER, "seed": 1}},
                "B": {"random": {"rows": INNER, "cols": SIDE, "seed": 2}}}
    job = rig.submit_product(operands, **cut)
    rig.wait_completed(job, 300)
    return f"/jobs/{job}/result"


def _fetch(rig, path):
    """The whole result as a file: what the floors print and send."""
    target = large.file_of(rig, "C.npy")
    request = urllib.request.Request(f"http://127.0.0.1:{rig.port}{path}", headers={"Accept": large.NPY})
    with urllib.request.urlopen(request) as answer, open(target, "wb") as file:
        while piece := answer.read(1 << 20):
            file.write(piece)
    if os.path.getsize(target) < 8 * SIDE * SIDE:
        raise Failed(f"{path} has {os.path.getsize(target)} bytes")
    return target


def _round(report, rig, results, path):
    bare = drive.run("floor_text", "print", path)
    report.measured("print", numbers_per_second=bare["numbers"] / bare["seconds"], **bare)
    with drive.Listening("floor_sendfile", path) as server:
        line = drive.run("load_large", server.port, "get", "/", large.NPY)
        report.measured("sendfile", mb_per_second=line["down_mb_per_second"], seconds=line["down_seconds"])
    for name, result in results.items():
        for form, accept in (("json", large.JSON), ("npy", large.NPY)):
            before_mb = measure.memory_mb(rig.gateway.pid)["rss_mb"]
            measure.reset_peak(rig.gateway.pid)
            line = large.get(rig, result, accept)
            growth_mb = measure.memory_mb(rig.gateway.pid)["peak_rss_mb"] - before_mb
            report.measured(f"{form}_{name}", mb_per_second=line["down_mb_per_second"], seconds=line["down_seconds"],
                            numbers_per_second=SIDE * SIDE / line["down_seconds"], growth_mb=growth_mb)
