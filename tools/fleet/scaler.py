# SPDX-License-Identifier: Apache-2.0
"""How many workers there should be: the formula that KEDA and the HPA follow in a cluster.

    wanted = ceil(sum over kinds of (ready + unacknowledged) / slots per worker), within bounds

It grows at once and shrinks to the largest number wanted within the last
seconds (stabilisation), so that a short lull does not cost the next burst its
workers. Pure arithmetic: the caller brings the numbers and the time.
"""

from collections import deque

STABILISATION_SECONDS = 10.0


def workers_wanted(queues, slots, least, most):
    """queues: {kind: {"ready": n, "unacknowledged": n}}, as GET /stats gives them."""
    jobs = sum(queue["ready"] + queue["unacknowledged"] for queue in queues.values())
    return max(least, min(most, -(-jobs // slots)))


class Stabiliser:
    def __init__(self, seconds=STABILISATION_SECONDS):
        self._seconds = seconds
        self._samples = deque()  # (time, wanted), oldest first

    def target(self, now, wanted):
        """The number to run now. now: monotonic seconds, never earlier than in the call before."""
        self._samples.append((now, wanted))
        while self._samples[0][0] < now - self._seconds:
            self._samples.popleft()
        return max(count for _, count in self._samples)


def surplus_first(workers, stats_workers):
    """workers (any objects with a pid), in the order in which they may go: idle ones, then the youngest."""
    busy = {worker["pid"]: worker["busy"] for worker in stats_workers}
    youngest_first = reversed(workers)
    return sorted(youngest_first, key=lambda worker: busy.get(worker.pid, 0))
