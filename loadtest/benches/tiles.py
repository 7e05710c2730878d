# SPDX-License-Identifier: Apache-2.0
"""Products of random operands that no executor could hold, cut into tiles, with 512 MB for an executor.

memory  20,000 x 20,000: peak RSS of the executors while some tiles run
huge    100,000 x 100,000, 80 GB an operand: planned, some tiles run, one of them compared in a window with the
        product of just those rows and columns, computed here from the definition of the random numbers; what the
        whole would take follows from the rate of the tiles
"""

import glob
import os
import time

import numpy

import measure
import philox
from rig import Failed, Rig, wait_for

MEMORY_MB = 512
SIDE, HUGE = 20_000, 100_000
TILES = 4  # that are waited for
WINDOW = 6  # rows and columns that are compared
SEEDS = 7, 8
SECONDS = 1800  # that these tiles may take


def run(report, options):
    with Rig(options.queue_types(("quorum",))[0]) as rig:
        rig.start_gateway()
        worker = rig.start_worker(measure.cpu_count(), memory_max=f"{MEMORY_MB}M")
        for name, side in (("memory", SIDE), ("huge", HUGE)):
            _some_tiles(report, rig, worker, name, side)
    for name in ("memory", "huge"):
        report.bounded(f"executor_peak_rss_mb_{name}", report.median(name, "executor_peak_mb"), at_most=MEMORY_MB)
    report.fact("huge_full_cost_hours_on_this_machine", report.median("huge", "full_hours"))


def _some_tiles(report, rig, worker, name, side):
    """Starts the product, lets some tiles end, looks at one, and cancels the rest."""
    a, b = ({"random": {"rows": side, "cols": side, "seed": seed}} for seed in SEEDS)
    job = rig.submit_product({"A": a, "B": b})
    watch = _Watch(rig, worker, job)
    try:
        wait_for(watch.has_enough, SECONDS, f"{TILES} tiles of {side} x {side}")
        tiles, seconds = _sealed(rig, job), watch.seconds()
        rows, cols = (max(tile.numbers.shape[i] for tile in tiles) for i in (0, 1))  # those at the end are smaller
        worst = max(_difference(tile, side, rows, cols) for tile in tiles[:2])
    finally:
        rig.call("DELETE", f"/jobs/{job}")
    flops = sum(2.0 * tile.numbers.size * side for tile in tiles)
    report.measured(name, side=side, tiles=watch.record["tiles"]["total"], tile_rows=rows, tile_cols=cols,
                    tiles_sealed=len(tiles), seconds=seconds, gflops=flops / seconds / 1e9,
                    full_hours=2.0 * side ** 3 / flops * seconds / 3600, executor_peak_mb=watch.peak_mb,
                    worst_relative_difference=worst)


class _Watch:
    """The record of a group, and what its executors hold at most."""

    def __init__(self, rig, worker, job):
        self._rig, self._worker, self._job = rig, worker, job
        self._first = self._last = None
        self.record, self.peak_mb = {}, 0

    def has_enough(self):
        for pid in measure.children(self._worker.pid):
            try:
                self.peak_mb = max(self.peak_mb, measure.memory_mb(pid)["peak_rss_mb"])
            except (OSError, KeyError):
                pass  # it was replaced just now
        time.sleep(0.05)
        self.record = self._rig.record(self._job)
        if self.record["state"] not in ("pending", "in-progress"):
            raise Failed(f"the group ended: {self.record}")
        now = time.monotonic()
        if self._first is None and self.record["state"] == "in-progress":
            self._first = now
        self._last = now
        return self.record.get("tiles", {}).get("done", 0) >= TILES

    def seconds(self):
        return self._last - self._first


class _Tile:
    """One member's result, as it lies in the directory of blobs: PARENT-MEMBER-FENCE."""

    def __init__(self, path, job):
        self.member = int(os.path.basename(path)[len(job) + 1:].split("-")[0])
        self.numbers = numpy.load(path, mmap_mode="r")


def _sealed(rig, job):
    paths = glob.glob(os.path.join(rig.blobs, "??", f"{job}-*"))
    tiles = [_Tile(path, job) for path in paths if not path.endswith(".sum")]
    if not tiles:
        raise Failed("no tile is in the directory of blobs")
    return sorted(tiles, key=lambda tile: tile.member)


def _difference(tile, side, tile_rows, tile_cols):
    """Of the last rows and columns of a tile to the same of A x B, relative; fails beyond what rounding can do."""
    down, across = divmod(tile.member, -(-side // tile_cols))
    row = down * tile_rows + tile.numbers.shape[0] - WINDOW
    col = across * tile_cols + tile.numbers.shape[1] - WINDOW
    a = philox.cells(SEEDS[0], side, range(row, row + WINDOW), range(side))
    b = philox.cells(SEEDS[1], side, range(side), range(col, col + WINDOW))
    expected = a @ b
    worst = float(numpy.max(numpy.abs(tile.numbers[-WINDOW:, -WINDOW:] - expected) / expected))
    if worst > side * 2.0 ** -52:
        raise Failed(f"tile {tile.member}: rows from {row}, columns from {col} differ by {worst:.3g}")
    return worst
