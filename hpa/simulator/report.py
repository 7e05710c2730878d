# SPDX-License-Identifier: Apache-2.0
"""What a run came to, for people: a table with a line for each run, the decisions step by step, the targets."""

from dataclasses import dataclass

COLUMNS = (("jobs", "{:d}", lambda run: run.completed),
           ("backlog", "{:d}", lambda run: run.peaks["backlog"]),
           ("wait p50", "{:.0f}", lambda run: run.wait(0.50)),
           ("p95", "{:.0f}", lambda run: run.wait(0.95)),
           ("beyond boot", "{:.0f}", lambda run: run.wait_beyond_boot(0.95)),
           ("pods", "{:d}", lambda run: run.peaks["pods"]),
           ("nodes", "{:d}", lambda run: run.peaks["nodes"]),
           ("used core-s", "{:.0f}", lambda run: run.used),
           ("paid core-s", "{:.0f}", lambda run: run.paid),
           ("paid/used", "{:.3f}", lambda run: run.ratio),
           ("killed", "{:d}", lambda run: run.killed))


def header():
    return ["trace", *(name for name, _, _ in COLUMNS), ""]


def line(name, run, remark=""):
    return [name, *(form.format(value(run)) for _, form, value in COLUMNS), remark]


def table(lines):
    """lines: lists of texts of the same length. Numbers stand to the right; the first and last column to the left."""
    widths = [max(len(row[column]) for row in lines) for column in range(len(lines[0]))]
    last = len(widths) - 1
    return "\n".join("  ".join(text.ljust(width) if column in (0, last) else text.rjust(width)
                               for column, (text, width) in enumerate(zip(row, widths))).rstrip() for row in lines)


LEGEND = """\
backlog, pods, nodes: the most at one time. wait: seconds from arrival to the first run; beyond boot: p95 without what
the boot of a node takes on the average. used: cores x run time of the jobs that completed. paid: cores of the worker
nodes from the order of each to its end. killed: runs cut short by scaling in."""


def steps(diary, since, until):
    """The decisions between two times, a line each."""
    return "\n".join(f"{time:10.1f} s  {who}: {text}" for time, who, text in diary if since <= time <= until)


# ---- the targets -----------------------------------------------------------

@dataclass(frozen=True)
class Target:
    trace: str
    ratio: float           # paid / used, at most
    wait: float = 60.0     # p95 beyond boot, less
    killed: int = 0

    def misses(self, run):
        """Sentences; none when all is reached."""
        if run.ratio > self.ratio:
            yield f"paid/used {run.ratio:.3f} > {self.ratio:g}"
        if run.wait_beyond_boot(0.95) >= self.wait:
            yield f"p95 wait {run.wait_beyond_boot(0.95):.0f} s beyond boot >= {self.wait:g} s"
        if run.killed > self.killed:
            yield f"{run.killed} jobs killed"
        if run.completed < run.submitted:
            yield f"{run.submitted - run.completed} jobs never ran"


TARGETS = (Target("burst", 1.25), Target("day", 1.15))


def verdict(target, run):
    misses = list(target.misses(run))
    return "missed: " + "; ".join(misses) if misses else "reached"
