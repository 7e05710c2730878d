# SPDX-License-Identifier: Apache-2.0
"""./run bench load [--url URL] [--shape NAME]: clients against a fleet, every result checked.

Starts a fleet of its own unless a URL is named, Locust without its web pages
(locustfile.py), and a look at /stats twice a second until the workers are as
many as before. Leaves in the report's folder:

    report.html    Locust's: every route, rates and percentiles over time
    fleet.html     backlog, workers and rates over time
    summary.json   the numbers below
    jobs.jsonl, samples.jsonl, locust.log   what they were made from

The exit status is 0 if every request was accepted and every result right; 1 if
not, also when the clients were stopped before they were through.
"""

import argparse
import contextlib
import json
import os
import re
import statistics
import sys
import tempfile

from crowd import ledger, plot, shapes, target
from crowd.watch import Watch
from rig import BUILD, REPOSITORY, Failed, Process, Program, free_port, tail, wait_for

FOLDER = os.path.dirname(os.path.abspath(__file__))
FLEET = os.path.join(REPOSITORY, "tools", "fleet")
PYTHON = "/usr/bin/python3"
FAULTS_SHOWN = 5
READY_SECONDS, STOP_SECONDS = 120, 60


def main(arguments):
    options = _parser().parse_args(arguments)
    os.makedirs(options.report, exist_ok=True)
    key = target.key()
    with contextlib.ExitStack() as stack:
        url = options.url or stack.enter_context(_own_fleet(options.workers))
        try:
            watch = Watch(url, key)
        except (OSError, ValueError) as error:
            raise Failed(f"no fleet answers: {error}") from None
        stack.callback(watch.stop)
        end = _run_clients(url, options)
        first = watch.samples[0]["workers"]
        if not watch.wait_workers(first, options.settle):
            print(f"more than {first} workers are left after {options.settle:g} s", file=sys.stderr)
    entries, http_failures = ledger.read(_file(options, "jobs.jsonl"))
    summary = summarize(options.shape, entries, http_failures, watch.samples)
    _leave(options, summary, watch.samples)
    _tell(summary, entries, http_failures, options.report)
    if 0 < summary["requests"] == summary["right"] and not summary["http_failures"]:
        if end == 0:
            return 0
        print(f"Locust ended with {end}: {tail(_file(options, 'locust.log'))}", file=sys.stderr)
    return 1


