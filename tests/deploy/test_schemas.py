# SPDX-License-Identifier: Apache-2.0
"""Every object that a cluster gets, against the schemas of Kubernetes, KEDA, the RabbitMQ and the Prometheus operator.

The schemas are not part of the project: MILLRACE_SCHEMAS names their folder.
"""
import functools
import json
import os
import pathlib

import pytest
import yaml

from manifests import ROOT, each_rendering

jsonschema = pytest.importorskip("jsonschema", reason="python3-jsonschema is not installed")
SCHEMAS = pathlib.Path(os.environ.get("MILLRACE_SCHEMAS", ROOT.parent / "shared" / "schemas"))


@functools.lru_cache(None)
def schema(name):
    path = SCHEMAS / name
    if not path.exists():
        pytest.skip(f"no schemas: MILLRACE_SCHEMAS names a folder without {name}")
    return json.loads(path.read_text())


def faults(one):
    """What a strict API server would have against the object."""
    book = schema("kubernetes.json")
    kind = f"{one['apiVersion']} {one['kind']}"
    if kind not in book["kinds"]:
        return [f"{kind} is not known"]
    entry = book["kinds"][kind]
    entry = entry if isinstance(entry, dict) else {"$ref": entry}
    checker = jsonschema.Draft7Validator(dict(entry, definitions=book["definitions"]))
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in checker.iter_errors(one)]


@each_rendering()
def test_every_object_is_understood_to_the_last_field(cluster):
    assert cluster.objects
    for one in cluster.objects:
        assert not faults(one), f"{one['kind']} {one['metadata']['name']}"


@each_rendering("local")
def test_a_field_that_does_not_exist_is_found(cluster):
    one = json.loads(json.dumps(cluster.get("Deployment", "millrace-api")))
    one["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    assert any("livenessprobe" in fault for fault in faults(one))
    one = json.loads(json.dumps(cluster.get("ScaledObject", "millrace-worker-hash")))
    one["spec"]["maxReplicas"] = 3
    assert any("maxReplicas" in fault for fault in faults(one))


def trigger_faults(trigger):
    """Parameters that the scaler does not know, or does not take there."""
    known, = [scaler for scaler in schema("keda-scalers.json")["scalers"] if scaler["type"] == trigger["type"]]
    metadata = {one["name"] for one in known["parameters"] if one.get("metadataVariableReadable")}
    return [name for name in trigger["metadata"] if name not in metadata]


@each_rendering()
def test_every_trigger_names_parameters_of_its_scaler(cluster):
    scaled = cluster.all("ScaledObject") + cluster.all("ScaledJob")
    for one in scaled:
        for trigger in one["spec"]["triggers"]:
            assert not trigger_faults(trigger), one["metadata"]["name"]
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
    access = {one["name"] for scaler in schema("keda-scalers.json")["scalers"] if scaler["type"] == "rabbitmq"
              for one in scaler["parameters"] if one.get("triggerAuthenticationVariableReadable")}
    for one in cluster.all("TriggerAuthentication"):
        assert {ref["parameter"] for ref in one["spec"]["secretTargetRef"]} <= access
    assert bool(scaled) == ("cpu-hpa" not in cluster.name)
    assert trigger_faults({"type": "rabbitmq", "metadata": {"queuename": "x"}}) == ["queuename"]


def test_every_kustomization_is_one():
    checker = jsonschema.Draft7Validator(schema("kustomization.json"))
    files = [*ROOT.glob("k8s/**/kustomization.yaml"), *ROOT.glob("hpa/**/kustomization.yaml")]
    assert len(files) > 5
    for path in files:
        errors = [error.message[:300] for error in checker.iter_errors(yaml.safe_load(path.read_text()))]
        assert not errors, path
