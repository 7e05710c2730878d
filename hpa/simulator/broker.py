# SPDX-License-Identifier: Apache-2.0
"""A queue of RabbitMQ, and what its management API says about it, which is older.

The numbers of a queue reach the API in two steps: every so often the queue
tells its node (quorum_tick_interval), and every so often a collector takes
a sample of what the node knows, which is what the API reads
(sample_retention_policies). The two know nothing of each other. ./run bench lag
measures it: with RabbitMQ 3.10 and the defaults of 5 s twelve messages showed
after 1 to 10 s.
"""

from collections import deque


class Job:
    __slots__ = ("arrived", "seconds", "kind", "begun")

    def __init__(self, arrived, seconds, kind):
        self.arrived = arrived
        self.seconds = seconds
        self.kind = kind
        self.begun = None  # when its first run began


class Queue:
    def __init__(self, clock, intervals, name):
        dice = clock.dice(f"statistics {name}")
        self._clock = clock
        self._collects_every = intervals.sample_interval
        self._collected_first = dice.random() * self._collects_every
        self._told = deque([(-1.0, 0, 0)])  # (time, ready, unacknowledged), as the queue told its node
        self.ready = deque()
        self.unacknowledged = 0
        clock.every(intervals.queue_interval, dice.random() * intervals.queue_interval, self._tell)

    def _tell(self):
        now, told = self._clock.now, self._told
        told.append((now, len(self.ready), self.unacknowledged))
        while told[1][0] <= now - self._collects_every:  # every collection from now on finds a later one
            told.popleft()

    def publish(self, job):
        self.ready.append(job)

    def take(self):
        self.unacknowledged += 1
        return self.ready.popleft()

    def acknowledge(self):
        self.unacknowledged -= 1

    def requeue(self, job):
        """Handed back, or lost with its consumer: it goes where it came from."""
        self.unacknowledged -= 1
        self.ready.appendleft(job)

    def __len__(self):
        return len(self.ready) + self.unacknowledged

    def as_reported(self):
        """(ready, unacknowledged), as the API says at this moment."""
        ticks = (self._clock.now - self._collected_first) // self._collects_every
        collected = self._collected_first + ticks * self._collects_every
        for time, ready, unacknowledged in reversed(self._told):
            if time <= collected:
                return ready, unacknowledged
        return 0, 0
