# SPDX-License-Identifier: Apache-2.0
"""Reads the settings of a simulation where they are shipped: a kustomize overlay and hpa/nodes.yaml.

Nothing is copied here. What a manifest leaves open has the value that
Kubernetes, KEDA, the Cluster Autoscaler, common/settings.def or worker/pod.c give it.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml

from simulator import kustomize
from simulator.hours import hours_of
from simulator.settings import (Broker, DEFAULT_DOWN, DEFAULT_UP, Flags, Group, Policy, Rules, Scale, Settings,
                                SettingsError, Workload, checked)

ROOT = pathlib.Path(__file__).resolve().parents[2]
NODES = ROOT / "hpa" / "nodes.yaml"
COMPONENTS = ROOT / "hpa" / "components"
QUANTITIES = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def render(overlay, components=()):
    """The documents of an overlay with components (folders) on top: by kubectl, or else by our own reading of it."""
    kubectl = shutil.which("kubectl")
    if not kubectl:
        return kustomize.build(overlay, components)
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        rules = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                 "resources": [os.path.relpath(os.path.realpath(overlay), folder)],
                 "components": [os.path.relpath(os.path.realpath(one), folder) for one in components]}
        (pathlib.Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SettingsError(f"kubectl kustomize {overlay}: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@contextlib.contextmanager
def _reading(what):
    """Whatever is not where it should be, or not what it should be, is said of `what`."""
    try:
        yield
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        said = f"there is no {error}" if isinstance(error, KeyError) else error
        raise SettingsError(f"{what}: not as the simulator knows them: {said}") from error


# ---- words of Kubernetes ---------------------------------------------------

def milli(quantity):
    """CPU, as in 1, "1.5" or 970m."""
    text = str(quantity)
    return int(text[:-1]) if text.endswith("m") else round(float(text) * 1000)


def size(quantity):
    """Memory, in bytes."""
    match = re.fullmatch(r"([0-9.]+)(|[kMGT]i?|Ki)", str(quantity))
    if not match:
        raise SettingsError(f"'{quantity}' is no amount of memory")
    return int(float(match[1]) * QUANTITIES[match[2]])


def seconds(duration):
    """As the flags have it: 10s, 1m30s; a bare 0."""
    parts = re.findall(r"([0-9.]+)(ms|s|m|h)", duration)
    if duration != "0" and (not parts or "".join(map("".join, parts)) != duration):
        raise SettingsError(f"'{duration}' is no duration")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def _given(**values):
    """Those that are said; the others keep their defaults."""
    return {name: value for name, value in values.items() if value is not None}


# ---- ScaledObjects ---------------------------------------------------------

def _rules(found, default):
    if not found:
        return default
    policies = default.policies
    if "policies" in found:
        policies = tuple(Policy(item["type"], item["value"], item["periodSeconds"]) for item in found["policies"])
    return Rules(found.get("stabilizationWindowSeconds", default.window), policies, found.get("selectPolicy", "Max"),
                 float(found.get("tolerance", default.tolerance)))


def scale_of(document):
    name, spec = document["metadata"]["name"], document["spec"]
    triggers = {kind: [trigger["metadata"] for trigger in spec["triggers"] if trigger["type"] == kind]
                for kind in ("rabbitmq", "cron")}
    if len(triggers["rabbitmq"]) != 1 or sum(map(len, triggers.values())) != len(spec["triggers"]):
        raise SettingsError(f"ScaledObject {name}: the simulator knows one trigger of type rabbitmq, and cron beside "
                            "it")
    metadata, = triggers["rabbitmq"]
    if metadata.get("mode", "QueueLength") != "QueueLength":
        raise SettingsError(f"ScaledObject {name}: the simulator knows no mode but QueueLength")
    behaviour = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior", {})
    number = metadata.get("value", metadata.get("queueLength"))
    return Scale(metadata["queueName"], up=_rules(behaviour.get("scaleUp"), DEFAULT_UP),
                 down=_rules(behaviour.get("scaleDown"), DEFAULT_DOWN),
                 **_given(value=None if number is None else float(number), min=spec.get("minReplicaCount"),
                          max=spec.get("maxReplicaCount"), polling=spec.get("pollingInterval"),
                          cooldown=spec.get("cooldownPeriod"), protocol=metadata.get("protocol"),
                          activation=float(metadata.get("activationValue", 0)),
                          excludes_unacknowledged=metadata.get("excludeUnacknowledged") == "true",
                          hours=tuple(map(hours_of, triggers["cron"]))))


# ---- Deployments of workers ------------------------------------------------

def _defaults():
    """MILLRACE_* -> default, of common/settings.def."""
    table = (ROOT / "common" / "settings.def").read_text(encoding="utf-8")
    return dict(re.findall(r'^SETTING\(\w+, .*?"(MILLRACE_\w+)",[^"]*"([^"]*)"', table, re.MULTILINE))


def _defined_ms(path, name):
    """A #define of a C file, in milliseconds."""
    return int(re.search(rf"^#define {name} ([0-9]+)", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)[1])


