# SPDX-License-Identifier: Apache-2.0
"""How logs get from a node to Loki: by what they can be searched there, and that nothing of it is lost with a pod."""
import fnmatch
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml
from alloy import Entry, read, relabel, run
from manifests import ROOT

CHARTS = ROOT / "deploy" / "charts"
BUILD = pathlib.Path(os.environ.get("MILLRACE_BUILD", ROOT / "build" / "release"))
LABELS = ["namespace", "app", "component", "kind"]
UID = "5b1ab0d1-7d2e-4c35-9e0e-0a3f5bd2c001"
POD = {"__meta_kubernetes_pod_uid": UID, "__meta_kubernetes_pod_container_name": "worker",
       "__meta_kubernetes_namespace": "millrace", "__meta_kubernetes_pod_name": "millrace-worker-hash-6f7-x2x",
       "__meta_kubernetes_pod_node_name": "ip-10-0-1-2", "__meta_kubernetes_pod_label_app_kubernetes_io_name": "millrace-worker",
       "__meta_kubernetes_pod_label_app_kubernetes_io_component": "hash"}


class Once(yaml.SafeLoader):
    """Refuses a key that stands twice."""


def _mapping(loader, node):
    keys = [key.value for key, _ in node.value]
    assert len(set(keys)) == len(keys), f"twice: {keys}"
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


Once.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def values(name):
    with open(CHARTS / f"{name}.yaml", encoding="utf-8") as file:
        return yaml.load(file, Once)


def config(name):
    return read(values(name)["alloy"]["configMap"]["content"])


def only(blocks):
    block, = blocks
    return block


@pytest.fixture
def agent():
    return config("alloy")


def sent(agent, line, pod=POD):
    """What Loki gets of a line that containerd wrote for a pod."""
    labels = relabel(only(agent.all("discovery.relabel")).all("rule"), pod)
    labels = {name: value for name, value in labels.items() if not name.startswith("__")}
    return run(only(agent.all("loki.process")).blocks, Entry(f"2026-11-21T10:00:00.123456789Z stderr F {line}", labels))


# ---- the agents ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alloy", "alloy-events"])
def test_whatever_a_configuration_points_at_is_there(name):
    file = config(name)
    names = {f"{block.name}.{block.label}" for block in file.blocks if block.label}

    def references(block):
        for value in block.values.values():
            for each in value if isinstance(value, list) else [value]:
                found = re.fullmatch(r"((?:discovery|local|loki)\.[\w.]+)\.(?:targets|output|receiver)", str(each))
                if found:
                    yield found[1]
        for inner in block.blocks:
            yield from references(inner)

    pointed = {name for block in file.blocks for name in references(block)}
    assert pointed and pointed <= names
    ends = [block for block in file.blocks if block.name == "loki.write"]
    assert [only(end.all("endpoint")).values["url"] for end in ends] == ["http://loki.logs.svc:3100/loki/api/v1/push"]


@pytest.mark.parametrize("name", ["alloy", "alloy-events"])
def test_labels_are_few_and_none_of_them_is_of_a_pod_or_a_job(name):
    process = only(config(name).all("loki.process"))
    assert process.blocks[-1].name == "stage.label_keep" and process.blocks[-1].values["values"] == LABELS


def test_a_line_of_a_job_can_be_found_by_job_kind_and_pod(agent):
    line = ('{"time":"2026-11-21T10:00:00.123Z","level":"info","program":"millrace-worker","pid":1,"event":"job-completed",'
            '"job_id":"01a2002f-268d-771c-9f9b-672da0a4fafd","kind":"hash","attempt":2,"run_ms":3}')
    entry = sent(agent, line)
    assert entry.line == line and entry.time == "2026-11-21T10:00:00.123456789Z"
    assert entry.labels == {"namespace": "millrace", "app": "millrace-worker", "component": "hash", "kind": "hash"}
    assert entry.metadata == {"job_id": "01a2002f-268d-771c-9f9b-672da0a4fafd", "attempt": "2", "event": "job-completed",
                              "level": "info", "pod": "millrace-worker-hash-6f7-x2x", "container": "worker",
                              "node": "ip-10-0-1-2"}


def test_a_line_as_a_worker_writes_it_is_read_so(agent):
    told = subprocess.run([BUILD / "millrace-worker"], env={"PATH": os.environ["PATH"], "MILLRACE_SLOTS": "many"},
                          capture_output=True, text=True, timeout=20, check=False)
    entry = sent(agent, told.stderr.rstrip("\n"))
    assert (entry.metadata["event"], entry.metadata["level"]) == ("cannot-start", "error")


