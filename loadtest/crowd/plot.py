# SPDX-License-Identifier: Apache-2.0
"""A page with the backlog and the workers over time. One file, SVG inside, nothing fetched from anywhere."""

import html
import math

WIDTH, HEIGHT = 960, 190  # of one panel, axes included
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 30, 22  # margins around its plot
TICKS = 5

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1c2733; background: #fff; }}
h1 {{ font-size: 1.4rem; }} svg {{ width: 100%; height: auto; display: block; margin: 1rem 0; }}
td {{ padding: .1rem 1.2rem .1rem 0; }} td:last-child {{ text-align: right; font-variant-numeric: tabular-nums; }}
text {{ font: 12px system-ui, sans-serif; fill: currentColor; }} .grid {{ stroke: currentColor; opacity: .15; }}
.a {{ stroke: #1f6feb; fill: #1f6feb; }} .b {{ stroke: #d9822b; fill: #d9822b; }} tspan.a, tspan.b {{ stroke: none; }}
path.line {{ fill: none; stroke-width: 1.8; }} path.area {{ stroke: none; opacity: .25; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #dbe4ee; background: #11161c; }} }}
</style></head><body>
<h1>{title}</h1>
<table>{rows}</table>
{svg}
</body></html>
"""


def page(title, rows, samples):
    """rows: [(words, value)] above the plot; samples: crowd.watch's, at least one."""
    table = "".join(f"<tr><td>{html.escape(words)}</td><td>{html.escape(str(value))}</td></tr>"
                    for words, value in rows)
    return PAGE.format(title=html.escape(title), rows=table, svg=drawing(samples))


def drawing(samples):
    times = [each["at"] for each in samples]
    panels = (
        ("jobs waiting", "and running", _column(samples, "ready"), _column(samples, "unacknowledged")),
        ("workers", "of them busy", _column(samples, "workers"), _column(samples, "busy")),
        ("jobs accepted per second", "completed per second", _rates(samples, "accepted"), _rates(samples, "completed")),
    )
    body = "".join(_panel(times, index * HEIGHT, *panel) for index, panel in enumerate(panels))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT * len(panels) + 16}" role="img" '
            f'aria-label="backlog, workers and rates over time">{body}'
            f'<text x="{WIDTH - RIGHT}" y="{HEIGHT * len(panels) + 10}" text-anchor="end">seconds</text></svg>')


def _column(samples, field):
    return [each[field] for each in samples]


def _rates(samples, field):
    """Per second since the sample before."""
    rates = [0.0]
    for before, after in zip(samples, samples[1:]):
        rates.append(max(0.0, (after[field] - before[field]) / (after["at"] - before["at"])))
    return rates


def _panel(times, top, first, second, first_values, second_values):
    across = _Axis(times[-1] or 1.0, LEFT, WIDTH - RIGHT)
    up = _Axis(max(first_values + second_values) or 1, top + HEIGHT - BOTTOM, top + TOP)
    parts = [f'<text x="{LEFT}" y="{top + 16}"><tspan class="a">{first}</tspan>, '
             f'<tspan class="b">{second}</tspan></text>']
    for value in up.ticks():
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>'
                     f'<text x="{LEFT - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in across.ticks():
        parts.append(f'<text x="{across(value):.1f}" y="{top + HEIGHT - 6}" text-anchor="middle">{value:g}</text>')
    for style, values in (("a", first_values), ("b", second_values)):
        line = _steps([across(at) for at in times], [up(value) for value in values])
        parts.append(f'<path class="{style} area" d="{line}V{up(0):.1f}H{LEFT}Z"/>'
                     f'<path class="{style} line" d="{line}"/>')
    return "".join(parts)


def _steps(xs, ys):
    """A value holds until the next sample."""
    return f"M{xs[0]:.1f},{ys[0]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in zip(xs[1:], ys[1:]))


class _Axis:
    """Maps 0..most to start..end, and knows round numbers in between."""

    def __init__(self, most, start, end):
        rough = most / TICKS
        power = 10 ** math.floor(math.log10(rough))
        self._step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
        self._most, self._start, self._end = most, start, end

    def __call__(self, value):
        return self._start + (self._end - self._start) * value / self._most

    def ticks(self):
        return [index * self._step for index in range(int(self._most / self._step + 1e-9) + 1)]
