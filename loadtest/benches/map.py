# SPDX-License-Identifier: Apache-2.0
"""millrace map, from the plan to the last output.

images  200 pictures of about 1 MB through one slot and through two, and the same by `parallel -j2 vips`, in turns
memory  the client's peak with 1,000 and with 10,000 small files
tiny    a dataset of 100,000 tiny files (quick: 10,000): plan, run, resume, and the CPU of all processes
"""

import collections
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import measure
from rig import REPOSITORY, Failed, Rig, built, clean_environment

IMAGES, IMAGES_QUICK = 200, 40
OPS = "rotate:45"
VIPS = ("rotate", ("45",))
TINY, TINY_QUICK = 100_000, 10_000
FEW, MANY = 1_000, 10_000
FILE_CPU_MS = 1.5
FILE_BYTES = 400  # of the client's memory, for each file of the plan


def run(report, options):
    is_quick = options.rounds == 1
    with tempfile.TemporaryDirectory(prefix="millrace-bench-map-") as folder, Rig("quorum") as rig:
        rig.start_gateway()
        rig.start_worker(2)
        _tiny(report, rig, folder, TINY_QUICK if is_quick else TINY)
        _memory(report, rig, folder)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-map-") as folder:
        dataset = _draw(folder, IMAGES_QUICK if is_quick else IMAGES)
        for number in range(options.rounds):
            for slots in (1, 2):
                with Rig("quorum") as rig:
                    rig.start_gateway()
                    rig.start_worker(slots)
                    _images(report, rig, dataset, os.path.join(folder, f"output-{number}-{slots}"), slots)
            _parallel(report, dataset, os.path.join(folder, f"vips-{number}"))
    report.paired_ratio("two_slots_to_one", "two_slots", "one_slot", "files_per_second", at_least=1.7)
    report.paired_ratio("two_slots_to_parallel", "two_slots", "parallel", "files_per_second", at_least=0.85)


# ---- the client ---------------------------------------------------------------------------


Run = collections.namedtuple("Run", "seconds peak_mb cpu_seconds summary")


