# SPDX-License-Identifier: Apache-2.0
"""A run as an SVG file: backlog, then cores paid, ready and at work, then pods and nodes, over the same time."""

import math
from xml.sax.saxutils import escape

WIDTH, LEFT, RIGHT, TOP = 960, 70, 150, 46
PANEL, GAP = 170, 44
STYLE = """\
text{font:12px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}.axis{stroke:#999}.grid{stroke:#e4e4e4}
path{fill:none;stroke-width:1.4}"""

# Panels: title, curves of (attribute of a sample, colour, name).
PANELS = (("waiting jobs", (("backlog", "#c0392b", "backlog"),)),
          ("cores", (("cores", "#7f8c8d", "paid"), ("slots", "#2980b9", "in pods that run"),
                     ("busy", "#27ae60", "used"))),
          ("pods and nodes", (("pods", "#8e44ad", "pods"), ("nodes", "#d35400", "nodes"))))


def step_of(top, ticks):
    """A round step of which about that many reach the top."""
    if top <= 0:
        return 1
    rough = top / ticks
    power = 10 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


TIME_STEPS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def clock_text(seconds):
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    if hours:
        return f"{hours}:{minutes:02d} h"
    return f"{minutes} min" if seconds % 60 == 0 else f"{seconds:g} s"


class Plot:
    def __init__(self, samples):
        self._samples = samples
        self._end = max(1.0, samples[-1].time)
        self._parts = []

    def _x(self, time):
        return LEFT + (WIDTH - LEFT - RIGHT) * time / self._end

    def _text(self, x, y, text, anchor="start", kind=""):
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(text)}</text>')

    def _line(self, x1, y1, x2, y2, kind):
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def _panel(self, top, title, curves):
        most = max(getattr(sample, name) for sample in self._samples for name, _, _ in curves)
        step = step_of(most, 4)
        full = max(step, math.ceil(most / step) * step)

        def y(value):
            return top + PANEL * (1 - value / full)
        for tick in range(int(round(full / step)) + 1):
            self._line(LEFT, y(tick * step), WIDTH - RIGHT, y(tick * step), "axis" if tick == 0 else "grid")
            self._text(LEFT - 8, y(tick * step) + 4, f"{tick * step:g}", "end")
        self._text(LEFT, top - 8, title)
        for number, (name, colour, label) in enumerate(curves):
            points = " ".join(f"{'H' if i else 'M'}{self._x(sample.time):.1f}"
                              + (f" V{y(getattr(sample, name)):.1f}" if i else f" {y(getattr(sample, name)):.1f}")
                              for i, sample in enumerate(self._samples))
            self._parts.append(f'<path d="{points}" stroke="{colour}"/>')
            self._parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{top + 4 + 20 * number}" width="12" height="12" '
                               f'fill="{colour}"/>')
            self._text(WIDTH - RIGHT + 32, top + 15 + 20 * number, label)
        return top + PANEL

    def _times(self, bottom):
        step = next((step for step in TIME_STEPS if self._end / step <= 10), TIME_STEPS[-1])
        for tick in range(int(self._end // step) + 1):
            self._text(self._x(tick * step), bottom + 18, clock_text(tick * step), "middle")

    def svg(self, title):
        self._text(LEFT, 20, title, kind="title")
        top = TOP
        for name, curves in PANELS:
            bottom = self._panel(top, name, curves)
            self._times(bottom)
            top = bottom + GAP
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}">\n'
                f'<style>{STYLE}</style>\n<rect width="100%" height="100%" fill="white"/>\n'
                + "\n".join(self._parts) + "\n</svg>\n")


def svg(run, title):
    """The text of the file."""
    return Plot(run.samples).svg(title)
