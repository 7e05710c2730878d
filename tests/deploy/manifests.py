# SPDX-License-Identifier: Apache-2.0
"""The manifests as a cluster would get them: overlays, and overlays with components, rendered by kubectl.

Every rendering is a Cluster; its pods are those that its objects would make, those of the RabbitMQ operator included as
far as we say what they are.
"""
import functools
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = re.findall(r"^KIND\((\w+), (\w+)\)", (ROOT / "kinds" / "kinds.def").read_text().split("#ifdef")[0], re.MULTILINE)

# What the tests look at: the overlay, and what is built on top of it.
RENDERINGS = {
    "local": ("local", ()),
    "eks": ("eks", ()),
    "ec2": ("ec2", ()),
    "local-tolerance": ("local", ("tolerance",)),
    "local-cpu-hpa": ("local", ("cpu-hpa",)),
    "local-scaledjob": ("local", ("scaledjob",)),
    "eks-cpu-hpa": ("eks", ("cpu-hpa",)),
    "eks-scaledjob": ("eks", ("scaledjob",)),
    "eks-calendar": ("eks", ("calendar", "tolerance")),
}


def kubectl(*arguments):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False, timeout=120)


def build(overlay, components):
    """What kubectl kustomize makes of an overlay with components of hpa/: its CompletedProcess."""
    with tempfile.TemporaryDirectory() as folder:
        lines = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
                 "resources": [os.path.relpath(ROOT / "k8s" / "overlays" / overlay, folder)],
                 "components": [os.path.relpath(ROOT / "hpa" / "components" / name, folder) for name in components]}
        (pathlib.Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(lines))
        return kubectl("kustomize", folder)


@dataclass
class Pod:
    """What one object makes pods of."""
    owner: dict
    labels: dict
    annotations: dict
    spec: dict

    @property
    def name(self):
        return self.owner["metadata"]["name"]

    @property
    def namespace(self):
        return self.owner["metadata"]["namespace"]

    @property
    def app(self):
        return self.labels.get("app.kubernetes.io/name")

    @property
    def kind(self):
        """Of job, of a worker."""
        return self.labels["app.kubernetes.io/component"]

    @property
    def container(self):
        container, = self.spec["containers"]
        return container

    def env(self, cluster):
        """Name -> value, or None where it comes from a secret or the pod itself."""
        values = {}
        for source in self.container.get("envFrom", ()):
            values.update(cluster.get("ConfigMap", source["configMapRef"]["name"])["data"])
        values.update({one["name"]: one.get("value") for one in self.container.get("env", ())})
        return values

    def port(self, name_or_number):
        for port in self.container.get("ports", ()):
            if name_or_number in (port.get("name"), port["containerPort"]):
                return port["containerPort"]
        raise AssertionError(f"{self.name} has no port {name_or_number}")

    def request(self, what):
        return quantity(self.container["resources"]["requests"][what])

    def limit(self, what):
        return quantity(self.container["resources"]["limits"][what])


class Cluster:
    def __init__(self, name, text):
        self.name = name
        self.objects = [one for one in yaml.safe_load_all(text) if one]
        self.namespace = "default" if name.startswith("local") else "millrace"

    def all(self, kind):
        return [one for one in self.objects if one["kind"] == kind]

    def get(self, kind, name):
        one, = [one for one in self.all(kind) if one["metadata"]["name"] == name]
        return one

    @functools.cached_property
    def pods(self):
        return [pod for one in self.objects for pod in pods_of(one)]

    @property
    def workers(self):
        return [pod for pod in self.pods if pod.app == "millrace-worker"]

    def pod(self, name):
        one, = [pod for pod in self.pods if pod.name == name]
        return one

    def selected(self, selector, namespace):
        return [pod for pod in self.pods if pod.namespace == namespace and selects(selector, pod.labels)]


def pods_of(one):
    if one["kind"] in ("Deployment", "StatefulSet"):
        template = one["spec"]["template"]
    elif one["kind"] == "ScaledJob":
        template = one["spec"]["jobTargetRef"]["template"]
    elif one["kind"] == "RabbitmqCluster":  # its operator sets these labels; the rest of the pod is the override
        spec = one["spec"]
        override = spec["override"]["statefulSet"]["spec"]["template"]["spec"]
        container = dict(override["containers"][0], image=spec["image"], resources=spec["resources"], ports=[
            {"name": name, "containerPort": port}
            for name, port in (("amqp", 5672), ("management", 15672), ("prometheus", 15692))])
        template = {"metadata": {"labels": {"app.kubernetes.io/name": one["metadata"]["name"],
                                            "app.kubernetes.io/component": "rabbitmq"}},
                    "spec": dict(override, containers=[container], affinity=spec["affinity"])}
    else:
        return
    yield Pod(one, template["metadata"]["labels"], template["metadata"].get("annotations", {}), template["spec"])


def selects(selector, labels):
    """A label selector as Kubernetes understands it; {} selects everything."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", ()):
        assert one["operator"] == "In"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def quantity(text):
    """Of CPU or memory, as a number of cores or bytes."""
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text)).groups()
    return float(number) * {"": 1, "m": 0.001, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
                            "M": 1 << 20, "G": 1 << 30}[unit]  # M and G as our own settings mean them


@functools.lru_cache(None)
def rendered(name):
    result = build(*RENDERINGS[name])
    assert not result.returncode, result.stderr
    return Cluster(name, result.stdout)


def each_rendering(*names):
    """Decorates a test that takes a cluster."""
    return pytest.mark.parametrize("cluster", names or RENDERINGS, indirect=True)


@functools.lru_cache(None)
def groups_of_nodes():
    return {group["name"]: group for group in yaml.safe_load((ROOT / "hpa" / "nodes.yaml").read_text())["groups"]}


@functools.lru_cache(None)
def settings():
    """Name -> (who reads it, type, min, max, words)."""
    table = (ROOT / "common" / "settings.def").read_text()
    rows = re.findall(r'^SETTING\((\w+), *\w+, *(\w+), *"(MILLRACE_\w+)", *(\d+), (\d+), "[^"]*", "([^"]*)"', table,
                      re.MULTILINE)
    return {name: (who, kind, int(least), int(most), words.split("|")) for who, kind, name, least, most, words in rows}


def defined(path, name):
    """The number of a #define."""
    return int(re.search(rf"#define {name} \(?(\d+)", (ROOT / path).read_text())[1])
