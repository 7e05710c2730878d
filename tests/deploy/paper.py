# SPDX-License-Identifier: Apache-2.0
"""Small clusters for tests of hpa/simulator: one kind of job, one group of nodes, and a list of jobs."""
import dataclasses
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "hpa"))

from simulator.broker import Job  # noqa: E402
from simulator.cluster import Cluster  # noqa: E402
from simulator.settings import Flags, Group, Policy, Rules, Scale, Settings, Workload, World  # noqa: E402

KIND = "spin"
GIB = 1 << 30

AT_ONCE = Rules(0, (Policy("Pods", 1000, 15),))
SOON = Rules(15, (Policy("Percent", 100, 15),))


def settings(nodes=1, node_max=None, cpu=1000, node_cpu=3920, flags=None, scale=None, pod=None, world=None):
    """A fleet with one slot a pod. nodes: at first and at least; node_max: what a Cluster Autoscaler may grow it to."""
    workload = dict(cpu=cpu, memory=GIB, cores=1.0, slots=1, grace=600.0, job_grace=600.0, safe_to_evict="false")
    group = Group("workers", math.ceil(node_cpu / 1000), node_cpu, 1000 * GIB, min=nodes, max=node_max or nodes)
    scaling = dict(value=1, max=100, polling=5, cooldown=20, up=AT_ONCE, down=SOON)
    return Settings({KIND: Scale("millrace.spin", **{**scaling, **(scale or {})})},
                    {KIND: Workload("spin", KIND, "worker", **{**workload, **(pod or {})})},
                    (group,), flags if flags or not node_max else Flags(), world=World(**(world or {})))


class Jobs:
    """A trace of given jobs: (arrived, seconds) each."""

    def __init__(self, jobs, rest=0.0):
        self.kinds = [KIND]
        self._jobs = sorted(jobs)
        self.seconds = max(self._jobs[-1][0], rest)

    def jobs(self):
        for arrived, seconds in self._jobs:
            yield Job(arrived, seconds, KIND)


class Run:
    """A cluster that can be stopped and looked at."""

    def __init__(self, setup, jobs, seed=1):
        self.cluster = Cluster(setup, [KIND], seed, is_explained=True)
        self.queue, self.deployment = self.cluster.queues[KIND], self.cluster.deployments[KIND]
        for job in Jobs(jobs).jobs():
            self.cluster.clock.at(job.arrived, self._submit, job)

    def _submit(self, job):
        self.cluster.tally.submitted += 1
        self.cluster.crews[KIND].submit(job)

    def until(self, condition, deadline=1e5):
        """Runs until the condition holds; the time of that."""
        clock = self.cluster.clock
        clock.run((), None, lambda: condition() or clock.now > deadline)
        assert condition(), f"not within {deadline} s: {self.story()}"
        return clock.now

    def to(self, time):
        clock = self.cluster.clock
        clock.at(time, lambda: None)
        clock.run((), None, lambda: clock.now >= time)

    @property
    def running(self):
        return [pod for pod in self.deployment.pods if pod.running_since is not None]

    @property
    def nodes(self):
        return self.cluster.cloud.nodes

    def occupied(self):
        """Nodes with pods that are to stay."""
        return {pod.node for pod in self.deployment.pods if pod.node}

    def story(self):
        return "\n".join(f"{time:.1f} {who}: {text}" for time, who, text in self.cluster.diary.lines)


def changed(setup, **changes):
    """The same with other fields of Scale, Workload or Flags, by name of the part."""
    parts = {"scale": ("scales", KIND), "pod": ("workloads", KIND)}
    for part, values in changes.items():
        if part in parts:
            attribute, kind = parts[part]
            setup = dataclasses.replace(setup, **{attribute: {kind: dataclasses.replace(getattr(setup, attribute)[kind],
                                                                                        **values)}})
        else:
            setup = dataclasses.replace(setup, **{part: dataclasses.replace(getattr(setup, part), **values)})
    return setup
