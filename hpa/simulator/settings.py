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
class Hours:
    """A cron trigger: pods that are there whatever the queue says."""
    starts: tuple  # minutes of a week that begins with Monday, sorted
    ends: tuple
    pods: int


@dataclass(frozen=True)
class Scale:
    """A ScaledObject with one RabbitMQ trigger, and maybe cron triggers."""
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
    hours: tuple = ()


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
    cost_pause: float = 0     # the worker's least time between two changes of it


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
    pod_end: float = 0.2           # from the last settled job to the end of the process
    hpa_sync: float = 15           # kube-controller-manager --horizontal-pod-autoscaler-sync-period
    writes_per_second: float = 20  # and its --kube-api-qps, --kube-api-burst: how fast pods are made
    writes_burst: float = 30
    pods_new: float = 2            # younger pods than this make the Cluster Autoscaler wait a loop


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


def known_kind(settings, kind):
    if kind not in settings.scales:
        raise SettingsError(f"no ScaledObject among the manifests is for kind '{kind}': there are "
                            f"{', '.join(sorted(settings.scales))}")


def names(settings, kind):
    """(name, value) of everything there is, for one kind and its group of nodes."""
    known_kind(settings, kind)
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


TRUTH = {"true": True, "false": False}


def _parsed(name, field, text):
    """text as a value of the field, a dataclasses.Field."""
    try:
        if field.name == "policies":
            return _policies(text)
        if text == "none" and field.default is None:
            return None
        if field.name == "spread":
            return tuple((part.split(":")[0], float(part.split(":")[1])) for part in text.split("+") if part)
        return {bool: TRUTH.__getitem__, str: str, int: int, float: float}[field.type](text)
    except (KeyError, ValueError, IndexError) as error:
        raise SettingsError(f"{name} does not take '{text}'") from error


def _replaced(item, path, name, text):
    known = {one.name: one for one in dataclasses.fields(item)} if dataclasses.is_dataclass(item) else {}
    if path[0] not in known:
        raise SettingsError(f"there is no setting '{name}'; --settings lists them")
    old = getattr(item, path[0])
    new = _replaced(old, path[1:], name, text) if len(path) > 1 else _parsed(name, known[path[0]], text)
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
    return checked(settings)


# ---- what can be at all ----------------------------------------------------

# Above 0: shares, sizes, and the time between two turns of whoever turns. Other numbers are 0 or more.
ABOVE_ZERO = {"scale.value", "scale.max", "scale.polling", "pod.cpu", "pod.memory", "pod.cores", "pod.slots",
              "pod.job_limit", "node.cores", "node.cpu", "node.memory", "node.zones", "node.pods_max",
              "autoscaler.scan", "broker.queue_interval", "broker.sample_interval", "world.hpa_sync",
              "world.writes_per_second"}
WORDS = {"protocol": ("http", "amqp"), "select": ("Max", "Min", "Disabled")}
ORDERS = (("scale.min", "scale.max"), ("node.min", "node.max"), ("world.boot_least", "world.boot_most"))


def _fault(name, value):
    """What is wrong with the value: a sentence, or None."""
    last = name.rpartition(".")[2]
    if last in WORDS and value not in WORDS[last]:
        return f"{name} is one of {', '.join(WORDS[last])}, not '{value}'"
    if last == "policies":
        if all(0 < one.value < math.inf and 0 < one.period < math.inf for one in value):
            return None
        return f"{name}: the numbers of a policy are above 0"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if name in ABOVE_ZERO and not value > 0:
        return f"{name} is to be above 0, not {value:g}"
    return None if value >= 0 else f"{name} is to be 0 or more, not {value:g}"


def _check(section, item):
    values = dict(_flat(section, item))
    for name, value in values.items():
        fault = _fault(name, value)
        if fault:
            raise SettingsError(fault)
    for least, most in ORDERS:
        if least in values and values[least] > values[most]:
            raise SettingsError(f"{least} is {values[least]:g}, and {most} but {values[most]:g}")


def checked(settings):
    """The same settings, all of which can be; else it is said which cannot."""
    for section, attribute in SECTIONS.items():
        found = getattr(settings, attribute)
        items = found.values() if isinstance(found, dict) else found if isinstance(found, tuple) else (found,)
        for item in items:
            if item is not None:
                _check(section, item)
    return settings