def _parser():
    parser = argparse.ArgumentParser(prog="./run bench load", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--url", type=_url, help="the gateway; MILLRACE_API_KEY holds its key (default: a fleet of "
                        "its own, for as long as the test lasts)")
    parser.add_argument("--workers", default="0..4", metavar="MIN..MAX", help="of its own fleet (default 0..4)")
    parser.add_argument("--shape", choices=sorted(shapes.SHAPES), default="burst",
                        help="when requests come (default burst: 1,000 in a minute)")
    parser.add_argument("--seconds", type=_positive, help="stretches the shape to so long")
    parser.add_argument("--rate", type=_positive, help="requests per minute where the shape is highest")
    parser.add_argument("--patience", type=_positive, default=300, metavar="SECONDS",
                        help="for the last job to complete (default 300)")
    parser.add_argument("--settle", type=float, default=60, metavar="SECONDS",
                        help="for the workers to be as many as before (default 60; a cluster takes longer)")
    parser.add_argument("--report", metavar="DIR", default=os.path.join(REPOSITORY, "build", "load"),
                        help="where the pages go (default build/load)")
    return parser


def _url(text):
    try:
        return target.address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from None


def _positive(text):
    if not re.fullmatch(r"\d+(\.\d+)?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return float(text)


def _file(options, name):
    return os.path.join(os.path.abspath(options.report), name)


@contextlib.contextmanager
def _own_fleet(workers):
    """The URL of one that is there for as long as the with-block lasts."""
    with tempfile.TemporaryDirectory(prefix="millrace-load-") as folder:
        port, log = free_port(), os.path.join(folder, "up.log")
        words = [PYTHON, FLEET, "up", "--data", folder, "--port", str(port), "--workers", workers]
        up = Process(Program("fleet", words, {"MILLRACE_BUILD": BUILD, **os.environ}, log))
        try:
            wait_for(lambda: "ready: " in _text(log) or not up.is_alive(), READY_SECONDS, "a fleet of its own")
            if not up.is_alive():
                raise Failed(f"no fleet: {_text(log).strip()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            up.stop(STOP_SECONDS)


def _run_clients(url, options):
    """Locust, to its end: its exit status. It leaves report.html, jobs.jsonl and locust.log."""
    words = [PYTHON, "-m", "locust", "--locustfile", os.path.join(FOLDER, "locustfile.py"), "--headless",
             "--only-summary", "--host", url, "--html", _file(options, "report.html"),
             "--ledger", _file(options, "jobs.jsonl"), "--shape", options.shape, "--patience", str(options.patience)]
    for name in ("seconds", "rate"):
        if getattr(options, name):
            words += [f"--{name}", str(getattr(options, name))]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("LOCUST_", "OPENBLAS_"))}
    env.update(OPENBLAS_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    for name in ("jobs.jsonl", "locust.log", "report.html"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_file(options, name))
    clients = Process(Program("locust", words, env, _file(options, "locust.log")))
    try:
        clients.wait(None)
    finally:
        clients.stop(STOP_SECONDS)
    if not os.path.exists(_file(options, "jobs.jsonl")):
        raise Failed(f"Locust left nothing, {clients.status()}: {tail(clients.program.log)}")
    return clients.returncode


def _text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


# -- what came out ----------------------------------------------------------------------------


def summarize(shape, entries, http_failures, samples):
    """The numbers of summary.json. seconds: from the start to the last request. late: of a request behind its time,
    which is the clients' own fault."""
    return {
        "shape": shape,
        "seconds": max((entry.sent for entry in entries if entry.sent is not None), default=0.0),
        "requests": len(entries),
        "accepted": sum(entry.accepted is not None for entry in entries),
        "right": sum(entry.done is not None for entry in entries),
        "http_failures": sum(failure["count"] for failure in http_failures),
        "submit_ms": _percentiles([1000 * (entry.accepted - entry.sent) for entry in entries if entry.accepted]),
        "job_ms": _percentiles([1000 * (entry.done - entry.sent) for entry in entries if entry.done]),
        "late_ms": _percentiles([1000 * (entry.sent - entry.due) for entry in entries if entry.sent]),
        "workers": {"first": samples[0]["workers"], "most": max(each["workers"] for each in samples),
                    "last": samples[-1]["workers"]},
        "backlog_most": max(each["ready"] + each["unacknowledged"] for each in samples),
    }


def _percentiles(values):
    if not values:
        return None
    cuts = statistics.quantiles(values, n=100, method="inclusive") if len(values) > 1 else values * 99
    return {"p50": round(cuts[49], 1), "p95": round(cuts[94], 1), "p99": round(cuts[98], 1),
            "max": round(max(values), 1)}


def _leave(options, summary, samples):
    with open(_file(options, "summary.json"), "w", encoding="utf-8") as file:
        json.dump(summary, file, indent=1)
    with open(_file(options, "samples.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in samples)
    with open(_file(options, "fleet.html"), "w", encoding="utf-8") as file:
        file.write(plot.page(f"Load test: {summary['shape']}", _rows(summary), samples))


def _rows(summary):
    workers = summary["workers"]
    rows = [("requests", f"{summary['requests']} in {summary['seconds']:.0f} s"),
            ("accepted", summary["accepted"]), ("completed, and their results right", summary["right"]),
            ("HTTP requests that failed", summary["http_failures"])]
    for words, field in (("submit to its answer", "submit_ms"), ("submit to the checked result", "job_ms"),
                         ("clients behind their schedule", "late_ms")):
        if summary[field]:
            rows.append((words, ", ".join(f"{name} {value:g} ms" for name, value in summary[field].items())))
    return rows + [("most jobs waiting and running", summary["backlog_most"]),
                   ("workers", f"{workers['first']}, at most {workers['most']}, then {workers['last']}")]


def _tell(summary, entries, http_failures, folder):
    for failure in http_failures[:FAULTS_SHOWN]:
        print(f"failed: {failure['method']} {failure['name']}: {failure['error']} ({failure['count']} times)")
    for entry in [entry for entry in entries if entry.fault][:FAULTS_SHOWN]:
        print(f"not right: {entry.name}: {entry.fault}")
    for words, value in _rows(summary):
        print(f"{words}: {value}")
    print(f"report: {os.path.join(folder, 'report.html')}, {os.path.join(folder, 'fleet.html')}")