def _environment(container, maps):
    """The program's settings: its defaults, what ConfigMaps say, what the container says."""
    env = _defaults()
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            env.update(maps.get(source["configMapRef"]["name"], {}))
    env.update((item["name"], item.get("value", "")) for item in container.get("env", ()))
    return env


def _spread(pod):
    if "topologySpreadConstraints" not in pod:
        return None
    return tuple((item["topologyKey"].rpartition("/")[2], item["maxSkew"]) for item in pod["topologySpreadConstraints"]
                 if item["whenUnsatisfiable"] == "ScheduleAnyway")


def _packs(pod):
    terms = pod.get("affinity", {}).get("podAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution", ())
    return any(term["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname" for term in terms)


def workload_of(document, kind, maps):
    template = document["spec"]["template"]
    pod, container = template["spec"], template["spec"]["containers"][0]
    env = _environment(container, maps)
    requests = container["resources"]["requests"]
    limit = milli(container["resources"].get("limits", {}).get("cpu", requests["cpu"]))
    slots = int(env["MILLRACE_SLOTS"]) or max(1, limit // 1000)
    tells_cost = any(item["name"] == "MILLRACE_POD_NAME" for item in container.get("env", ()))
    volumes = pod.get("volumes", ())
    return Workload(
        document["metadata"]["name"], kind, container["image"], milli(requests["cpu"]), size(requests["memory"]),
        cores=limit / 1000 / slots, slots=slots, grace=float(pod.get("terminationGracePeriodSeconds", 30)),
        job_grace=float(env["MILLRACE_GRACE_SECONDS"]), job_limit=float(env["MILLRACE_TIMEOUT_SECONDS"]),
        safe_to_evict=template["metadata"].get("annotations", {}).get(
            "cluster-autoscaler.kubernetes.io/safe-to-evict", ""),
        has_local_storage=any("hostPath" in volume or volume.get("emptyDir", {"medium": "Memory"}).get("medium")
                              != "Memory" for volume in volumes),
        packs=_packs(pod), spread=_spread(pod), selector=tuple(pod.get("nodeSelector", {}).items()),
        tolerations=tuple((item.get("key"), item.get("value") if item.get("operator", "Equal") == "Equal" else None)
                          for item in pod.get("tolerations", ())),
        cost_after=float(env["MILLRACE_POD_COST_SECONDS"]) if tells_cost else None,
        cost_pause=_defined_ms("worker/pod.c", "BETWEEN_MS") / 1000)


# ---- nodes, and who orders them --------------------------------------------

def groups_of(path):
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
        with _reading(path):
            return tuple(Group(
                item["name"], int(item["cores"]), milli(item["allocatable"]["cpu"]),
                size(item["allocatable"]["memory"]), milli(item["daemons"]["cpu"]), size(item["daemons"]["memory"]),
                int(item["min"]), int(item["max"]), zones=int(item.get("zones", 1)),
                labels=tuple(item["labels"].items()),
                taints=tuple((taint["key"], taint["value"]) for taint in item["taints"]))
                for item in yaml.safe_load(text)["groups"])
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {error}") from error


def _words(container):
    return [str(word) for word in (*container.get("command", ()), *container.get("args", ()))]


def flags_of(documents):
    """The Cluster Autoscaler's flags; None where no Deployment is one."""
    for document in documents:
        if document.get("kind") != "Deployment":
            continue
        for container in document["spec"]["template"]["spec"]["containers"]:
            if "cluster-autoscaler" in container["image"] or any("cluster-autoscaler" in word
                                                                 for word in _words(container)[:1]):
                with _reading("the flags of the Cluster Autoscaler"):
                    return _flags(dict(re.findall(r"^--?([a-z-]+)=?(.*)$", "\n".join(_words(container)), re.MULTILINE)))
    return None


def _flags(said):
    def given(name, read):
        return None if name not in said else read(said[name])

    def is_true(text):
        return text in ("", "true")
    parallel = given("max-scale-down-parallelism", int)
    return Flags(**_given(
        scan=given("scan-interval", seconds), unneeded=given("scale-down-unneeded-time", seconds),
        delay_after_add=given("scale-down-delay-after-add", seconds),
        delay_after_delete=given("scale-down-delay-after-delete", seconds),
        delay_after_taint=given("node-delete-delay-after-taint", seconds),
        recheck=given("unremovable-node-recheck-timeout", seconds),
        threshold=given("scale-down-utilization-threshold", float),
        parallelism=parallel if parallel is not None else given("max-empty-bulk-delete", int),
        drains=given("max-drain-parallelism", int), graceful=given("max-graceful-termination-sec", float),
        nodes_max=given("max-nodes-total", int), skips_local_storage=given("skip-nodes-with-local-storage", is_true),
        ignores_daemons=given("ignore-daemonsets-utilization", is_true)))


def _broker(documents):
    """The two intervals, wherever a text of configuration names them."""
    text = yaml.safe_dump_all(documents, width=1 << 20)
    sample = re.findall(r"sample_retention_policies\.basic\.minute\s*=\s*([0-9]+)", text)
    tick = re.findall(r"quorum_tick_interval,\s*([0-9]+)", text)
    return Broker(**_given(sample_interval=float(sample[0]) if sample else None,
                           queue_interval=int(tick[0]) / 1000 if tick else None))


def settings_of(documents, nodes=NODES):
    """Settings of a rendered overlay. nodes: the file with the groups of nodes."""
    maps = {document["metadata"]["name"]: document.get("data", {}) for document in documents
            if document.get("kind") == "ConfigMap"}
    deployments = {document["metadata"]["name"]: document for document in documents
                   if document.get("kind") == "Deployment"}
    scales, workloads = {}, {}
    for document in documents:
        if document.get("kind") != "ScaledObject":
            continue
        name = f"ScaledObject {document.get('metadata', {}).get('name')}"
        with _reading(name):
            kind = document["metadata"]["labels"]["app.kubernetes.io/component"]
            scales[kind] = scale_of(document)
            target = document["spec"]["scaleTargetRef"]["name"]
        if target not in deployments:
            raise SettingsError(f"{name}: there is no Deployment {target}")
        with _reading(f"Deployment {target}"):
            workloads[kind] = workload_of(deployments[target], kind, maps)
    if not scales:
        raise SettingsError("there is no ScaledObject among the manifests")
    flags = flags_of(documents)
    if not flags:
        return checked(Settings(scales, workloads, (LAPTOP,), None, _broker(documents)))
    groups = groups_of(nodes)
    mine = tuple(group for group in groups if any(group.takes(workload) for workload in workloads.values()))
    others = sum(group.min for group in groups if group not in mine)  # they count for --max-nodes-total
    flags = dataclasses.replace(flags, nodes_max=flags.nodes_max - others)
    return checked(Settings(scales, workloads, mine, flags, _broker(documents)))


# Where nobody orders nodes there is one, of a size that no manifest says.
LAPTOP = Group("node", 4, 4000, 16 << 30, min=1, max=1)
