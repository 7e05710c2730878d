# SPDX-License-Identifier: Apache-2.0
"""Puts a cluster together, lets a trace run through it, and measures.

    jobs -> queue -> crew of pods        KEDA, HPA -> deployment -> scheduler -> nodes <- Cluster Autoscaler
"""

from array import array

from simulator import autoscaler, hpa, keda
from simulator.broker import Queue
from simulator.clock import Clock, Diary
from simulator.nodes import Cloud
from simulator.pods import Crew
from simulator.replicaset import Deployment
from simulator.scheduler import Scheduler

SAMPLES = 1500            # points of the curves of a run
REST_MAX_SECONDS = 86400  # a cluster that has not come to rest so long after the last job never will


class Tally:
    """What happened to the jobs."""

    def __init__(self, clock, workloads):
        self._clock = clock
        self._cores = {kind: workload.cores for kind, workload in workloads.items()}
        self.submitted = 0
        self.completed = 0
        self.kills = 0
        self.used = 0.0        # core-seconds of jobs that completed
        self.waits = array("d")

    def waited(self, job):
        self.waits.append(self._clock.now - job.arrived)

    def done(self, job):
        self.completed += 1
        self.used += job.seconds * self._cores[job.kind]

    def killed(self, job):
        self.kills += 1


class Sample:
    __slots__ = ("time", "backlog", "busy", "slots", "pods", "nodes", "cores")

    def __init__(self, **values):
        for name, value in values.items():
            setattr(self, name, value)


class Cluster:
    """One run. settings: of settings.Settings; kinds: those that the trace has."""

    def __init__(self, settings, kinds, seed=1, is_explained=False):
        self.clock = clock = Clock(seed)
        self.diary = diary = Diary(clock, is_explained)
        self.settings = settings
        self.workloads = {kind: settings.workloads[kind] for kind in kinds}
        self.tally = Tally(clock, self.workloads)
        self.cloud = Cloud(clock, diary, settings.world, settings.groups)
        self.scheduler = Scheduler(clock, diary, self.cloud, settings.world)
        self.cloud.on_ready = lambda node: self.scheduler.turn()
        self.scheduler.on_bound = lambda pod: self.crews[pod.workload.kind].begin(pod)
        self.queues, self.crews, self.deployments = {}, {}, {}
        for kind in kinds:
            self._add(kind)
        if settings.flags:
            autoscaler.Autoscaler(clock, diary, settings.flags, settings.world, self.cloud, self.scheduler, self._evict)
        self.samples = []
        self._next_sample = 0.0
        self._last_job_at = 0.0
        self._peaks = dict.fromkeys(("backlog", "pods", "nodes"), 0)

    def _add(self, kind):
        settings, clock, diary = self.settings, self.clock, self.diary
        workload, scale = settings.workloads[kind], settings.scales[kind]
        queue = self.queues[kind] = Queue(clock, settings.broker, scale.queue)
        crew = self.crews[kind] = Crew(clock, diary, workload, settings.world, queue, self.tally)
        crew.on_gone = self._gone
        deployment = self.deployments[kind] = Deployment(clock, diary, workload, settings.world, crew, self.scheduler)
        deployment.resize(scale.min)
        metric = keda.reader(queue, scale)
        keda.Operator(clock, diary, scale, deployment, metric)
        hpa.Autoscaler(clock, diary, scale, deployment, metric, settings.world.hpa_sync)

    def _gone(self, pod):
        if pod.node:
            pod.node.remove(pod)
            self.scheduler.turn()

    def _evict(self, pod, grace):
        """By the Cluster Autoscaler, which waits no longer than grace."""
        if not pod.is_deleted:
            kind = pod.workload.kind
            self.crews[kind].end(pod, grace)
            self.deployments[kind].lost(pod)

    # ---- measuring ---------------------------------------------------------

    def _sample(self):
        nodes = self.cloud.nodes
        now = Sample(time=self.clock.now, backlog=sum(len(queue.ready) for queue in self.queues.values()),
                     busy=sum(crew.busy * crew.cores for crew in self.crews.values()),
                     slots=sum(sum(pod.running_since is not None for pod in deployment.pods) * deployment.workload.slots
                               * deployment.workload.cores for deployment in self.deployments.values()),
                     pods=sum(len(deployment.pods) for deployment in self.deployments.values()),
                     nodes=len(nodes), cores=sum(node.group.cores for node in nodes))
        for name in self._peaks:
            self._peaks[name] = max(self._peaks[name], getattr(now, name))
        return now

    def _look(self, every):
        now = self._sample()
        if self.clock.now >= self._next_sample:
            self.samples.append(now)
            self._next_sample += every

    def _is_over(self):
        """Every job done, every pod gone but the least there has to be, every node ended."""
        tally = self.tally
        if self.clock.now > self._last_job_at + REST_MAX_SECONDS:
            return True
        if tally.completed < tally.submitted or any(node.group.min < self.cloud.count(node.group)
                                                    for node in self.cloud.nodes):
            return False
        return all(deployment.replicas <= self.settings.scales[kind].min
                   for kind, deployment in self.deployments.items())

    def run(self, trace):
        """trace: traces.Trace. Returns an Outcome."""
        every = max(1.0, trace.seconds / SAMPLES)
        self.clock.every(min(1.0, every) if trace.seconds < 7200 else every, 0.0, lambda: self._look(every))
        self._last_job_at = trace.seconds

        def arrive(job):
            self.tally.submitted += 1
            self.crews[job.kind].submit(job)
        self.clock.run(trace.jobs(), arrive, self._is_over)
        self.samples.append(self._sample())
        return Outcome(self)


class Outcome:
    """The numbers of one run."""

    def __init__(self, cluster):
        tally = cluster.tally
        self.settings = cluster.settings
        self.seconds = cluster.clock.now
        self.submitted, self.completed, self.killed = tally.submitted, tally.completed, tally.kills
        self.used, self.paid = tally.used, cluster.cloud.paid()
        self.waits = sorted(tally.waits)
        self.samples = cluster.samples
        self.peaks = cluster._peaks
        self.diary = cluster.diary.lines

    @property
    def ratio(self):
        return self.paid / self.used if self.used else float("inf")

    def wait(self, share):
        """The wait that this share of the jobs did not exceed."""
        return self.waits[min(len(self.waits) - 1, int(share * len(self.waits)))] if self.waits else 0.0

    def wait_beyond_boot(self, share):
        """Without what the boot of a node takes on the average."""
        world = self.settings.world
        boot = (world.boot_least + world.boot_most) / 2 if self.settings.flags else 0.0
        return max(0.0, self.wait(share) - boot)