def test_words_that_are_no_line_of_ours_go_along_as_they_are(agent):
    entry = sent(agent, "Segmentation fault {")
    assert entry.line == "Segmentation fault {" and set(entry.labels) == {"namespace", "app", "component"}
    assert set(entry.metadata) == {"pod", "container", "node"}


def test_a_foreign_program_gives_no_kinds_and_still_has_a_name(agent):
    pod = {**POD, "__meta_kubernetes_namespace": "kube-system", "__meta_kubernetes_pod_label_k8s_app": "kube-dns"}
    del pod["__meta_kubernetes_pod_label_app_kubernetes_io_name"], pod["__meta_kubernetes_pod_label_app_kubernetes_io_component"]
    assert sent(agent, '{"kind":"Pod"}', pod).labels == {"namespace": "kube-system", "app": "kube-dns"}
    del pod["__meta_kubernetes_pod_label_k8s_app"]
    assert sent(agent, "{}", pod).labels["app"] == "worker"


def test_the_files_of_the_pods_of_this_node_are_read(agent):
    selector = only(only(agent.all("discovery.kubernetes")).all("selectors")).values
    assert selector["role"] == "pod" and selector["field"] == "spec.nodeName=sys.env(NODE_NAME)"
    env, = values("alloy")["alloy"]["extraEnv"]
    assert env == {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    path = relabel(only(agent.all("discovery.relabel")).all("rule"), POD)["__path__"]
    assert fnmatch.fnmatch(f"/var/log/pods/millrace_millrace-worker-hash-6f7-x2x_{UID}/worker/0.log", path)
    assert values("alloy")["alloy"]["mounts"]["varlog"] is True
    assert only(agent.all("local.file_match")).values["sync_period"] == "2s"
    assert not agent.all("loki.source.kubernetes")  # it asks the API, which forgets a pod with its last lines


def test_the_agent_is_on_every_node_and_goes_last():
    controller = values("alloy")["controller"]
    assert controller["type"] == "daemonset" and controller["priorityClassName"] == "system-node-critical"
    assert controller["podAnnotations"] == {"cluster-autoscaler.kubernetes.io/enable-ds-eviction": "true"}
    for taint in ("millrace/worker", "millrace/gateway"):  # the latter of deploy/ec2: agent_config in node/millrace-node
        assert {"key": taint, "operator": "Exists", "effect": "NoSchedule"} in controller["tolerations"]
    wait = values("alloy")["alloy"]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert 0 < wait < controller["terminationGracePeriodSeconds"]


def test_the_agent_goes_on_where_the_one_before_it_was():
    alloy, controller = values("alloy")["alloy"], values("alloy")["controller"]
    volume, = controller["volumes"]["extra"]
    mount, = alloy["mounts"]["extra"]
    assert mount == {"name": volume["name"], "mountPath": alloy["storagePath"]} and "hostPath" in volume


def test_events_are_sent_by_one():
    controller = values("alloy-events")["controller"]
    assert (controller["type"], controller["replicas"], controller["updateStrategy"]) == ("deployment", 1, {"type": "Recreate"})
    process = only(config("alloy-events").all("loki.process"))
    line = '{"count":1,"kind":"Pod","name":"millrace-worker-hash-6f7-x2x","reason":"Evicted","type":"Warning","msg":"m"}'
    entry = run(process.blocks, Entry(line, {"namespace": "millrace", "job": "loki.source.kubernetes_events", "instance": "x"}))
    assert entry.labels == {"namespace": "millrace", "app": "kubernetes-events"}
    assert entry.metadata == {"object": "Pod", "name": "millrace-worker-hash-6f7-x2x", "reason": "Evicted", "type": "Warning"}
    assert not config("alloy").all("loki.source.kubernetes_events")


def test_the_agent_fits_into_what_is_kept_free_on_each_node():
    asked = values("alloy")["alloy"]["resources"]["requests"]
    with open(ROOT / "hpa" / "nodes.yaml", encoding="utf-8") as file:
        groups = yaml.safe_load(file)["groups"]
    for group in groups:
        assert int(asked["cpu"].rstrip("m")) <= int(group["daemons"]["cpu"].rstrip("m")) / 4


# ---- Loki -----------------------------------------------------------------------------


def merged(below, above):
    """As helm lays one values file over another."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}


@pytest.mark.parametrize("files, store", [(["loki"], "s3"), (["loki", "loki-disk"], "filesystem")])
def test_loki_keeps_structured_metadata_and_forgets_in_time(files, store):
    made = {}
    for name in files:
        made = merged(made, values(name))
    loki = made["loki"]
    schema, = loki["schemaConfig"]["configs"]
    assert (schema["store"], schema["schema"], schema["object_store"], loki["storage"]["type"]) == ("tsdb", "v13", store, store)
    limits, compactor = loki["limits_config"], loki["compactor"]
    assert limits["allow_structured_metadata"] is True and limits["discover_service_name"] == []
    assert compactor == {"retention_enabled": True, "delete_request_store": store}
    assert int(limits["retention_period"].rstrip("h")) >= 7 * 24
    assert made["deploymentMode"] == "SingleBinary" and made["singleBinary"]["replicas"] == 1
    assert all(made[part] == {"replicas": 0} for part in ("read", "write", "backend"))
    assert made["singleBinary"]["persistence"]["enabled"] is True


def test_only_agents_and_those_who_show_logs_reach_loki():
    policy, = [each for each in values("loki")["extraObjects"] if each["kind"] == "NetworkPolicy"]
    rule, = policy["spec"]["ingress"]
    assert policy["spec"]["policyTypes"] == ["Ingress"] and rule["ports"] == [{"protocol": "TCP", "port": 3100}]
    assert [set(peer) for peer in rule["from"]] == [{"podSelector"}, {"namespaceSelector"}]


def test_grafana_finds_loki():
    source, = [each for each in values("loki")["extraObjects"] if each["kind"] == "ConfigMap"]
    assert source["metadata"]["labels"] == {"grafana_datasource": "1"}
    data, = yaml.safe_load(source["data"]["loki.yaml"])["datasources"]
    assert (data["type"], data["url"]) == ("loki", "http://loki.logs.svc:3100")


def test_charts_are_pinned():
    lines = [line.split() for line in (CHARTS / "versions").read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")]
    rows = {line[0]: line[1:] for line in lines}
    for name, chart in (("loki", "loki"), ("alloy", "alloy"), ("alloy-events", "alloy")):
        repository, found, version, namespace = rows[name]
        assert (repository, found, namespace) == ("https://grafana.github.io/helm-charts", chart, "logs")
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert rows["alloy"][2] == rows["alloy-events"][2]


# ---- the programs themselves, where they are ---------------------------------------------


@pytest.mark.parametrize("name", ["alloy", "alloy-events"])
def test_alloy_reads_its_configuration(name, tmp_path):
    if not shutil.which("alloy"):
        pytest.skip("alloy is not installed")
    file = tmp_path / "config.alloy"
    file.write_text(values(name)["alloy"]["configMap"]["content"], encoding="utf-8")
    told = subprocess.run(["alloy", "fmt", "--test", file], capture_output=True, text=True, timeout=50, check=False)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize("files", [["loki"], ["loki", "loki-disk"]])
def test_loki_takes_its_settings(files, tmp_path):
    """As the chart puts them into its configuration."""
    if not shutil.which("loki"):
        pytest.skip("loki is not installed")
    made = {}
    for name in files:
        made = merged(made, values(name)["loki"])
    stores = {"s3": {"s3": {"bucketnames": "b", "region": "r"}},
              "filesystem": {"filesystem": {"chunks_directory": str(tmp_path), "rules_directory": str(tmp_path)}}}
    file = tmp_path / "loki.yaml"
    file.write_text(yaml.safe_dump({
        "auth_enabled": made["auth_enabled"], "schema_config": made["schemaConfig"], "limits_config": made["limits_config"],
        "compactor": {**made["compactor"], "working_directory": str(tmp_path)}, "ingester": made["ingester"],
        "common": {"path_prefix": str(tmp_path), "replication_factor": made["commonConfig"]["replication_factor"],
                   "ring": {"kvstore": {"store": "inmemory"}}, "storage": stores[made["storage"]["type"]]}}), encoding="utf-8")
    told = subprocess.run(["loki", "-verify-config", f"-config.file={file}"], capture_output=True, text=True, timeout=50,
                          check=False)
    assert told.returncode == 0, told.stderr
