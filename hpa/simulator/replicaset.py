# SPDX-License-Identifier: Apache-2.0
"""A Deployment with its one ReplicaSet: makes as many pods as it is told, and chooses which of them go.

The order is that of kubernetes pkg/controller/controller_utils.go
(ActivePodsWithRanks) with the logarithmic comparison of ages.
"""

import math

from simulator.pods import Pod


def deletion_order(pods, now, cost):
    """pods as they would be deleted: the first goes first. cost: of a pod, its deletion cost."""
    crowd = {}
    for pod in pods:
        crowd[pod.node] = crowd.get(pod.node, 0) + 1

    def key(pod):
        is_running = pod.running_since is not None
        age = int(math.log2(max(1.0, (now - pod.running_since) * 1e9))) if is_running else 0
        # A running pod counts as ready: the worker's probe answers as soon as it consumes.
        return (pod.node is not None, is_running, cost(pod), -crowd[pod.node], age, pod.uid)
    return sorted(pods, key=key)


class Deployment:
    """replicas is what was asked for; pods are those that count: not deleted, whether running or not."""

    def __init__(self, clock, diary, workload, world, crew, scheduler):
        self.name = workload.name
        self.workload = workload
        self.replicas = 0
        self.pods = []
        self._clock, self._diary, self._world = clock, diary, world
        self._crew, self._scheduler = crew, scheduler
        self._dice = clock.dice(f"pods of {workload.name}")
        self._made = 0
        self._is_growing = False
        self._allowed_at = -math.inf  # the controller's allowance of writes is used up until then

    def resize(self, replicas):
        self.replicas = replicas
        self._settle()

    def lost(self, pod):
        """Evicted: it does not count any longer, and another one takes its place."""
        self.pods.remove(pod)
        self._settle()

    def _settle(self):
        surplus = len(self.pods) - self.replicas
        if surplus > 0:
            self._shrink(surplus)
        elif surplus < 0 and not self._is_growing:
            self._is_growing = True
            self._clock.at(self._turn(), self._grow)

    def _turn(self):
        """When the controller may write next: it has a burst, and after that a rate."""
        world, now = self._world, self._clock.now
        self._allowed_at = max(self._allowed_at, now - world.writes_burst / world.writes_per_second)
        self._allowed_at += 1 / world.writes_per_second
        return max(now, self._allowed_at)

    def _grow(self):
        self._is_growing = len(self.pods) < self.replicas
        if not self._is_growing:
            return
        self._made += 1
        pod = Pod(f"{self.name}-{self._made}", self._dice.random(), self.workload, self._clock.now)
        self.pods.append(pod)
        self._scheduler.submit(pod)
        self._clock.at(self._turn(), self._grow)

    def _shrink(self, surplus):
        going = deletion_order(self.pods, self._clock.now, self._crew.cost)[:surplus]
        busy = [pod for pod in going if pod.jobs]
        self._diary.note(self.name, "deletes {} pods, {} of them busy, on {} nodes", surplus, len(busy),
                         len({pod.node for pod in going if pod.node}))
        gone = set(going)
        self.pods = [pod for pod in self.pods if pod not in gone]
        for pod in going:
            self._crew.end(pod)
