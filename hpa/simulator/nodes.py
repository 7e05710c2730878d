# SPDX-License-Identifier: Apache-2.0
"""Nodes: what is free on each of them, and what each of them costs from its order to its end."""


class Node:
    def __init__(self, name, group, zone, now):
        self.name = name
        self.group = group
        self.zone = zone
        self.ordered_at = now
        self.ready_at = None
        self.is_leaving = False       # tainted: nothing more is scheduled on it
        self.ended_at = None
        self.cpu = group.daemons_cpu  # requested so far, millicores
        self.memory = group.daemons_memory
        self.pods = set()             # also those that drain
        self.images = {}              # image -> when it is there

    def is_open(self):
        return self.ready_at is not None and not self.is_leaving

    def holds(self, workload):
        """How many more pods of the workload fit."""
        group = self.group
        return min((group.cpu - self.cpu) // workload.cpu, (group.memory - self.memory) // workload.memory,
                   group.pods_max - len(self.pods))

    def add(self, pod):
        pod.node = self
        self.pods.add(pod)
        self.cpu += pod.workload.cpu
        self.memory += pod.workload.memory

    def remove(self, pod):
        self.pods.remove(pod)
        self.cpu -= pod.workload.cpu
        self.memory -= pod.workload.memory

    def use(self, ignores_daemons):
        """The larger share of the two resources that pods have asked for."""
        group = self.group
        cpu, memory = (group.daemons_cpu, group.daemons_memory) if ignores_daemons else (0, 0)
        return max((self.cpu - cpu) / (group.cpu - cpu), (self.memory - memory) / (group.memory - memory))


class Cloud:
    """Orders nodes and ends them. A node is paid from its order to the order of its end."""

    def __init__(self, clock, diary, world, groups):
        self._clock, self._diary, self._world = clock, diary, world
        self._dice = clock.dice("node boot")
        self._made = 0
        self._paid_of_ended = 0.0  # core-seconds
        self.nodes = []
        self.on_ready = None       # told of each node that can take pods
        self.groups = groups
        for group in groups:
            for _ in range(group.min):
                self._arrive(self._new(group))

    def _new(self, group):
        self._made += 1
        node = Node(f"{group.name}-{self._made}", group, self._made % group.zones, self._clock.now)
        self.nodes.append(node)
        return node

    def order(self, group, count):
        least, most = self._world.boot_least, self._world.boot_most
        for _ in range(count):
            node = self._new(group)
            self._clock.after(self._dice.uniform(least, most), self._arrive, node)

    def _arrive(self, node):
        node.ready_at = self._clock.now
        if self.on_ready:
            self._diary.note(node.name, "is ready after {:.0f} s", node.ready_at - node.ordered_at)
            self.on_ready(node)

    def end(self, node):
        node.ended_at = self._clock.now
        self._paid_of_ended += node.group.cores * (node.ended_at - node.ordered_at)
        self.nodes.remove(node)

    def count(self, group):
        return sum(node.group is group for node in self.nodes)

    def paid(self):
        """Core-seconds up to now."""
        now = self._clock.now
        return self._paid_of_ended + sum(node.group.cores * (now - node.ordered_at) for node in self.nodes)
