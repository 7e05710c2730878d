# SPDX-License-Identifier: Apache-2.0
"""The default kube-scheduler: which node a pod goes to.

Filters on room and taints, then adds up the scores that differ between nodes
here, with the default weights: NodeResourcesFit as LeastAllocated (1),
NodeResourcesBalancedAllocation (1), PodTopologySpread (2; without constraints
of its own a pod gets those of the cluster) and preferred pod affinity (2).
Equals are drawn. All but affinity spread.
"""

import math
from collections import deque

# The cluster's own constraints, for pods that name none: (topology, maxSkew), all ScheduleAnyway.
DEFAULT_SPREAD = (("zone", 5), ("hostname", 3))


def least_allocated(node, workload):
    group = node.group
    cpu = (group.cpu - node.cpu - workload.cpu) * 100 // group.cpu
    memory = (group.memory - node.memory - workload.memory) * 100 // group.memory
    return (cpu + memory) // 2


def balanced(node, workload):
    group = node.group
    cpu = (node.cpu + workload.cpu) / group.cpu
    memory = (node.memory + workload.memory) / group.memory
    return int((1 - abs(cpu - memory) / 2) * 100)


def _crowds(nodes, workload):
    """node -> its pods of the same workload, those that go not counted."""
    return {node: sum(pod.workload is workload and not pod.is_deleted for pod in node.pods) for node in nodes}


def _domain(node, topology):
    return node.name if topology == "hostname" else node.zone


def spread_scores(nodes, workload, crowds):
    """100 where the fewest of its kind are, down to what the fullest domain deserves."""
    constraints = DEFAULT_SPREAD if workload.spread is None else workload.spread
    raw = dict.fromkeys(nodes, 0.0)
    for topology, skew in constraints:
        inside = {}
        for node in nodes:
            domain = _domain(node, topology)
            inside[domain] = inside.get(domain, 0) + crowds[node]
        weight = math.log(len(inside) + 2)
        for node in nodes:
            raw[node] += inside[_domain(node, topology)] * weight + skew - 1
    raw = {node: round(score) for node, score in raw.items()}
    least, most = min(raw.values()), max(raw.values())
    return {node: 100 * (most + least - score) // most if most else 100 for node, score in raw.items()}


def affinity_scores(nodes, crowds):
    least, most = min(crowds.values()), max(crowds.values())
    return {node: 100 * (crowd - least) // (most - least) if most > least else 0 for node, crowd in crowds.items()}


class Scheduler:
    def __init__(self, clock, diary, cloud, world):
        self._clock, self._diary, self._cloud, self._world = clock, diary, cloud, world
        self._dice = clock.dice("scheduler")
        self._pending = {}  # workload -> pods in the order in which they came
        self.on_bound = None

    def submit(self, pod):
        self._pending.setdefault(pod.workload, deque()).append(pod)
        self.turn()

    def pending(self):
        """Pods without a node."""
        return [pod for row in self._pending.values() for pod in row if not pod.is_deleted]

    def turn(self):
        """To be called whenever there is a new pod or new room. All pods of a workload are alike: the first that
        fits nowhere speaks for the rest."""
        for workload, row in self._pending.items():
            while row:
                if row[0].is_deleted:
                    row.popleft()
                    continue
                nodes = [node for node in self._cloud.nodes
                         if node.is_open() and node.group.takes(workload) and node.holds(workload) > 0]
                if not nodes:
                    break
                self._bind(row.popleft(), self._choose(nodes, workload))

    def _choose(self, nodes, workload):
        if len(nodes) == 1:
            return nodes[0]
        crowds = _crowds(nodes, workload)
        spread = spread_scores(nodes, workload, crowds)
        affinity = affinity_scores(nodes, crowds) if workload.packs else dict.fromkeys(nodes, 0)
        scores = {node: least_allocated(node, workload) + balanced(node, workload) + 2 * spread[node]
                  + 2 * affinity[node] for node in nodes}
        best = max(scores.values())
        return self._dice.choice([node for node in nodes if scores[node] == best])

    def _bind(self, pod, node):
        node.add(pod)
        world, now = self._world, self._clock.now
        pulled = node.images.setdefault(pod.workload.image, now + world.image_pull)
        self._clock.at(max(now, pulled) + world.pod_start, self.on_bound, pod)
