# SPDX-License-Identifier: Apache-2.0
"""A worker pod, from its creation to its last breath, and the jobs that it runs in between.

    pending -> starting -> running -> (deleted: drains) -> gone

It starts to consume as soon as it runs. Deleted while it runs jobs, it takes no
more, finishes what it has, and goes; what is still running when its grace ends
is cut short and goes back to the queue.
"""

import math
from collections import deque


class Pod:
    __slots__ = ("name", "uid", "workload", "created", "node", "running_since", "is_deleted", "is_gone", "jobs",
                 "cost_kept", "cost_falls_at", "is_waiting", "deleted_at")

    def __init__(self, name, uid, workload, created):
        self.name = name
        self.uid = uid                # random, which decides between equals
        self.workload = workload
        self.created = created
        self.node = None
        self.running_since = None
        self.is_deleted = False
        self.is_gone = False
        self.deleted_at = None
        self.jobs = {}                # job -> when it began here
        self.cost_kept = 0            # slots that its deletion cost still stands for, and how long at least
        self.cost_falls_at = 0.0
        self.is_waiting = False       # it stands in the workload's row for the next message


class Crew:
    """All pods of one workload as their queue sees them: consumers with as many messages at a time as slots."""

    def __init__(self, clock, diary, workload, world, queue, tally):
        self._clock, self._diary, self._workload, self._queue, self._tally = clock, diary, workload, queue, tally
        self._world = world
        self.cores = workload.cores
        self._cost_after = math.inf if workload.cost_after is None else workload.cost_after
        self._row = deque()  # pods with a free slot; the broker serves them in turn
        self.busy = 0        # slots with a job
        self.on_gone = None  # told of each pod that has ended

    def submit(self, job):
        self._queue.publish(job)
        if self._row:
            self._deliver()

    def begin(self, pod):
        """Its process runs and consumes."""
        if pod.is_deleted:
            return
        pod.running_since = self._clock.now
        self._join(pod)
        self._deliver()

    def end(self, pod, grace=None):
        """SIGTERM. grace: seconds, where less than the pod's own are granted."""
        pod.is_deleted = True
        pod.deleted_at = self._clock.now
        if not pod.jobs:
            self._clock.after(self._world.pod_end if pod.running_since is not None else 0.0, self._leave, pod)
            return
        grace = min(self._workload.grace if grace is None else grace, self._workload.grace, self._workload.job_grace)
        self._clock.after(grace, self._cut, pod)

    def _join(self, pod):
        if not pod.is_waiting:
            pod.is_waiting = True
            self._row.append(pod)

    def _deliver(self):
        row, queue, clock = self._row, self._queue, self._clock
        while row and queue.ready:
            pod = row.popleft()
            pod.is_waiting = False
            if pod.is_deleted:
                continue
            job = queue.take()
            if job.begun is None:
                job.begun = clock.now
                self._tally.waited(job)
            if pod.cost_kept and not pod.jobs and pod.cost_falls_at <= clock.now:
                pod.cost_kept = 0
            pod.jobs[job] = clock.now
            self.busy += 1
            clock.after(job.seconds, self._finish, pod, job)
            if len(pod.jobs) < self._workload.slots:
                self._join(pod)

    def cost(self, pod):
        """The deletion cost that the worker has told the cluster (worker/pod.c), in slots: those that have been at the
        same job for long. Busy with shorter jobs it keeps up what it told; idle it takes it back, not sooner than its
        own limit allows. Worked out when somebody asks."""
        if pod.running_since is None:
            return 0
        now = self._clock.now
        if pod.jobs:
            long = sum(began + self._cost_after <= now for began in pod.jobs.values())
            slots = max(long, min(len(pod.jobs), pod.cost_kept))
        else:
            slots = pod.cost_kept if now < pod.cost_falls_at else 0
        return slots

    def _note_cost(self, pod, began):
        """A job that began then has ended."""
        raised_at = began + self._cost_after
        if raised_at <= self._clock.now:
            pod.cost_kept = max(pod.cost_kept, 1)
            pod.cost_falls_at = raised_at + self._workload.cost_pause
        if not pod.jobs and pod.cost_falls_at <= self._clock.now:
            pod.cost_kept = 0

    def _finish(self, pod, job):
        if job not in pod.jobs:
            return  # it was cut short
        began = pod.jobs.pop(job)
        self.busy -= 1
        self._queue.acknowledge()
        self._tally.done(job)
        if pod.is_deleted:
            if not pod.jobs:
                self._clock.after(self._world.pod_end, self._leave, pod)
            return
        self._join(pod)
        self._deliver()
        self._note_cost(pod, began)

    def _cut(self, pod):
        if not pod.jobs:
            return
        self._diary.note(pod.name, "its grace of {:g} s is over: {} jobs are cut short",
                         self._clock.now - pod.deleted_at, len(pod.jobs))
        for job in reversed(pod.jobs):
            self._queue.requeue(job)
            self._tally.killed(job)
        self.busy -= len(pod.jobs)
        pod.jobs.clear()
        self._leave(pod)
        self._deliver()

    def _leave(self, pod):
        if not pod.is_gone:
            pod.is_gone = True
            self.on_gone(pod)
