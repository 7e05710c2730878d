# SPDX-License-Identifier: Apache-2.0
"""How fast operands come in, from the first byte of the request to its answer, durable blobs included.

json    two operands of 10,000 x 10,000, 17 digits a number, 3.8 GB of text; floor: one core that scans the same
        text in pieces of 64 KB
form    the same way in for .npy files: 10,000 x 10,000 (800 MB) and a column, multipart/form-data
put     the 800 MB by PUT /blobs; floor of both: the file copied by read and write on the same disk
Meanwhile another client makes small requests, one each 5 ms, and the gateway's memory is watched.
No workers.
"""

import os

import drive
import large
import measure
from rig import Rig

SIDE = 10_000
JSON_SHARE, NPY_SHARE = 0.65, 0.4
SMALL_P99_MS = 25
GROWTH_MB = 16


def run(report, options):
    with Rig(options.queue_types(("quorum",))[0]) as rig:
        a = large.write_npy(large.file_of(rig, "A.npy"), SIDE, SIDE, 1)
        b = large.write_npy(large.file_of(rig, "b.npy"), SIDE, 1, 2)
        rig.start_gateway()
        drive.run("floor_copy", a, large.file_of(rig, "copy.npy"))  # its pages are in the cache from now on
        for _ in range(options.rounds):
            _floors(report, rig, a)
            for name, arguments in (("json", ("json", SIDE, SIDE)), ("form", ("form", a, b)), ("put", ("blob", a))):
                _upload(report, rig, name, arguments)
    report.paired_ratio("json_mb_per_second", "json", "scan", "mb_per_second", at_least=JSON_SHARE)
    report.fact("json_cpu_seconds_of_the_gateway_to_scan", report.median("json", "gateway_cpu_seconds"),
                report.median("scan", "cpu_seconds"))
    for name in ("form", "put"):
        report.paired_ratio(f"{name}_mb_per_second", name, "copy", "mb_per_second", at_least=NPY_SHARE)
        report.fact(f"{name}_mb_per_second_to_durable_copy", report.median(name, "mb_per_second"),
                    report.median("copy_durable", "mb_per_second"))
    for name in ("json", "form", "put"):
        report.bounded(f"small_requests_p99_ms_during_{name}", report.median(f"{name}_beside", "p99_ms"),
                       at_most=SMALL_P99_MS)
        report.bounded(f"gateway_growth_mb_during_{name}", report.most(f"{name}_memory", "growth_mb"),
                       at_most=GROWTH_MB)


def _floors(report, rig, a):
    os.sync()
    report.measured("scan", **drive.run("floor_text", "scan", SIDE, SIDE))
    for series, more in (("copy", ()), ("copy_durable", ("durable",))):
        report.measured(series, **drive.run("floor_copy", a, large.file_of(rig, "copy.npy"), *more))
        os.sync()


def _upload(report, rig, name, arguments):
    """VmHWM counts every resident page, mapped ones too; it is set back before, so that none goes unseen."""
    pid = rig.gateway.pid
    with drive.Beside(rig.port) as beside:
        before_mb = measure.memory_mb(pid)["rss_mb"]
        measure.reset_peak(pid)
        line = drive.run("load_large", rig.port, *arguments, meter=measure.CpuMeter(rig.cpu_roles()))
        peak_mb = measure.memory_mb(pid)["peak_rss_mb"]
    report.measured(name, mb_per_second=line["up_mb_per_second"], seconds=line["up_seconds"],
                    bytes=line["up_bytes"], gateway_cpu_seconds=line["cpu"]["gateway"],
                    client_cpu_seconds=line["client_cpu_seconds"])
    report.measured(f"{name}_beside", **beside.line)
    report.measured(f"{name}_memory", before_mb=before_mb, peak_mb=peak_mb, growth_mb=peak_mb - before_mb)
    large.clear_blobs(rig)
