# SPDX-License-Identifier: Apache-2.0
"""./run test: ctest runs everything, this counts what really ran.

An entry of ctest is a whole program or file; the sum printed at the end counts
the single tests inside: cmocka's cases from their TAP lines, pytest's from
their JUnit files. A program that ends badly without naming a failed test is a
failure of its own. Skipped tests are named, with the reason.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUTPUT_BYTES = "10000000"  # ctest cuts the output of a test, and with it the TAP lines, at 1 kB
TAP_LINE = re.compile(r"^(not ok|ok) \d+ (?:- |# (SKIP) )(.*)$", re.MULTILINE)
TEST_DEFINITION = re.compile(r"^(?:static void |def (?=test_))(\w+)\(", re.MULTILINE)


@dataclass
class Count:
    passed: int = 0
    failed: list = field(default_factory=list)  # names
    skipped: list = field(default_factory=list)  # names with reasons

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def main():
    parser = argparse.ArgumentParser(prog="./run test", allow_abbrev=False)
    parser.add_argument("--all", action="store_true", help="also under sanitizers, and the long forms")
    parser.add_argument("pattern", nargs="?", help="only files and tests whose name contains this")
    options = parser.parse_args()

    if options.all:
        os.environ["MILLRACE_TEST_LONG"] = "1"
    total = run_preset("release", options.pattern, lambda name: True)
    if options.all:
        total.add(run_preset("asan", options.pattern, lambda name: not name.startswith(("faults/", "model/", "deploy/"))))
        total.add(run_preset("tsan", options.pattern, lambda name: "/" not in name, fixed_addresses=True))
    return report(total, options.pattern)


def run_preset(preset, pattern, belongs, fixed_addresses=False):
    """Builds the preset and runs those of its entries that belong and match."""
    build = os.path.join(REPOSITORY, "build", preset)
    if subprocess.run([os.path.join(REPOSITORY, "run"), "build", preset], check=False).returncode:
        sys.exit(1)
    shutil.rmtree(os.path.join(build, "results"), ignore_errors=True)
    names = [name for name in entries(build) if belongs(name) and matches(name, pattern)]
    if not names:
        return Count()

    junit = os.path.join(build, "results", "ctest.xml")
    command = ["ctest", "--test-dir", build, "--output-on-failure", "--output-junit", junit,
               "--parallel", str(min(4, len(os.sched_getaffinity(0)))), "--no-tests=error",
               "--test-output-size-passed", OUTPUT_BYTES, "--test-output-size-failed", OUTPUT_BYTES,
               "--tests-regex", "^(" + "|".join(map(re.escape, names)) + ")$"]
    if fixed_addresses:  # the thread sanitizer of gcc 12 cannot live with as many random bits as Linux 6.x uses
        command = ["setarch", "--addr-no-randomize", *command]
    subprocess.run(command, env=environment(pattern), check=False)
    return count_all(build, junit, names, "" if preset == "release" else f"{preset}: ")


def environment(pattern):
    kept = {name: value for name, value in os.environ.items()
            if name in ("MILLRACE_TEST_LONG", "MILLRACE_SCHEMAS") or not name.startswith(("MILLRACE_", "OPENBLAS_", "PYTEST_"))}
    kept["CMOCKA_MESSAGE_OUTPUT"] = "TAP"
    if pattern:
        kept["PYTEST_ADDOPTS"] = f"-k {pattern}"
    return kept


def entries(build):
    listing = subprocess.run(["ctest", "--test-dir", build, "--show-only"], capture_output=True, text=True, check=True)
    return re.findall(r"^ +Test +#\d+: (\S+)", listing.stdout, re.MULTILINE)


def matches(name, pattern):
    """By the entry's own name, or by that of a test in its source."""
    if not pattern or pattern in name:
        return True
    stem = os.path.basename(name)
    for folder, _, files in os.walk(os.path.join(REPOSITORY, "tests")):
        for file in files:
            if os.path.splitext(file)[0] == stem and (("/" not in name) == file.endswith(".c")):
                with open(os.path.join(folder, file), encoding="utf-8") as source:
                    tests = TEST_DEFINITION.findall(source.read())
                if any(pattern in test for test in tests):
                    return True
    return False


def count_all(build, junit, names, prefix):
    total = Count()
    seen = set()
    if os.path.exists(junit):
        for entry in ElementTree.parse(junit).getroot().iter("testcase"):
            seen.add(entry.get("name"))
            total.add(count_entry(build, entry, prefix))
    total.failed += [f"{prefix}{name} (did not run)" for name in names if name not in seen]
    return total


def count_entry(build, entry, prefix):
    name = entry.get("name")
    details = os.path.join(build, "results", f"{name}.xml")
    count = count_pytest(details, prefix) if os.path.exists(details) else \
        count_tap(prefix + name, entry.findtext("system-out") or "")
    ended_well = entry.get("status") == "run"
    if not ended_well and not count.failed:
        count.failed.append(f"{prefix}{name} ({failure_reason(entry)})")
    if ended_well and not (count.passed or count.skipped):
        count.passed = 1  # a program without cases of its own, such as a replayed corpus
    return count


def failure_reason(entry):
    failure = entry.find("failure")
    return (failure is not None and failure.get("message")) or entry.get("status")


def count_pytest(path, prefix):
    count = Count()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{prefix}{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            count.failed.append(name)
        elif skipped is not None:
            count.skipped.append(f"{name}: {skipped.get('message')}")
        else:
            count.passed += 1
    return count


def count_tap(name, output):
    """cmocka writes "not ok 3 # SKIP name" for a skipped case; the line before it may say why."""
    count = Count()
    for verdict, skip, case in TAP_LINE.findall(output):
        if skip:
            before = output[:output.index(f"# SKIP {case}")].splitlines()
            reason = before[-2] if len(before) > 1 and not TAP_LINE.match(before[-2]) else "no reason given"
            count.skipped.append(f"{name}::{case}: {reason}")
        elif verdict == "ok":
            count.passed += 1
        else:
            count.failed.append(f"{name}::{case}")
    return count


def report(total, pattern):
    print()
    for name in total.skipped:
        print(f"skipped  {name}")
    for name in total.failed:
        print(f"FAILED   {name}")
    none = not (total.passed or total.failed or total.skipped)
    if none:
        print(f"no test has {pattern!r} in its name")
    print(f"{total.passed} passed, {len(total.failed)} failed, {len(total.skipped)} skipped")
    return 1 if none or total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
