# SPDX-License-Identifier: Apache-2.0
"""Time that jumps from event to event, and the diary of who decided what.

Nothing here sleeps. Events of the same time happen in the order in which they
were asked for, so that a run depends on its seed alone.
"""

import heapq
import random


class Clock:
    def __init__(self, seed):
        self.now = 0.0
        self._seed = seed
        self._events = []
        self._asked = 0

    def dice(self, purpose):
        """A stream of its own for each purpose: what one part draws does not move another."""
        return random.Random(f"{self._seed}/{purpose}")

    def at(self, time, call, *args):
        self._asked += 1
        heapq.heappush(self._events, (time, self._asked, call, args))

    def after(self, seconds, call, *args):
        self.at(self.now + seconds, call, *args)

    def every(self, period, first, call):
        """For ever, from `first` on."""
        def turn(time):
            call()
            self.at(time + period, turn, time + period)
        self.at(first, turn, first)

    def run(self, arrivals, arrive, is_over):
        """arrivals: jobs in the order of their `arrived`. They are many, so they do not pass through the heap.
        is_over is asked after each event once the last job is there."""
        arrivals = iter(arrivals)
        job = next(arrivals, None)
        events = self._events
        while job is not None:
            while events and events[0][0] <= job.arrived:
                self.now, _, call, args = heapq.heappop(events)
                call(*args)
            self.now = job.arrived
            arrive(job)
            job = next(arrivals, None)
        while events and not is_over():
            self.now, _, call, args = heapq.heappop(events)
            call(*args)


class Diary:
    """Decisions, each with its time, its author and its reason. Kept only where somebody wants to read them."""

    def __init__(self, clock, is_kept):
        self._clock = clock
        self.is_kept = is_kept
        self.lines = []  # (time, who, text)

    def note(self, who, text, *values):
        """text: with a {} for each value; put together only when it is kept."""
        if self.is_kept:
            self.lines.append((self._clock.now, who, text.format(*values)))
