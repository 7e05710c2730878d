# SPDX-License-Identifier: Apache-2.0
"""What a simulation is told: everything that manifests, flags and hpa/nodes.yaml say, and what none of them can.

Each field is known by a name such as `scale.value` or `autoscaler.unneeded`,
under which it can be changed for a trial (with_changes). Seconds, millicores
and bytes throughout.
"""

import dataclasses
import math
from dataclasses import dataclass, field


class SettingsError(Exception):
    """A sentence for whoever wrote the manifests or the command line."""


@dataclass(frozen=True)
class Policy:
    type: str      # Pods or Percent
    value: float
    period: float


@dataclass(frozen=True)
class Rules:
    """behavior.scaleUp or scaleDown."""
    window: float
    policies: tuple
    select: str = "Max"
    tolerance: float = 0.1


# What the API server fills in where a manifest is silent.
DEFAULT_UP = Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
DEFAULT_DOWN = Rules(300, (Policy("Percent", 100, 15),))


@dataclass(frozen=True)
class Scale:
    """A ScaledObject with one RabbitMQ trigger."""
    queue: str
    value: float = 20
    min: int = 0
    max: int = 100
    polling: float = 30
    cooldown: float = 300
    activation: float = 0
    protocol: str = "http"
    excludes_unacknowledged: bool = False
    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN


@dataclass(eq=False, frozen=True)
class Workload:
    """A Deployment of workers and what its pods are like."""
    name: str
    kind: str
    image: str
    cpu: int                  # requested
    memory: int
    cores: float              # what one job computes with
    slots: int
    grace: float              # of the pod
    job_grace: float          # after which the worker itself hands a job back
    job_limit: float = math.inf  # no attempt runs longer
    safe_to_evict: str = ""   # the annotation
    has_local_storage: bool = False
    packs: bool = False       # preferred pod affinity on the node
    spread: tuple = None      # ((topology, maxSkew), ..) of its own, None: the cluster's
    selector: tuple = ()      # ((label, value), ..)
    tolerations: tuple = ()   # ((key, value or None), ..)
    cost_after: float = None  # a job older than this raises the deletion cost; None: nothing does