def _map(port, dataset, output, *arguments):
    """A run that must succeed: seconds and CPU-seconds of the client, its peak of MB, and what it says of itself."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        client = subprocess.Popen([built("millrace"), "map", "--json", "--url", f"http://127.0.0.1:{port}", *arguments,
                                   dataset, output], env=clean_environment(), stdout=said, stderr=said)
        peak = _watch_peak(client.pid)
        _, status, usage = os.wait4(client.pid, 0)
        seconds, client.returncode = time.monotonic() - began, os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().splitlines()
    if client.returncode:
        raise Failed(f"map ended with {client.returncode}: {lines[-1:]}")
    summary = next((json.loads(line) for line in lines if line.startswith('{"files"')), {})
    return Run(seconds, peak.result(), usage.ru_utime + usage.ru_stime, summary)


def _watch_peak(pid):
    """Its largest RSS so far, looked at until it ends: what wait4 tells includes this interpreter before the exec."""
    def watch():
        peak = 0
        while True:
            try:
                peak = max(peak, measure.memory_mb(pid)["peak_rss_mb"])
            except (OSError, KeyError):  # it has ended, or is about to
                return peak
            time.sleep(0.02)

    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        return pool.submit(watch)
    finally:
        pool.shutdown(wait=False)


def _write_tiny(folder, count):
    for number in range(count):
        if number % 1000 == 0:
            os.makedirs(os.path.join(folder, f"{number // 1000:03}"))
        with open(os.path.join(folder, f"{number // 1000:03}", f"{number}.txt"), "w", encoding="ascii") as file:
            file.write(f"file {number}\n")
    return folder


HASH = ("--kind", "hash", "--param", "iterations=1")


def _tiny(report, rig, folder, count):
    dataset, output = _write_tiny(os.path.join(folder, "tiny"), count), os.path.join(folder, "tiny-output")
    tenth = _write_tiny(os.path.join(folder, "tenth"), count // 10)
    _map(rig.port, tenth, os.path.join(folder, "tenth-output"), *HASH)  # to warm up, too
    meter = measure.CpuMeter(rig.cpu_roles())
    plan_s = _map(rig.port, dataset, output, "--dry-run", *HASH).seconds
    start = meter.start()
    whole = _map(rig.port, dataset, output, *HASH)
    used = meter.since(start)
    used["client"] = whole.cpu_seconds
    resume_s = _map(rig.port, dataset, output, "--resume").seconds
    tenth_plan_s = _map(rig.port, tenth, os.path.join(folder, "dry"), "--dry-run", *HASH).seconds
    tenth_resume_s = _map(rig.port, tenth, os.path.join(folder, "tenth-output"), "--resume").seconds
    report.measured("tiny", files=count, per_second=count / whole.seconds, peak_mb=whole.peak_mb,
                    plan_us=plan_s / count * 1e6, resume_us=resume_s / count * 1e6,
                    plan_us_of_a_tenth=tenth_plan_s / count * 1e7, resume_us_of_a_tenth=tenth_resume_s / count * 1e7,
                    cpu_ms=sum(used.values()) / count * 1e3,
                    **{f"{role}_us": value / count * 1e6 for role, value in used.items()})
    report.bounded("cpu_ms_per_tiny_file", report.median("tiny", "cpu_ms"), at_most=FILE_CPU_MS)
    for step in ("plan", "resume"):  # per file; a start costs some ms, which a tenth feels more
        report.ratio(f"{step}_per_file_to_that_of_a_tenth", report.median("tiny", f"{step}_us"),
                     report.median("tiny", f"{step}_us_of_a_tenth"), at_most=1.5)


def _memory(report, rig, folder):
    for count in (FEW, MANY):
        dataset = _write_tiny(os.path.join(folder, f"small-{count}"), count)
        run = _map(rig.port, dataset, os.path.join(folder, f"small-{count}-output"), *HASH)
        report.measured(f"memory_{count}", peak_mb=run.peak_mb, per_second=count / run.seconds)
    grown = report.median(f"memory_{MANY}", "peak_mb") - report.median(f"memory_{FEW}", "peak_mb")
    report.bounded("client_bytes_per_file", grown * 1048576 / (MANY - FEW), at_most=FILE_BYTES)
    report.fact("client_peak_mb", report.median(f"memory_{MANY}", "peak_mb"), report.median(f"memory_{FEW}", "peak_mb"))


# ---- images ---------------------------------------------------------------------------------


def _draw(folder, count):
    dataset = os.path.join(folder, "plants")
    subprocess.run([sys.executable, os.path.join(REPOSITORY, "tools", "make_dataset.py"), dataset, "--count", str(count)],
                   check=True)
    return dataset


def _names(dataset):
    return sorted(os.path.join(path, name) for path, _, names in os.walk(dataset) for name in names)


def _images(report, rig, dataset, output, slots):
    warm = os.path.join(os.path.dirname(dataset), "warm")
    os.makedirs(warm, exist_ok=True)
    for name in _names(dataset)[:4]:
        shutil.copy(name, warm)
    _map(rig.port, warm, f"{output}-warm", "--ops", OPS)
    run, count = _map(rig.port, dataset, output, "--ops", OPS), len(_names(dataset))
    seconds = run.summary["wall_seconds"]  # with upload and download; the report's thumbnails come behind it
    report.measured("one_slot" if slots == 1 else "two_slots", files=count, files_per_second=count / seconds,
                    seconds=seconds, with_report=run.seconds, client_peak_mb=run.peak_mb,
                    client_cpu_ms=run.cpu_seconds / count * 1e3)
    shutil.rmtree(output)


def _parallel(report, dataset, output):
    """As people do it without us: one process per file, two at a time, one thread each."""
    if not shutil.which("parallel") or not shutil.which("vips"):
        raise Failed("parallel or vips is missing (Debian: parallel, libvips-tools)")
    os.makedirs(output)
    names = _names(dataset)
    began = time.monotonic()
    subprocess.run(["parallel", "-j2", "vips", VIPS[0], "{}", os.path.join(output, "{/}"), *VIPS[1]],
                   input="".join(name + "\n" for name in names), text=True, check=True,
                   env={**clean_environment(), "VIPS_CONCURRENCY": "1"}, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    if len(os.listdir(output)) != len(names):
        raise Failed("parallel did not write every file")
    report.measured("parallel", files=len(names), files_per_second=len(names) / seconds, seconds=seconds)
    shutil.rmtree(output)
