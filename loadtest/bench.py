# SPDX-License-Identifier: Apache-2.0
"""./run bench [NAME] [--quick] [--type quorum|classic]: README.md says what each line means.

./run bench load is no benchmark of a part but a test of a whole fleet, with
options of its own: load.py.
"""

import argparse
import importlib
import os
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import measure  # noqa: E402
import rig  # noqa: E402
from fleet.folder import Refused  # noqa: E402
from report import Report, note  # noqa: E402

BENCHES = ("floor", "submit", "endtoend", "latency", "memory", "start", "kernels", "ingest", "product", "big", "tiles",
           "output", "map", "lag", "peers")


class Options:
    """How much is measured. quick is for a look at everything: fewer rounds, the same questions."""

    def __init__(self, quick, queue_type):
        self._queue_type = queue_type
        self.rounds = 1 if quick else 3    # of floor and product in turns
        self.repeats = 3 if quick else 10  # of single events: starts, jobs of one second
        self.run_seconds = 2               # of one side of one round

    def queue_types(self, every):
        return (self._queue_type,) if self._queue_type else every


def main():
    if sys.argv[1:2] == ["load"]:
        return load()
    parser = argparse.ArgumentParser(prog="./run bench", description="Benchmarks as JSON lines; no name: all, quick.",
                                     epilog="./run bench load --help: many clients against a whole fleet.")
    parser.add_argument("name", nargs="?", choices=BENCHES)
    parser.add_argument("--quick", action="store_true", help="one round instead of three")
    parser.add_argument("--type", choices=rig.QUEUE_TYPES, help="only this type of queue")
    chosen = parser.parse_args()
    options = Options(chosen.quick or not chosen.name, chosen.type)
    failures = 0
    for name in (chosen.name,) if chosen.name else BENCHES:
        note(name)
        report, host = Report(name), measure.HostMeter()
        try:
            importlib.import_module(f"benches.{name}").run(report, options)
            report.measured("host", **host.shares())
        except (rig.Failed, Refused, OSError) as failed:
            note(f"{name}: no result: {failed}")
            failures += 1
    return 1 if failures else 0


def load():
    import load as test
    try:
        return test.main(sys.argv[2:])
    except (rig.Failed, Refused, OSError) as failed:
        print(f"load: {failed}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of all with-blocks: nothing is left behind
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