@dataclass(eq=False, frozen=True)
class Group:
    """A group of equal nodes: a line of hpa/nodes.yaml."""
    name: str
    cores: int                # what is paid
    cpu: int                  # allocatable
    memory: int
    daemons_cpu: int = 0
    daemons_memory: int = 0
    min: int = 0
    max: int = 0
    zones: int = 1
    pods_max: int = 110
    labels: tuple = ()
    taints: tuple = ()        # ((key, value), ..)

    def takes(self, workload):
        tolerated = all((key, value) in workload.tolerations or (key, None) in workload.tolerations
                        for key, value in self.taints)
        return tolerated and set(workload.selector) <= set(self.labels)

    def capacity(self, workload):
        return min((self.cpu - self.daemons_cpu) // workload.cpu,
                   (self.memory - self.daemons_memory) // workload.memory, self.pods_max)

    def waste(self, workload):
        """The share of its CPU that a node full of the workload leaves unused."""
        return 1 - self.capacity(workload) * workload.cpu / self.cpu


@dataclass(frozen=True)
class Flags:
    """The Cluster Autoscaler's. The defaults are the program's own."""
    scan: float = 10
    unneeded: float = 600
    delay_after_add: float = 600
    delay_after_delete: float = 0
    delay_after_taint: float = 5
    recheck: float = 300
    threshold: float = 0.5
    parallelism: int = 10
    drains: int = 1
    graceful: float = 600
    nodes_max: float = math.inf
    skips_local_storage: bool = True
    ignores_daemons: bool = False

    def may_evict(self, workload):
        if workload.safe_to_evict:
            return workload.safe_to_evict == "true"
        return not (workload.has_local_storage and self.skips_local_storage)


@dataclass(frozen=True)
class Broker:
    """How often the numbers of a queue move on: from the queue to its node, and from there to the API."""
    queue_interval: float = 5   # quorum_tick_interval
    sample_interval: float = 5  # management.sample_retention_policies.basic, the smallest


@dataclass(frozen=True)
class World:
    """What no manifest says."""
    boot_least: float = 60         # EC2: from the order of a node until it is ready
    boot_most: float = 120
    image_pull: float = 8          # the first pod of an image on a node waits for it
    pod_start: float = 2.5         # from its binding to a process that consumes
    hpa_sync: float = 15           # kube-controller-manager --horizontal-pod-autoscaler-sync-period
    writes_per_second: float = 20  # and its --kube-api-qps, --kube-api-burst: how fast pods are made
    writes_burst: float = 30
    pods_new: float = 2            # younger pods than this make the Cluster Autoscaler wait a loop
    cost_pause: float = 10         # the worker's own least time between two changes of its deletion cost


@dataclass(frozen=True)
class Settings:
    scales: dict = field(default_factory=dict)     # kind -> Scale
    workloads: dict = field(default_factory=dict)  # kind -> Workload
    groups: tuple = ()
    flags: Flags = None                            # None: nobody orders nodes, the groups stay at their minimum
    broker: Broker = Broker()
    world: World = World()


# ---- names, and changes for a trial ----------------------------------------

SECTIONS = {"scale": "scales", "pod": "workloads", "node": "groups", "autoscaler": "flags", "broker": "broker",
            "world": "world"}


def _flat(prefix, item):
    for one in dataclasses.fields(item):
        value = getattr(item, one.name)
        if isinstance(value, Rules):
            yield from _flat(f"{prefix}.{one.name}", value)
        else:
            yield f"{prefix}.{one.name}", value


def names(settings, kind):
    """(name, value) of everything that can be changed, for one kind and its group of nodes."""
    yield from _flat("scale", settings.scales[kind])
    yield from _flat("pod", settings.workloads[kind])
    for group in settings.groups:
        if group.takes(settings.workloads[kind]):
            yield from _flat("node", group)
            break
    for section in ("autoscaler", "broker", "world"):
        item = getattr(settings, SECTIONS[section])
        if item is not None:
            yield from _flat(section, item)


def policies_text(policies):
    return "+".join(f"{policy.type}:{policy.value:g}/{policy.period:g}" for policy in policies)


def _policies(text):
    found = []
    for part in text.split("+"):
        kind, _, rest = part.partition(":")
        value, _, period = rest.partition("/")
        if kind not in ("Pods", "Percent"):
            raise SettingsError(f"a policy is Pods:N/SECONDS or Percent:N/SECONDS, not '{part}'")
        found.append(Policy(kind, float(value), float(period)))
    return tuple(found)


def _parsed(name, old, text):
    """text as a value like the old one."""
    try:
        if name.endswith(".policies"):
            return _policies(text)
        if isinstance(old, bool):
            return {"true": True, "false": False}[text]
        if text == "none":
            return None
        if isinstance(old, str):
            return text
        if name.endswith(".spread"):
            return tuple((part.split(":")[0], float(part.split(":")[1])) for part in text.split("+") if part)
        number = float(text)
        return int(number) if isinstance(old, int) and number.is_integer() else number
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise SettingsError(f"{name} does not take '{text}'") from error


def _replaced(item, path, name, text):
    known = {one.name for one in dataclasses.fields(item)}
    if path[0] not in known:
        raise SettingsError(f"there is no setting '{name}'; --settings lists them")
    old = getattr(item, path[0])
    new = _replaced(old, path[1:], name, text) if len(path) > 1 else _parsed(name, old, text)
    return dataclasses.replace(item, **{path[0]: new})


def with_changes(settings, changes):
    """changes: {name: text}. What belongs to a kind is changed for all kinds, what belongs to nodes for all groups."""
    for name, text in changes.items():
        section, *path = name.split(".")
        if section not in SECTIONS or not path:
            raise SettingsError(f"there is no setting '{name}'; --settings lists them")
        attribute = SECTIONS[section]
        old = getattr(settings, attribute)
        if isinstance(old, dict):
            new = {kind: _replaced(item, path, name, text) for kind, item in old.items()}
        elif isinstance(old, tuple):
            new = tuple(_replaced(item, path, name, text) for item in old)
        elif old is None:
            raise SettingsError(f"'{name}': the manifests have no Cluster Autoscaler")
        else:
            new = _replaced(old, path, name, text)
        settings = dataclasses.replace(settings, **{attribute: new})
    return settings
