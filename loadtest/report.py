# SPDX-License-Identifier: Apache-2.0
"""JSON lines on stdout, and what the medians of a benchmark say about its bounds."""

import json
import statistics
import sys


class Report:
    """Collects one benchmark's measurements; prints each at once, verdicts as they are asked for."""

    def __init__(self, bench):
        self._bench = bench
        self._series = {}

    def measured(self, what, **fields):
        """One measurement. Its numbers are kept, by what and field name, for the medians."""
        series = self._series.setdefault(what, {})
        for name, value in fields.items():
            if isinstance(value, (int, float)):
                series.setdefault(name, []).append(value)
        _print({"bench": self._bench, "measure": what, **fields})

    def has(self, what):
        return what in self._series

    def median(self, what, field):
        return statistics.median(self._series[what][field])

    def most(self, what, field):
        return max(self._series[what][field])

    def ratio(self, name, value, floor, at_least=None, at_most=None):
        """A verdict on value / floor, which the issue bounds from one side."""
        self._verdict(name, value, floor, value / floor, value / floor, "ratio", at_least, at_most)

    def paired_ratio(self, name, product, floor, field, at_least=None, at_most=None):
        """The same for series measured in turns: the median over the pairs, so that a host which slows down
        meanwhile slows both sides of each ratio. product, floor: names of series."""
        pairs = zip(self._series[product][field], self._series[floor][field])
        ratio = statistics.median(value / bare for value, bare in pairs)
        self._verdict(name, self.median(product, field), self.median(floor, field), ratio, ratio, "ratio",
                      at_least, at_most)

    def bounded(self, name, value, at_most, floor=None):
        """A verdict on the value itself. floor: what the bound was computed from, for the reader."""
        self._verdict(name, value, floor, value / floor if floor else None, value, "value", None, at_most)

    def fact(self, name, value, floor=None):
        """A summary that no bound goes with."""
        _print({"bench": self._bench, "summary": name, "value": value, "floor": floor,
                "ratio": value / floor if floor else None, "bound": None, "ok": None})

    def beside(self, name, value, peer):
        """A summary that sets a value beside somebody else's; both may be 0."""
        _print({"bench": self._bench, "summary": name, "value": value, "peer": peer,
                "ratio": value / peer if peer else None, "bound": None, "ok": None})

    def _verdict(self, name, value, floor, ratio, judged, what, at_least, at_most):
        is_ok = judged >= at_least if at_most is None else judged <= at_most
        bound = f"{what} >= {_number(at_least)}" if at_most is None else f"{what} <= {_number(at_most)}"
        _print({"bench": self._bench, "summary": name, "value": value, "floor": floor, "ratio": ratio,
                "bound": bound, "ok": is_ok})


def _number(value):
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _print(line):
    print(json.dumps({name: _number(value) for name, value in line.items()}), flush=True)


def note(text):
    """For the person who waits; not part of the results."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
